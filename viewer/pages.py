"""The browsers' pages: what ``page.js`` is told and asked, over a connection of its own beside viser's.

Text both ways is JSON: orders and questions there, answers and news back. Bytes there are pictures, bytes back are what
a page's microphone hears and its camera sees; their first byte says which.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import viser
from websockets.exceptions import ConnectionClosed

from viewer.server import LocalServer

SOUND, SIGHT = 1, 2  # first bytes of what a page sends
_PATIENCE = 3.0
_CLOCK_TRIES = 5
_MOST_EXPECTED = 64
_KEPT = {SOUND: 100, SIGHT: 1}  # blocks of sound, 3 s; of pictures the newest


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


class Page:
    """One page that is connected. All methods may be called from any thread.

    Args:
        client: viser's handle of the browser.
        connection: its websocket.
        loop: where that runs.

    Attributes:
        tab: label of the panel that is open; empty before the page has said so.
        clock: None until it was measured.
        refused: devices that it asked its user for in vain since they were last asked for.
    """

    def __init__(self, client: viser.ClientHandle, connection: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self.tab = ""
        self.clock: PageClock | None = None
        self.refused: set[str] = set()
        self.on_shown: Callable[[int], object] = lambda number: None
        self.on_tab: Callable[[], object] = lambda: None
        self.on_gone: Callable[[], object] = lambda: None
        self._connection = connection
        self._loop = loop
        self._numbers = count()
        self._questions: dict[int, Future[Any]] = {}
        self._streams = {kind: deque[bytes](maxlen=most) for kind, most in _KEPT.items()}

    def order(self, name: str, **values: Any) -> None:
        """Tell it to do something."""
        self.refused.discard(name)
        self._send(json.dumps({"order": name, **values}))

    def picture(self, number: int, jpeg: bytes, *, beneath: bool = False) -> None:
        """Show a picture, whole or beneath what the page draws itself."""
        self._send(number.to_bytes(4, "little") + bytes([beneath]) + jpeg)

    def ask(self, name: str, patience: float = _PATIENCE, **values: Any) -> Any:
        """What it answers; None where it does not. Waits: not for the server's own thread."""
        number, answer = next(self._numbers), Future[Any]()
        self._questions[number] = answer
        self._send(json.dumps({"ask": name, "number": number, **values}))
        try:
            return answer.result(patience)
        except TimeoutError:
            return None
        finally:
            self._questions.pop(number, None)

    def received(self, kind: int) -> list[bytes]:
        """What its microphone or its camera has sent since this was last asked, oldest first."""
        stream, taken = self._streams[kind], []
        while stream:
            taken.append(stream.popleft())
        return taken

    def measure_clock(self) -> None:
        """Ask a few times; the quickest answer counts. Waits."""
        best: PageClock | None = None
        for _ in range(_CLOCK_TRIES):
            before = time.monotonic()
            told = self.ask("clock")
            after = time.monotonic()
            if not isinstance(told, int | float):
                return
            found = PageClock(told - (before + after) / 2 * 1000, (after - before) / 2)
            best = found if best is None or found.delay < best.delay else best
        self.clock = best

    def take(self, message: str | bytes) -> None:
        """A message of the page; one that is none is left alone."""
        if isinstance(message, bytes):
            if len(message) > 1 and message[0] in self._streams:
                self._streams[message[0]].append(message[1:])
            return
        try:
            told = dict(json.loads(message))
            if "shown" in told:
                self.on_shown(int(told["shown"]))
            elif told.get("refused") in ("microphone", "camera"):
                self.refused.add(told["refused"])
            elif "tab" in told:
                self.tab = str(told["tab"])[:40]
                self.on_tab()
            elif (answer := self._questions.pop(told["number"], None)) is not None:
                answer.set_result(told["answer"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            pass

    def leave(self) -> None:
        """It has gone: nobody need wait for it."""
        for answer in list(self._questions.values()):
            with suppress(InvalidStateError):
                answer.set_result(None)
        self.on_gone()

    def _send(self, message: str | bytes) -> None:
        async def send() -> None:
            with suppress(Exception):  # it has gone: whoever waits for it is told by its silence
                await self._connection.send(message)

        with suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(send()))


class Pages:
    """Meets the pages and knows them by their browser.

    Args:
        server: whose clients' pages.
    """

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        self._expected: dict[str, viser.ClientHandle] = {}
        self._pages: dict[int, Page] = {}
        self._ready: list[Callable[[viser.ClientHandle], object]] = []
        self._opened: list[Callable[[Page], object]] = []
        self._turned: list[Callable[[], object]] = []
        self._in_space: set[str] = set()
        self._meeting: set[threading.Thread] = set()
        server.gate.talk = self._talk
        server.on_client_connect(self._welcome)
        server.on_client_disconnect(self._forget)

    def on_open(self, listener: Callable[[Page], object]) -> None:
        """Called on the server's thread for each page that has connected."""
        self._opened.append(listener)

    def on_ready(self, listener: Callable[[viser.ClientHandle], object]) -> None:
        """Called for each page once its clock is known."""
        self._ready.append(listener)

    def get(self, client: viser.ClientHandle) -> Page | None:
        """A browser's page; None for a browser whose page has not connected."""
        return self._pages.get(client.client_id)

    def clock(self, client: viser.ClientHandle) -> PageClock | None:
        """A page's clock; None while it is not known."""
        page = self.get(client)
        return None if page is None else page.clock

    def on_tab(self, listener: Callable[[], object]) -> None:
        """Called on the server's thread when a page has opened another panel."""
        self._turned.append(listener)

    def order(self, client: viser.ClientHandle, name: str, **values: Any) -> None:
        """Tell a page to do something."""
        page = self.get(client)
        if page is not None:
            page.order(name, **values)

    def ask(self, client: viser.ClientHandle, name: str, patience: float = _PATIENCE) -> Any:
        """What a page answers; None where it does not. Waits: not for the server's own thread."""
        page = self.get(client)
        return None if page is None else page.ask(name, patience)

    def is_open(self, tab: str) -> bool:
        """Whether anybody looks at a panel, as far as is known."""
        pages = list(self._pages.values())
        return len(pages) < len(self._server.get_clients()) or any(page.tab in ("", tab) for page in pages)

    def put_in_space(self, name: str, *, shown: bool) -> None:
        """Something that viser draws over the pictures is there, or gone; without any, pages draw nothing in space."""
        self._in_space = self._in_space | {name} if shown else self._in_space - {name}
        for page in list(self._pages.values()):
            page.order("space", shown=bool(self._in_space))

    def close(self) -> None:
        """Wait for pages that are still being asked; they give up once the server has stopped."""
        for thread in tuple(self._meeting):
            thread.join(_PATIENCE)

    def _forget(self, client: viser.ClientHandle) -> None:
        self._pages.pop(client.client_id, None)

    def _welcome(self, client: viser.ClientHandle) -> None:
        """Tell a page the key by which its connection is known to be this browser's."""
        key = secrets.token_urlsafe(16)
        self._expected[key] = client
        while len(self._expected) > _MOST_EXPECTED:
            self._expected.pop(next(iter(self._expected)))
        client.local_storage.set_item("studio:connect", json.dumps({"key": key}))

    async def _talk(self, connection: Any) -> None:
        (key,) = parse_qs(urlsplit(connection.request.path).query).get("key", [""])[:1]
        client = self._expected.pop(key, None)
        if client is None:
            return
        page = Page(client, connection, asyncio.get_running_loop())
        self._pages[client.client_id] = page
        page.order("space", shown=bool(self._in_space))
        page.on_tab = self._turn
        for listener in self._opened:
            listener(page)
        thread = threading.Thread(target=self._meet, args=(page,), name="viewer-page", daemon=True)
        self._meeting.add(thread)
        thread.start()
        try:
            with suppress(ConnectionClosed):
                async for message in connection:
                    page.take(message)
        finally:
            if self._pages.get(client.client_id) is page:
                del self._pages[client.client_id]
            page.leave()

    def _turn(self) -> None:
        for listener in self._turned:
            listener()

    def _meet(self, page: Page) -> None:
        try:
            page.measure_clock()
            if page.clock is not None:
                for listener in self._ready:
                    listener(page.client)
        finally:
            self._meeting.discard(threading.current_thread())
