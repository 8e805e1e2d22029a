"""The render worker: latest request wins, drafts while moving, full pictures at rest, nobody starves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewer.renderer import Pace, Picture, RenderWorker, Request

REST = 0.08


class Log:
    """What was drawn and delivered, in order."""

    def __init__(self) -> None:
        self.drawn: list[tuple[object, float]] = []
        self.pictures: list[tuple[object, Picture]] = []
        self.errors: list[Exception] = []

    def request(self, name: object, seconds: float = 0.0, *, draft_first: bool = True) -> Request:
        def draw(scale: float) -> np.ndarray:
            self.drawn.append((name, scale))
            time.sleep(seconds)
            return np.zeros((1, 1, 3), dtype=np.uint8)

        return Request(draw, lambda picture: self.pictures.append((name, picture)), draft_first)

    def is_full(self, name: object) -> bool:
        return any(who == name and not picture.is_draft for who, picture in list(self.pictures))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def worker(log: Log) -> Iterator[RenderWorker]:
    worker = RenderWorker(log.errors.append, rest_seconds=REST)
    yield worker
    worker.close()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def test_a_draft_comes_first_and_the_full_picture_at_rest(worker: RenderWorker, log: Log) -> None:
    worker.submit("me", log.request("a"))
    wait_for(lambda: log.is_full("a"))
    assert [picture.is_draft for _, picture in log.pictures] == [True, False]
    (_, draft_scale), (_, full_scale) = log.drawn
    assert draft_scale < 1.0
    assert full_scale == 1.0


def test_only_the_latest_of_waiting_requests_is_drawn(worker: RenderWorker, log: Log) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(scale: float) -> np.ndarray:
        started.set()
        go_on.wait(5.0)
        return np.zeros((1, 1, 3), dtype=np.uint8)

    worker.submit("me", Request(slow, lambda picture: None))
    assert started.wait(5.0)
    for index in range(10):
        worker.submit("me", log.request(index))
    go_on.set()
    wait_for(lambda: log.is_full(9))
    assert {name for name, _ in log.drawn} == {9}


def test_nothing_is_refined_while_it_moves(worker: RenderWorker, log: Log) -> None:
    for index in range(20):
        worker.submit("me", log.request(index))
        time.sleep(REST / 8)
    moving = list(log.pictures)
    assert moving
    assert all(picture.is_draft for _, picture in moving)
    wait_for(lambda: log.is_full(19))


def test_a_busy_requester_does_not_starve_others(worker: RenderWorker, log: Log) -> None:
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            worker.submit("busy", log.request("busy", 0.005))
            time.sleep(0.001)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        wait_for(lambda: len(log.pictures) > 3)
        worker.submit("calm", log.request("calm"))
        wait_for(lambda: any(name == "calm" for name, _ in list(log.pictures)))
        worker.submit("picture", log.request("picture", draft_first=False))
        wait_for(lambda: log.is_full("picture"))
    finally:
        stop.set()
        thread.join()
    wait_for(lambda: log.is_full("calm"))


def test_a_request_without_draft_is_drawn_once_at_full_size(worker: RenderWorker, log: Log) -> None:
    worker.submit("me", log.request("a", draft_first=False))
    wait_for(lambda: log.is_full("a"))
    time.sleep(2 * REST)
    assert log.drawn == [("a", 1.0)]


def test_a_failure_is_reported_once_and_the_worker_goes_on(worker: RenderWorker, log: Log) -> None:
    def fail(scale: float) -> np.ndarray:
        raise ValueError("no picture today")

    worker.submit("me", Request(fail, lambda picture: None))
    wait_for(lambda: bool(log.errors))
    time.sleep(2 * REST)
    assert [str(error) for error in log.errors] == ["no picture today"]
    worker.submit("me", log.request("a"))
    wait_for(lambda: log.is_full("a"))


def test_a_cancelled_requester_gets_nothing_more(worker: RenderWorker, log: Log) -> None:
    worker.submit("me", log.request("a"))
    wait_for(lambda: bool(log.pictures))
    worker.cancel("me")
    time.sleep(2 * REST)
    assert not log.is_full("a")


def test_closing_ends_the_thread_and_later_requests_are_ignored(log: Log) -> None:
    worker = RenderWorker(log.errors.append)
    worker.close()
    worker.submit("me", log.request("a"))
    time.sleep(0.02)
    assert not log.drawn
    assert not worker._thread.is_alive()


@given(full=st.floats(0.001, 1.0), fixed=st.floats(0.0, 0.02))
@settings(max_examples=60, deadline=None)
def test_the_pace_settles_where_drafts_fit_the_budget(full: float, fixed: float) -> None:
    pace = Pace()
    levels = []
    for _ in range(30):
        pace.learn(fixed + full * pace.scale**2)
        levels.append(pace.level)
    assert len(set(levels[-10:])) == 1, "the sharpness flickers"
    finest_that_fits = fixed + full * pace.scale**2 <= 1.3 * pace.budget
    assert finest_that_fits or pace.scale == pytest.approx(0.5**1.5)
