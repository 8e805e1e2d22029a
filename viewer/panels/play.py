"""The tab that plays a track: play, pause, scrub, speed, loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import viser

from studio.codes import CodeTrack
from viewer.panels.widgets import set_value
from viewer.playback import Clock, Player
from viewer.session import Session

_SPEEDS = ("0.1×", "0.25×", "0.5×", "1×", "2×")
# Controls follow a playing track this often: more would only cost the browser time that the picture needs.
_FOLLOW_SECONDS = 0.15


class PlayPanel:
    """Play controls in the container that is open, and the player behind them.

    Args:
        server: where the controls are added.
        session: receives the state of each frame.
        track: codes in the avatar's space, in its world.
        on_follow: called now and then while it plays, and at the end, so that other controls can catch up.
    """

    def __init__(
        self, server: viser.ViserServer, session: Session, track: CodeTrack, on_follow: Callable[[], None]
    ) -> None:
        self._session = session
        self._track = track
        self._on_follow = on_follow
        self._followed_at = 0.0
        self._lock = threading.Lock()
        self._add_controls(server)
        self.player = Player(Clock(len(track), track.fps), self._show, self._refresh)

    def toggle(self) -> None:
        """Play or pause."""
        if self.player.clock.is_playing:
            self.pause()
        else:
            self.player.play()
            self._refresh()

    def pause(self) -> bool:
        """Stop on the frame that is on; says whether it was playing."""
        was_playing = self.player.clock.is_playing
        if was_playing:
            self.player.pause()
            self._refresh()
        return was_playing

    def close(self) -> None:
        self.player.close()

    def _add_controls(self, server: viser.ViserServer) -> None:
        gui, last = server.gui, max(len(self._track) - 1, 1)
        self._play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY, hint="Space")
        self._scrubber = gui.add_slider("Frame", 0, last, 1, 0)
        self._time = gui.add_markdown(self._time_text(0))
        self._speed = gui.add_dropdown("Speed", _SPEEDS, initial_value="1×")
        self._loop = gui.add_checkbox("Loop", True)
        self._play.on_click(lambda _: self.toggle())
        self._scrubber.on_update(lambda event: self._scrub() if event.client is not None else None)
        self._speed.on_update(lambda _: self.player.set_speed(float(self._speed.value.rstrip("×"))))
        self._loop.on_update(lambda _: self.player.set_looping(self._loop.value))

    def _scrub(self) -> None:
        self.player.seek(self._scrubber.value)
        if not self.player.clock.is_playing:
            self._refresh()

    def _show(self, frame: int) -> None:
        self._session.pose(lambda _: self._track.codes[frame])
        if time.monotonic() - self._followed_at >= _FOLLOW_SECONDS:
            self._follow(frame)

    def _follow(self, frame: int) -> None:
        with self._lock:
            self._followed_at = time.monotonic()
            set_value(self._scrubber, frame)
            self._time.content = self._time_text(frame)
        self._on_follow()

    def _refresh(self) -> None:
        """Controls as they must be after playing began or ended."""
        is_playing = self.player.clock.is_playing
        self._play.label = "Pause" if is_playing else "Play"
        self._play.icon = viser.Icon.PLAYER_PAUSE if is_playing else viser.Icon.PLAYER_PLAY
        if not is_playing:
            self._follow(self.player.frame)

    def _time_text(self, frame: int) -> str:
        seconds, total = frame / self._track.fps, len(self._track) / self._track.fps
        note = "" if bool(self._track.valid[frame]) else " · no face was seen here"
        return f"{_minutes(seconds)} / {_minutes(total)} · {self._track.fps:g} frames/s{note}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"
