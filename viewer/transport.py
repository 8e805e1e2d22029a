"""The track that is played, its sound, and who must know when playing begins, ends or jumps."""

from __future__ import annotations

import io
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from reenact.project.scene import Actor
from studio.codes import Codes, CodeTrack
from studio.media.audio import Audio
from viewer.playback import Clock, Player
from viewer.session import Listener, Session

# Controls follow a playing track this often: more would only cost the browser time that the picture needs.
_FOLLOW_SECONDS = 0.15


@dataclass(frozen=True)
class Reel:
    """What is played.

    Args:
        track: codes in the avatar's space and world.
        audio: its sound, beginning with its first frame.
        name: shown to the user.
        company: who else is on the stage, with as many codes.
    """

    track: CodeTrack
    audio: Audio | None = None
    name: str = ""
    company: tuple[Actor, ...] = ()


class Transport:
    """Plays a reel into the session. All methods may be called from any thread.

    Args:
        session: receives the state of each frame.
        reel: what is played first; None for nothing yet.
    """

    def __init__(self, session: Session, reel: Reel | None = None) -> None:
        self._session = session
        self._reel = reel or _still(session.rest)
        self.is_empty = reel is None
        self._listeners: list[Listener] = []
        self._frames: list[Callable[[int], object]] = []
        self._followed_at = 0.0
        self._lock = threading.Lock()
        track = self._reel.track
        self.player = Player(Clock(len(track), track.fps), self._show, self._told)
        session.add_mover(self.pause)
        if reel is not None:
            self._show(0)

    def refresh(self) -> None:
        """Show the frame that is on again, whatever a hand has made of it."""
        if not self.is_empty:
            self.seek(self.player.frame)

    @property
    def reel(self) -> Reel:
        return self._reel

    def on_change(self, listener: Listener) -> None:
        """Called when playing begins, ends or jumps, at another speed, and with another reel."""
        self._listeners.append(listener)

    def on_frame(self, listener: Callable[[int], object]) -> None:
        """Called with the frame that is on, now and then while it plays, and whenever it stops."""
        self._frames.append(listener)

    def load(self, reel: Reel, *, keep_place: bool = False) -> None:
        """Play another reel from its start, or from where the last one is."""
        with self._lock:
            self._reel, self.is_empty = reel, False
            self._session.show(company=reel.company)
            self.player.load(len(reel.track), reel.track.fps, keep_place=keep_place)
        self._told()

    def toggle(self) -> None:
        """Play or pause."""
        if self.player.clock.is_playing:
            self.pause()
        elif not self.is_empty:
            self._session.take_over(but=self.pause)
            self.player.play()
            self._told()

    def pause(self) -> bool:
        """Stop on the frame that is on; says whether it was playing."""
        was_playing = self.player.clock.is_playing
        if was_playing:
            self.player.pause()
            self._told()
        return was_playing

    def seek(self, frame: int) -> None:
        """Go to a frame."""
        if not self.player.clock.is_playing:
            self._session.take_over(but=self.pause)
        self.player.seek(frame)
        self._told()

    def step(self, frames: int) -> None:
        """So many frames on or back, standing."""
        self.pause()
        self.seek(self.player.frame + frames)

    def set_speed(self, speed: float) -> None:
        self.player.set_speed(speed)
        self._told()

    def set_looping(self, is_looping: bool) -> None:
        self.player.set_looping(is_looping)
        self._told()

    def close(self) -> None:
        self.player.close()

    def _show(self, frame: int) -> None:
        track = self._reel.track
        frame = min(frame, len(track) - 1)
        self._session.pose(lambda _: track.codes[frame], frame=frame)
        if time.monotonic() - self._followed_at >= _FOLLOW_SECONDS:
            self._follow(frame)

    def _follow(self, frame: int) -> None:
        self._followed_at = time.monotonic()
        for listener in self._frames:
            listener(frame)
        self._session.follow()

    def _told(self) -> None:
        for listener in self._listeners:
            listener()
        if not self.player.clock.is_playing:
            self._follow(self.player.frame)


def wav_bytes(audio: Audio) -> bytes:
    """A sound as a 16-bit WAV file."""
    samples = (np.clip(audio.samples, -1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def _still(codes: Codes) -> Reel:
    return Reel(CodeTrack(Codes.stack([codes]), 25.0, torch.ones(1, dtype=torch.bool)))
