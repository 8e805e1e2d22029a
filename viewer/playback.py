"""Playing a track: a clock that says which frame is on, and a thread that shows it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Clock:
    """Which frame is on at which time. A value: every change gives a new clock; times are seconds of any steady clock.

    Args:
        frames: length of the track.
        fps: frames per second of the track.
        speed: 1 is real time.
        is_looping: begin again at the end, instead of stopping on the last frame.
        is_playing: whether time moves it.
        position: frames since the start of the track, at time ``since``.
        since: when ``position`` was true.
    """

    frames: int
    fps: float
    speed: float = 1.0
    is_looping: bool = True
    is_playing: bool = False
    position: float = 0.0
    since: float = 0.0

    def position_at(self, now: float) -> float:
        """Frames since the start of the track, in 0..frames (the end belongs to the last frame)."""
        if not self.is_playing:
            return self.position
        position = self.position + (now - self.since) * self.speed * self.fps
        return position % self.frames if self.is_looping else min(position, float(self.frames))

    def frame_at(self, now: float) -> int:
        """The frame that is on."""
        # A hair is added because a frame's own start time must show that frame in spite of rounding.
        return min(int(self.position_at(now) + 1e-6), self.frames - 1)

    def has_ended(self, now: float) -> bool:
        """Whether it has come to the end of a track that does not loop."""
        return self.is_playing and not self.is_looping and self.position_at(now) >= self.frames

    def seconds_to_next_frame(self, now: float) -> float:
        """How long the frame that is on stays on, while playing."""
        position = self.position_at(now) + 1e-6
        return (math.floor(position) + 1 - position) / (self.speed * self.fps)

    def played(self, now: float) -> Clock:
        """Playing on from here; from the start when it stands on the last frame."""
        at_end = self.frame_at(now) == self.frames - 1 and not self.is_playing
        position = 0.0 if at_end else self.position_at(now)
        return replace(self, is_playing=True, position=position, since=now)

    def paused(self, now: float) -> Clock:
        """Standing on the frame that is on."""
        return replace(self._at(now), is_playing=False, position=float(self.frame_at(now)))

    def sought(self, frame: int, now: float) -> Clock:
        """At the start of a frame (the nearest one that exists), playing on if it was playing."""
        return replace(self, position=float(min(max(frame, 0), self.frames - 1)), since=now)

    def with_speed(self, speed: float, now: float) -> Clock:
        """At another speed, without a jump."""
        return replace(self._at(now), speed=speed)

    def with_looping(self, is_looping: bool, now: float) -> Clock:
        return replace(self._at(now), is_looping=is_looping)

    def loaded(self, frames: int, fps: float, now: float, *, keep_place: bool) -> Clock:
        """Of another track: standing at its start, or as far into it, in seconds, as into this one."""
        if not keep_place:
            return replace(self, frames=frames, fps=fps, is_playing=False, position=0.0, since=now)
        position = min(self.position_at(now) / self.fps * fps, frames - 1.0)
        return replace(self, frames=frames, fps=fps, position=position, since=now)

    def _at(self, now: float) -> Clock:
        return replace(self, position=self.position_at(now), since=now)


class Player:
    """Shows the frames of a clock as their time comes; frames that come too late are left out, never queued.

    Args:
        clock: where to begin.
        show: called with each frame: on the player's thread while it plays, on the caller's when paused or sought.
        on_pause: called when playing stops by itself at the end of the track.
    """

    def __init__(self, clock: Clock, show: Callable[[int], None], on_pause: Callable[[], None]) -> None:
        self._clock = clock
        self._show = show
        self._on_pause = on_pause
        self._changed = threading.Condition()
        self._showing = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="viewer-playback", daemon=True)
        self._thread.start()

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def frame(self) -> int:
        """The frame that is on."""
        return self._clock.frame_at(time.monotonic())

    def play(self) -> None:
        self._set(lambda now: self._clock.played(now))

    def pause(self) -> None:
        """Stop on the frame that is on, and show it."""
        self._set(lambda now: self._clock.paused(now))
        self._show_frame()

    def seek(self, frame: int) -> None:
        """Go to a frame and show it."""
        self._set(lambda now: self._clock.sought(frame, now))
        self._show_frame()

    def load(self, frames: int, fps: float, *, keep_place: bool = False) -> None:
        """Another track: from its start, standing, or on from where the last one is, in seconds."""
        self._set(lambda now: self._clock.loaded(frames, fps, now, keep_place=keep_place))
        self._show_frame()

    def set_speed(self, speed: float) -> None:
        self._set(lambda now: self._clock.with_speed(speed, now))

    def set_looping(self, is_looping: bool) -> None:
        self._set(lambda now: self._clock.with_looping(is_looping, now))

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)

    def _set(self, change: Callable[[float], Clock]) -> None:
        with self._changed:
            self._clock = change(time.monotonic())
            self._changed.notify()

    def _run(self) -> None:
        shown = -1
        while True:
            with self._changed:
                if self._is_closed:
                    return
                if not self._clock.is_playing:
                    shown = -1
                    self._changed.wait()
                    continue
                now = time.monotonic()
                frame, has_ended = self._clock.frame_at(now), self._clock.has_ended(now)
                if has_ended:
                    self._clock = self._clock.paused(now)
                elif frame == shown:
                    self._changed.wait(self._clock.seconds_to_next_frame(now))
                    continue
            shown = self._show_frame()
            if has_ended:
                self._on_pause()

    def _show_frame(self) -> int:
        """Show the frame that is on by the time nobody else is showing one, so that the last one shown is right."""
        with self._showing:
            frame = self.frame
            self._show(frame)
        return frame
