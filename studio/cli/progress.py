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
    @property
    def loss(self) -> float: ...


@contextmanager
def step_bar(title: str) -> Iterator[Callable[[Step], None]]:
    """A hook that shows done and remaining steps, the remaining time and the loss."""
    interval = 0.2 if sys.stderr.isatty() else 20.0
    with tqdm(desc=title, mininterval=interval, file=sys.stderr, dynamic_ncols=True) as bar:

        def on_step(step: Step) -> None:
            bar.total = step.total
            if step.step % 10 == 0:
                bar.set_postfix_str(f"loss {step.loss:.4f}", refresh=False)
            bar.update(step.step - bar.n)

        yield on_step
