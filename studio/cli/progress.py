"""A progress bar for functions that report their steps through a hook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm


class Step(Protocol):
    """What a training function tells after each step."""

    @property
    def step(self) -> int: ...
    @property
    def total(self) -> int: ...


@contextmanager
def count_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A hook that is called with done and all, and shows both with the remaining time."""
    interval = 0.2 if sys.stderr.isatty() else 20.0
    with tqdm(desc=title, mininterval=interval, file=sys.stderr, dynamic_ncols=True) as bar:

        def on_count(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield on_count


@contextmanager
def step_bar(title: str) -> Iterator[Callable[[Step], None]]:
    """As ``count_bar``, for functions that tell both in one object."""
    with count_bar(title) as on_count:

        def on_step(step: Step) -> None:
            on_count(step.step, step.total)

        yield on_step
