"""Which pictures a browser has shown: what is sent to a slow one must not pile up on its way."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import viser

from viewer.pages import Pages

_MOST_ON_THE_WAY = 2
_PATIENCE = 2.0  # seconds after which a picture counts as shown, come what may
_SMOOTHING = 0.15


class Arrivals:
    """The pictures on their way to one browser.

    Args:
        client: the browser.
        pages: its page answers for what it has shown; one that does not is never waited for.
        on_full: called with whether the browser has as many pictures on the way as may be.

    Attributes:
        delay: seconds from a picture's sending to its showing, smoothed.
        shown: how many pictures were shown.
    """

    def __init__(self, client: viser.ClientHandle, pages: Pages, on_full: Callable[[bool], object]) -> None:
        self._client = client
        self._pages = pages
        self._on_full = on_full
        self._sent: deque[float] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self.delay = 0.02
        self.shown = 0

    def sent(self) -> None:
        """A picture has been sent."""
        if self._pages.clock(self._client) is None:
            return
        with self._changed:
            self._sent.append(time.monotonic())
            self._tell()
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="viewer-arrivals", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._sent and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                at, waiting = self._sent[-1], len(self._sent)
            self._pages.ask(self._client, "clock", _PATIENCE)  # answered after all that was sent before
            with self._changed:
                for _ in range(min(waiting, len(self._sent))):
                    self._sent.popleft()
                    self.shown += 1
                self.delay += _SMOOTHING * (time.monotonic() - at - self.delay)
                self._tell()

    def _tell(self) -> None:
        """Within the lock: else an older word could be the last, and nothing would ever be drawn again."""
        self._on_full(len(self._sent) >= _MOST_ON_THE_WAY)
