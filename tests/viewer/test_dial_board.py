"""Sliders that hands and the state on show both write: a hand's value is never lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from studio.codes import Codes
from tests.viewer.avatars import CardAvatar
from tests.viewer.browser import Browser
from viewer.controls import face_dials
from viewer.panels.dial_board import DialBoard
from viewer.server import address, open_server
from viewer.session import Scene, Session
from viewer.views import Viewpoints


@dataclass
class Stand:
    """A board alone, on a real server."""

    board: DialBoard
    session: Session
    browser: Browser
    gate: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)

    def jaw(self) -> float:
        codes = self.session.scene.codes
        return float(codes.expression[codes.space.index("jawOpen")])


@pytest.fixture
def stand() -> Iterator[Stand]:
    server = open_server("127.0.0.1", 0, "test")
    session = Session(Scene(Codes.neutral(), (0, 0, 0)))
    gate, waiting = threading.Event(), threading.Event()
    gate.set()

    def let_go() -> None:
        waiting.set()
        gate.wait(10.0)

    board = DialBoard(server, session, face_dials(CardAvatar().code_range), ("Jaw",), let_go)
    with Browser(address("127.0.0.1", server.get_port())) as browser:
        points = Viewpoints.of(CardAvatar())
        browser.look(points.front, points.front_fov, 320, 240)  # only now it counts as connected
        browser.wait(lambda: len(browser.widgets) > 52)
        yield Stand(board, session, browser, gate, waiting)
        gate.set()
    server.stop()


def test_updates_while_a_move_is_on_its_way_do_not_overwrite_it(stand: Stand) -> None:
    stand.gate.clear()
    stand.browser.turn("jawOpen", 0.8)
    assert stand.waiting.wait(10.0)  # the hand's value is taken, the state is the old one
    for step in range(5):
        stand.session.pose(lambda codes, step=step: codes.with_channels(browInnerUp=step / 10))
        stand.board.show()
    stand.browser.wait(lambda: stand.browser.value("browInnerUp") == 0.4)
    stand.gate.set()
    stand.browser.wait(lambda: stand.jaw() == pytest.approx(0.8))
    stand.board.show()
    stand.session.pose(lambda codes: codes.with_channels(browInnerUp=0.9))
    stand.board.show()
    stand.browser.wait(lambda: stand.browser.value("browInnerUp") == 0.9)
    assert stand.jaw() == pytest.approx(0.8)


def test_of_moves_that_pile_up_the_last_one_counts(stand: Stand) -> None:
    stand.gate.clear()
    for value in (0.2, 0.5, 0.7):
        stand.browser.turn("jawOpen", value)
    assert stand.waiting.wait(10.0)
    stand.gate.set()
    stand.browser.wait(lambda: stand.jaw() == pytest.approx(0.7))


def test_no_move_is_lost_in_a_storm_of_updates(stand: Stand) -> None:
    """As when a track plays: the state changes all the time, and every change is shown."""
    calm = threading.Event()

    def storm() -> None:
        level = 0
        while not calm.is_set():
            level = (level + 1) % 100
            stand.session.pose(lambda codes, level=level: codes.with_channels(browInnerUp=level / 100))
            stand.board.show()
            calm.wait(0.001)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for step in range(1, 31):
            stand.browser.turn("jawOpen", step / 100)
            stand.browser.wait(lambda step=step: stand.jaw() == pytest.approx(step / 100), seconds=5.0)
    finally:
        calm.set()
        thread.join()


def test_a_state_changed_elsewhere_is_shown(stand: Stand) -> None:
    stand.browser.turn("jawOpen", 0.3)
    stand.browser.wait(lambda: stand.jaw() == pytest.approx(0.3))
    stand.session.pose(lambda codes: codes.with_channels(jawOpen=0.6))
    stand.board.show()
    stand.browser.wait(lambda: stand.browser.value("jawOpen") == 0.6)


def test_what_was_sent_just_before_a_move_does_not_stay_in_the_browser(stand: Stand) -> None:
    """The browser hears of the state's value after its own move: it must be told its own again, once."""
    stand.session.pose(lambda codes: codes.with_channels(jawOpen=0.6))
    stand.board.show()
    stand.browser.turn("jawOpen", 0.3)  # the message of 0.6 is still unread
    stand.browser.wait(lambda: stand.jaw() == pytest.approx(0.3))
    stand.browser.wait(lambda: stand.browser.value("jawOpen") == 0.3)
    stand.browser.widgets[stand.browser.find("jawOpen")]["value"] = None
    stand.browser.turn("jawOpen", 0.4)  # a hand that drags on hears nothing, or the slider would jerk
    stand.browser.wait(lambda: stand.jaw() == pytest.approx(0.4))
    stand.browser.turn("browInnerUp", 0.5)
    stand.browser.wait(lambda: stand.session.scene.codes.expression.max() == pytest.approx(0.5))
    assert stand.browser.value("jawOpen") is None
