"""New capture folders that share most of their files with another one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from studio.captures import Capture
from studio.folders import MANIFEST
from studio.logs import progress

Item = TypeVar("Item")


def stored_files(capture: Capture) -> Iterator[Path]:
    """All files of a capture but its manifest, relative to its folder."""
    for path in sorted(capture.folder.rglob("*")):
        name = path.relative_to(capture.folder)
        if path.is_file() and name.as_posix() != MANIFEST and not any(part.startswith(".") for part in name.parts):
            yield name


def copy_file(capture: Capture, name: Path, folder: Path) -> None:
    """Copy one of them into another folder."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(capture.folder / name, target)


def each(work: Callable[[Item], None], items: Iterable[Item], title: str) -> None:
    """Do something for every item, in threads, with a progress bar."""
    todo = list(items)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in progress(pool.map(work, todo), title, len(todo)):
            pass
