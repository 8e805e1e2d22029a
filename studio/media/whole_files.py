"""Single files that appear under their name when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.errors import StudioError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it when the block ends well; the folder is made.

    The ending stays, for writers that go by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_new_file(path: Path) -> None:
    """Raise StudioError if there is something under that name."""
    if path.exists():
        raise StudioError(f"{path} exists already", expected="a new name", next="choose another name or move it away")
