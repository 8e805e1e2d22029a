"""The browsers' pages: what ``page.js`` is told and asked, through viser's storage messages."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import viser

_PATIENCE = 3.0
_CLOCK_TRIES = 5


@dataclass(frozen=True)
class PageClock:
    """How a page's clock runs against ours.

    Args:
        offset: the page's milliseconds when ours was 0 (``time.monotonic``).
        delay: seconds of a message's way there, about.
    """

    offset: float
    delay: float

    def at(self, moment: float) -> float:
        """The page's milliseconds at a moment of ours."""
        return moment * 1000 + self.offset


class Pages:
    """Talks to the pages.

    Args:
        server: whose clients' pages.
    """

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._clocks: dict[int, PageClock] = {}
        self._ready: list[Callable[[viser.ClientHandle], object]] = []
        self._meeting: set[threading.Thread] = set()
        server.on_client_connect(self._welcome)
        server.on_client_disconnect(self._forget)

    def on_ready(self, listener: Callable[[viser.ClientHandle], object]) -> None:
        """Called for each page once it answers."""
        self._ready.append(listener)

    def clock(self, client: viser.ClientHandle) -> PageClock | None:
        """The page's clock; None for a browser whose page does not answer."""
        return self._clocks.get(client.client_id)

    def order(self, client: viser.ClientHandle, name: str, **values: Any) -> None:
        """Tell a page to do something."""
        client.local_storage.set_item(f"studio:{name}", json.dumps(values))

    def ask(self, client: viser.ClientHandle, name: str, patience: float = _PATIENCE) -> Any:
        """What a page says; None where it does not answer. Waits: not for the server's own thread."""
        with suppress(RuntimeError, TimeoutError, ValueError, TypeError):
            return json.loads(client.local_storage.get_item(f"studio:{name}", timeout=patience) or "null")
        return None

    def close(self) -> None:
        """Wait for pages that are still being asked; they give up once the server has stopped."""
        for thread in tuple(self._meeting):
            thread.join(_PATIENCE)

    def _forget(self, client: viser.ClientHandle) -> None:
        self._clocks.pop(client.client_id, None)

    def _welcome(self, client: viser.ClientHandle) -> None:
        def meet() -> None:
            try:
                self._meet(client)
            finally:
                self._meeting.discard(threading.current_thread())

        thread = threading.Thread(target=meet, name="viewer-page", daemon=True)
        self._meeting.add(thread)
        thread.start()

    def _meet(self, client: viser.ClientHandle) -> None:
        best: PageClock | None = None
        for _ in range(_CLOCK_TRIES):
            before = time.monotonic()
            told = self.ask(client, "clock")
            after = time.monotonic()
            if not isinstance(told, int | float):
                return
            found = PageClock(told - (before + after) / 2 * 1000, (after - before) / 2)
            best = found if best is None or found.delay < best.delay else best
        if best is not None:
            self._clocks[client.client_id] = best
            for listener in self._ready:
                listener(client)
