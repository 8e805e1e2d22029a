"""Which pictures a browser has shown: what is sent to a slow one must not pile up on its way."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

_MOST_ON_THE_WAY = 2
_SMOOTHING = 0.15


class Arrivals:
    """The pictures on their way to one browser. All methods may be called from any thread.

    Args:
        on_full: called with whether the browser has as many pictures on the way as may be.

    Attributes:
        delay: seconds from a picture's sending to its showing, smoothed.
        shown: how often the browser has shown a newer picture.
        last: number of the one that it shows.
    """

    def __init__(self, on_full: Callable[[bool], object]) -> None:
        self._on_full = on_full
        self._sent: deque[tuple[int, float]] = deque()
        self._lock = threading.Lock()
        self._number = 0
        self.delay = 0.02
        self.shown = 0
        self.last = 0

    def sent(self) -> int:
        """A picture is sent now: its number."""
        with self._lock:
            self._number += 1
            self._sent.append((self._number, time.monotonic()))
            self._tell()
            return self._number

    def show(self, number: int) -> None:
        """The browser shows a picture; those that were sent before it are over, too."""
        with self._lock:
            at = None
            while self._sent and self._sent[0][0] <= number:
                self.last, at = self._sent.popleft()
            if at is not None:
                self.shown += 1
                self.delay += _SMOOTHING * (time.monotonic() - at - self.delay)
                self._tell()

    def forget(self) -> None:
        """The page has gone, or has come anew: what was on the way will not arrive."""
        with self._lock:
            self._sent.clear()
            self._tell()

    def _tell(self) -> None:
        """Within the lock: else an older word could be the last, and nothing would ever be drawn again."""
        self._on_full(len(self._sent) >= _MOST_ON_THE_WAY)
