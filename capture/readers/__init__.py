"""Readers: one file per source format, each with a ``READER``, found by being there. Each writes a capture folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import StudioError


@dataclass(frozen=True)
class NoSettings:
    """For formats that say everything themselves."""


@dataclass(frozen=True)
class Reader:
    """A source format.

    Args:
        settings: a frozen dataclass of what the user may choose.
        accepts: whether an existing file or folder is of this format; never raises.
        read: (source, folder to make, settings) -> the capture folder. Raises StudioError for a bad source or when the
            folder exists; never changes the source.
        needs_source: False where the footage is made up.
    """

    settings: type
    accepts: Callable[[Path], bool]
    read: Callable[[Path, Path, Any], Path]
    needs_source: bool = True


def readers() -> Mapping[str, Reader]:
    """All readers by the name of their module."""
    names = sorted(item.name for item in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").READER for name in names}


def recognise(source: Path) -> str:
    """The name of the reader for a source.

    Raises:
        StudioError: it does not exist, or is of no known format.
    """
    if not source.exists():
        raise StudioError(f"no such file or folder: {source}", expected="footage", next="check the path")
    accepting = [name for name, reader in readers().items() if reader.accepts(source)]
    if not accepting:
        raise StudioError(
            f"{source} is of no format that is known",
            got="a folder" if source.is_dir() else "a file",
            expected=" | ".join(readers()),
            next="studio ingest --help",
        )
    return accepting[0]
