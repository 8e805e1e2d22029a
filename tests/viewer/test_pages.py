"""The pages' own connection: who may have one, pictures there, answers and streams back, garbage."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.viewer.avatars import CardAvatar
from tests.viewer.browser import Browser
from viewer.app import Viewer
from viewer.pages import SIGHT, SOUND, Page
from viewer.settings import ViewerConfig
from viewer.views import Viewpoints


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    with Viewer(CardAvatar(), None, ViewerConfig(port=0, size=64)) as viewer:
        yield viewer


@pytest.fixture
def browser(viewer: Viewer) -> Iterator[Browser]:
    with Browser(viewer.url) as browser:
        points = Viewpoints.of(CardAvatar())
        browser.look(points.front, points.front_fov, 64, 64)
        browser.wait(lambda: bool(browser.key))
        yield browser


def channel(viewer: Viewer, key: str) -> ClientConnection:
    return connect(viewer.url.replace("http", "ws") + f"/studio/channel?key={key}")


def only_page(viewer: Viewer) -> Page:
    soon(lambda: bool(viewer._desk.pages._pages))
    (page,) = viewer._desk.pages._pages.values()
    return page


def soon(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def answering(socket: ClientConnection, answers: dict[str, Any], pictures: list[bytes]) -> None:
    """A page's side, until the connection ends: answers, and shows what it gets."""
    try:
        for message in socket:
            if isinstance(message, bytes):
                pictures.append(message[5:])
                socket.send(json.dumps({"shown": int.from_bytes(message[:4], "little")}))
            elif (asked := json.loads(message)).get("ask") in answers:
                socket.send(json.dumps({"number": asked["number"], "answer": answers[asked["ask"]]}))
    except ConnectionClosed:
        pass


def test_a_page_gets_pictures_and_answers_and_streams(viewer: Viewer, browser: Browser) -> None:
    pictures: list[bytes] = []
    with channel(viewer, browser.key) as socket:
        threading.Thread(target=answering, args=(socket, {"clock": 5.0, "view": "x"}, pictures), daemon=True).start()
        page = only_page(viewer)
        soon(lambda: page.clock is not None)
        assert page.ask("view") == "x"
        assert page.ask("nothing", patience=0.05) is None
        before = len(pictures)
        browser.turn("jawOpen", 1.0)
        soon(lambda: len(pictures) > before)
        assert pictures[-1][:2] == b"\xff\xd8"
        socket.send(bytes([SOUND]) + b"ab")
        socket.send(bytes([SOUND]) + b"cd")
        socket.send(bytes([SIGHT]) + b"old")
        socket.send(bytes([SIGHT]) + b"new")
        soon(lambda: b"new" in page._streams[SIGHT])
        assert page.received(SOUND) == [b"ab", b"cd"]
        assert page.received(SIGHT) == [b"new"]
    soon(lambda: not viewer._desk.pages._pages)
    seen = browser.pictures
    browser.turn("jawOpen", 0.0)
    browser.wait(lambda: browser.pictures > seen)  # viser's way, as for pages without the script


@pytest.mark.parametrize("key", ["", "guessed"])
def test_a_key_is_good_for_one_connection(viewer: Viewer, browser: Browser, key: str) -> None:
    with channel(viewer, browser.key):
        page = only_page(viewer)
        for wrong in (key, browser.key):
            with channel(viewer, wrong) as other, pytest.raises(ConnectionClosed):
                other.recv(timeout=5)
        assert only_page(viewer) is page


def test_garbage_of_a_page_is_left_alone(viewer: Viewer, browser: Browser) -> None:
    with channel(viewer, browser.key) as socket:
        page = only_page(viewer)
        for garbage in (
            "",
            "[]",
            "7",
            "{}",
            '{"shown": "x"}',
            '{"shown": 1e999}',
            "[" * 5000,
            b"",
            b"\x01",
            b"\xff abc",
        ):
            socket.send(garbage)
        socket.send('{"refused": "everything"}')
        socket.send('{"tab": "Face"}')
        soon(lambda: page.tab == "Face")
        assert not page.refused
        assert not page.received(SOUND)
        assert viewer._desk.pages.is_open("Face")
        assert not viewer._desk.pages.is_open("Pose")
