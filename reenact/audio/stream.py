"""Sound as it comes to codes at a frame rate: at most 200 ms behind, and the same as from the whole recording."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reenact.audio.articulation import CLOSE, MOVEMENTS, PLAIN, Strength, codes_of
from reenact.audio.listen import Heard, Listener
from reenact.audio.network import OUTPUTS_PER_SECOND


@dataclass
class Sampler:
    """Movements at 50 Hz, piece by piece, to frames; frame k is the moment k / fps.

    Between two moments movements are linear, but a closure in the time of a frame is never lost: the frame has its
    highest value.
    """

    fps: float
    _kept: np.ndarray = field(default_factory=lambda: np.zeros((0, len(MOVEMENTS))))
    _first: int = 0  # moment of the first kept row
    _next: int = 0  # frame that comes next

    def push(
        self,
        moved: np.ndarray,  # [T, MOVEMENTS] that follow the last
        *,
        last: bool = False,
    ) -> np.ndarray:
        """The frames [F, MOVEMENTS] that are now known; ``last`` holds the end for those up to it."""
        self._kept = np.concatenate((self._kept, moved))
        end = self._first + len(self._kept) - 1
        frames = []
        while len(self._kept):
            place = self._next * OUTPUTS_PER_SECOND / self.fps
            if int(place) + 1 > end and not (last and place < end + 1):
                break
            frames.append(self._at(min(place, end)))
            self._next += 1
        used = int((self._next - 1) * OUTPUTS_PER_SECOND / self.fps) - self._first - 1
        if used > 0:
            self._kept, self._first = self._kept[used:], self._first + used
        return np.array(frames).reshape(-1, len(MOVEMENTS))

    def _at(self, place: float) -> np.ndarray:
        low = int(place)
        high = min(low + 1, self._first + len(self._kept) - 1)
        before, after = self._kept[low - self._first], self._kept[high - self._first]
        frame = before + (place - low) * (after - before)
        frame[CLOSE] = max(before[CLOSE], after[CLOSE])
        return frame


@dataclass
class SpeechStream:
    """Sound at 16 kHz in, ARKit weights at ``fps`` out.

    Args:
        fps: frames in a second.
        strength: how far the mouth goes.
        listener: what hears; the shipped network's by default.
    """

    fps: float = 30.0
    strength: Strength = PLAIN
    listener: Listener = field(default_factory=Listener)

    def __post_init__(self) -> None:
        self._sampler = Sampler(self.fps)

    def push(
        self,
        samples: np.ndarray,  # [N] at 16 kHz, -1..1
    ) -> np.ndarray:
        """The frames [F, 52] that are now known."""
        return self._codes(self.listener.push(samples), last=False)

    def flush(self) -> np.ndarray:
        """The frames that waited for more sound."""
        return self._codes(self.listener.flush(), last=True)

    def _codes(self, heard: Heard, *, last: bool) -> np.ndarray:
        return codes_of(self._sampler.push(heard.moved, last=last), self.strength)
