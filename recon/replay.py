"""Which frames of a stream are trained on: a bounded pool, as RGBAvatar's (arXiv 2503.12886) recent and global ones.

It holds the newest frames, so that what has just been seen is learned soon; a fair sample of all, so that nothing is
forgotten (Vitter 1985, "Random sampling with a reservoir"); and the expressions farthest from the usual, of which a
fair sample holds few.
"""

from __future__ import annotations

from collections import deque

import numpy as np

_SHARES = (0.4, 0.4, 0.2)  # of the draws: recent frames, the reservoir, rare expressions


class ReplayPool:
    """At most ``capacity`` frames of a stream: the newest, a fair sample of all, and the least usual.

    Args:
        capacity: how many in all; a quarter each for the newest and the least usual.
        seed: of the sample and of the draws.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self._sample_size = capacity - 2 * (capacity // 4)
        self._recent: deque[int] = deque(maxlen=capacity // 4)
        self._sample: list[int] = []
        self._rare: list[int] = []
        self._rarest = capacity // 4
        self._offered = 0
        self._rng = np.random.default_rng(seed)
        self.drawn = 0

    def offer(self, frame: int) -> None:
        """Add the newest frame."""
        self._recent.append(frame)
        self._offered += 1
        if len(self._sample) < self._sample_size:
            self._sample.append(frame)
        elif (place := int(self._rng.integers(self._offered))) < self._sample_size:
            self._sample[place] = frame

    def rank(self, unusual: np.ndarray) -> None:
        """Keep the frames for which ``unusual`` [T], over all frames so far, is greatest."""
        best = np.argsort(-unusual, kind="stable")[: min(self._rarest, max(len(unusual) // 5, 1))]
        self._rare = [int(frame) for frame in best]

    def next(self) -> int:
        """A frame to train on."""
        self.drawn += 1
        pools = (self._recent, self._sample, self._rare or self._sample)
        pool = pools[int(self._rng.choice(3, p=_SHARES))]
        return int(pool[int(self._rng.integers(len(pool)))])

    def coming(self, count: int) -> list[int]:
        """None: what is drawn next depends on what arrives."""
        return []

    def frames(self) -> set[int]:
        """All that may be drawn."""
        return {*self._recent, *self._sample, *self._rare}
