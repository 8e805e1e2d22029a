"""The tab that plays a track: play, pause, scrub, speed, loop, with its sound in step."""

from __future__ import annotations

import time
from typing import Any

import viser

from viewer.desk import Desk, Tab
from viewer.panels.widgets import set_value
from viewer.transport import Reel, wav_bytes

_SPEEDS = ("0.1×", "0.25×", "0.5×", "1×", "2×")
_RESYNC_SECONDS = 4.0


class PlayPanel:
    """Play controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._transport = desk.transport
        self._sound = _SoundLink(desk)
        self._add_controls()
        self._transport.on_change(self._refresh)
        self._transport.on_frame(self._follow)
        self._refresh()
        desk.command("Play or pause", "space", lambda _: self._transport.toggle(), "Space")
        desk.command("Next frame", "N", lambda _: self._transport.step(1))
        desk.command("Frame before", "B", lambda _: self._transport.step(-1))

    def _add_controls(self) -> None:
        gui = self._desk.gui
        self._name = gui.add_markdown("")
        self._play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY, hint="Space")
        self._scrubber = gui.add_slider("Frame", 0, 1, 1, 0)
        self._time = gui.add_markdown("")
        self._speed = gui.add_dropdown("Speed", _SPEEDS, initial_value="1×")
        self._loop = gui.add_checkbox("Loop", True)
        self._desk.click(self._play, lambda _: self._transport.toggle())
        self._scrubber.on_update(self._scrub)
        self._speed.on_update(lambda _: self._transport.set_speed(float(self._speed.value.rstrip("×"))))
        self._loop.on_update(lambda _: self._transport.set_looping(self._loop.value))

    def _scrub(self, event: Any) -> None:
        if event.client is not None:
            self._transport.seek(int(self._scrubber.value))

    def _follow(self, frame: int) -> None:
        set_value(self._scrubber, min(frame, int(self._scrubber.max)))
        self._time.content = time_text(self._transport.reel, frame)

    def _refresh(self) -> None:
        """Controls as they must be after playing began or ended, or with another track."""
        transport = self._transport
        is_playing, last = transport.player.clock.is_playing, max(len(transport.reel.track) - 1, 1)
        self._play.label = "Pause" if is_playing else "Play"
        self._play.icon = viser.Icon.PLAYER_PAUSE if is_playing else viser.Icon.PLAYER_PLAY
        self._play.disabled = self._scrubber.disabled = transport.is_empty
        if self._scrubber.max != last:
            self._scrubber.max = last
        sound = "with sound" if transport.reel.audio else "silent"
        said = f"**{transport.reel.name or 'Track'}** · {sound}"
        self._name.content = "Nothing to play: open a track, or go to Direct or Live" if transport.is_empty else said
        self._sound.update()


class _SoundLink:
    """Keeps the pages' sound with the clock of the transport."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._reel: Reel | None = None
        self._url = ""
        self._told_at = 0.0
        desk.pages.on_ready(self._tell)
        desk.transport.on_frame(lambda _: self._again())

    def update(self) -> None:
        """Playing began, ended or jumped, or it is another track."""
        reel = self._desk.transport.reel
        if reel is not self._reel:
            self._reel = reel
            self._url = "" if reel.audio is None else self._desk.server.gate.offer_sound(wav_bytes(reel.audio))
        self._told_at = time.monotonic()
        for client in list(self._desk.server.get_clients().values()):
            self._tell(client)

    def _again(self) -> None:
        if self._url and time.monotonic() - self._told_at > _RESYNC_SECONDS:
            self.update()

    def _tell(self, client: viser.ClientHandle) -> None:
        page = self._desk.pages.clock(client)
        if page is None:
            return
        clock, now = self._desk.transport.player.clock, time.monotonic()
        self._desk.pages.order(
            client,
            "sound",
            url=self._url,
            playing=clock.is_playing,
            position=clock.position_at(now) / clock.fps,
            at=page.at(now),
            rate=clock.speed,
            length=clock.frames / clock.fps,
            loops=clock.is_looping,
            delay=self._desk.gallery.delay(client),
        )


def time_text(reel: Reel, frame: int) -> str:
    """Where a frame is, for people."""
    track = reel.track
    frame = min(frame, len(track) - 1)
    seconds, total = frame / track.fps, len(track) / track.fps
    note = "" if bool(track.valid[frame]) else " · no face was seen here"
    return f"{_minutes(seconds)} / {_minutes(total)} · {track.fps:g} frames/s{note}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


TAB = Tab("Play", 10, PlayPanel, lambda desk: len(desk.avatar.space) > 0 or _has_reel(desk))


def _has_reel(desk: Desk) -> bool:
    return not desk.transport.is_empty
