"""Pictures on their way to a browser: never too many, and room again once they are there."""

from __future__ import annotations

from viewer.arrivals import Arrivals


def test_two_pictures_may_be_on_the_way() -> None:
    words: list[bool] = []
    arrivals = Arrivals(words.append)
    first = arrivals.sent()
    assert words == [False]
    second = arrivals.sent()
    assert words[-1] is True
    arrivals.show(first)
    assert words[-1] is False
    assert (arrivals.shown, arrivals.last) == (1, first)
    arrivals.sent()
    assert words[-1] is True
    arrivals.show(second)
    assert words[-1] is False


def test_the_newest_that_is_shown_stands_for_those_before_it() -> None:
    arrivals = Arrivals(lambda full: None)
    for _ in range(3):
        newest = arrivals.sent()
    arrivals.show(newest)
    assert (arrivals.shown, arrivals.last) == (1, newest)
    arrivals.show(newest)
    arrivals.show(1)
    arrivals.show(10**9)
    assert (arrivals.shown, arrivals.last) == (1, newest), "what was never sent was shown"


def test_nothing_is_waited_for_from_a_page_that_has_gone() -> None:
    words: list[bool] = []
    arrivals = Arrivals(words.append)
    arrivals.sent()
    arrivals.sent()
    arrivals.forget()
    assert words[-1] is False
