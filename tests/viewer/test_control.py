"""One browser may have the controls: the others watch, and keep their own cameras."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.viewer.avatars import CardAvatar, stripes
from tests.viewer.browser import Browser
from viewer.app import Viewer
from viewer.settings import ViewerConfig
from viewer.views import Viewpoints

TAKE, LET_GO, TAKEN = "Take the controls", "Let go of the controls", "Another browser has the controls"


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    with Viewer(CardAvatar(stripes()), None, ViewerConfig(port=0, size=64)) as viewer:
        yield viewer


def arrived(browser: Browser) -> Browser:
    points = Viewpoints.of(CardAvatar())
    browser.look(points.front, points.front_fov, 64, 64)
    browser.wait(lambda: browser.picture is not None)
    return browser


def has(browser: Browser, label: str) -> bool:
    return any(widget["props"].get("label") == label for widget in browser.widgets.values())


def jaw(viewer: Viewer) -> float:
    codes = viewer._desk.session.scene.codes
    return float(codes.expression[codes.space.index("jawOpen")])


def soon(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_browser_alone_is_not_asked(viewer: Viewer) -> None:
    with Browser(viewer.url) as alone:
        arrived(alone)
        assert not has(alone, TAKE)
        alone.turn("jawOpen", 0.5)
        soon(lambda: jaw(viewer) == 0.5)


def test_who_watches_moves_nothing_but_its_own_camera(viewer: Viewer) -> None:
    with Browser(viewer.url) as first, Browser(viewer.url) as second:
        arrived(first)
        arrived(second)
        first.wait(lambda: has(first, TAKE))
        first.click(TAKE)
        first.wait(lambda: has(first, LET_GO))
        second.wait(lambda: has(second, TAKEN))
        second.widgets[second.find("jawOpen")]["value"] = 0.7  # as a page shows its own hand's move
        second.turn("jawOpen", 0.7)
        second.wait(lambda: second.value("jawOpen") == 0.0)
        assert jaw(viewer) == 0.0
        second.click("Expression and pose as they rest")
        second.click("As the recording saw it")
        second.wait(lambda: bool(second.camera_moves))
        first.turn("jawOpen", 0.4)
        second.wait(lambda: second.value("jawOpen") == pytest.approx(0.4))
        assert jaw(viewer) == pytest.approx(0.4)
        first.click(LET_GO)
        second.wait(lambda: has(second, TAKE))
        second.turn("jawOpen", 0.7)
        soon(lambda: jaw(viewer) == pytest.approx(0.7))


def test_the_controls_are_free_when_their_holder_leaves(viewer: Viewer) -> None:
    with Browser(viewer.url) as second:
        arrived(second)
        with Browser(viewer.url) as first:
            arrived(first)
            first.wait(lambda: has(first, TAKE))
            first.click(TAKE)
            second.wait(lambda: has(second, TAKEN))
        soon(lambda: viewer._desk.control.holder is None)
        second.turn("jawOpen", 0.3)
        soon(lambda: jaw(viewer) == pytest.approx(0.3))
