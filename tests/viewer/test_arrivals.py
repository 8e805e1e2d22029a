"""Pictures on their way to a browser: never too many, and never waited for once they are there."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from viewer.arrivals import Arrivals


def test_whatever_is_slow_the_last_word_is_that_there_is_room() -> None:
    words: list[bool] = []

    def on_full(full: bool) -> None:
        time.sleep(0.004 if full else 0.0)
        words.append(full)

    pages: Any = SimpleNamespace(clock=lambda client: 1, ask=lambda client, name, patience: time.sleep(0.001))
    client: Any = SimpleNamespace(client_id=0)
    arrivals = Arrivals(client, pages, on_full)
    for _ in range(60):
        arrivals.sent()
    end = time.monotonic() + 10
    while arrivals.shown < 60 and time.monotonic() < end:
        time.sleep(0.01)
    arrivals.close()
    assert arrivals.shown == 60
    assert True in words
    assert words[-1] is False


def test_a_page_that_does_not_answer_is_never_waited_for() -> None:
    words: list[bool] = []
    pages: Any = SimpleNamespace(clock=lambda client: None)
    arrivals = Arrivals(pages, pages, words.append)
    for _ in range(5):
        arrivals.sent()
    assert not words
    assert arrivals.shown == 0
