"""What the program says while it works: plain lines and progress bars on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def say(text: str) -> None:
    """One line for the user, above any progress bar."""
    tqdm.write(text, file=sys.stderr)


def progress(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """Go through items with a bar that shows the remaining time; in a log file it prints a few lines only.

    The environment's ``STUDIO_PROGRESS_SECONDS`` says how often another program that reads along wants a line.
    """
    interval = 0.2 if sys.stderr.isatty() else float(os.environ.get("STUDIO_PROGRESS_SECONDS", "20"))
    return iter(tqdm(items, desc=title, total=total, mininterval=interval, file=sys.stderr, dynamic_ncols=True))
