"""Readers: one file per source format, each with a ``READER``, found by being there. Each writes a capture folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.formats.footage import Footage, FootageConfig, check_settings, write_footage
from capture.formats.terms import Terms
from studio.errors import StudioError
from studio.folders import require_new


@dataclass(frozen=True)
class Reader:
    """A source format.

    Args:
        settings: a frozen dataclass of what the user may choose.
        accepts: whether an existing file or folder is of this format; never raises.
        read: (source, folder to make, settings, terms) -> the capture folder; the terms may be left out. Raises
            StudioError for a bad source or when the folder exists; never changes the source.
        needs_source: False where the footage is made up.
    """

    settings: type
    accepts: Callable[[Path], bool]
    read: Callable[..., Path]
    needs_source: bool = True


def footage_reader(
    settings: type[FootageConfig], accepts: Callable[[Path], bool], describe: Callable[[Path, Any], Footage]
) -> Reader:
    """The reader of a format that is described (cameras, streams of pictures, tracks) before it is read."""

    def read(source: Path, out: Path, config: FootageConfig, terms: Terms | None = None) -> Path:
        require_new(out)
        check_settings(config)
        if not source.exists():
            raise StudioError(f"no such file or folder: {source}", expected="footage", next="check the path")
        return write_footage(out, describe(source, config), config, terms or Terms())

    return Reader(settings, accepts, read)


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
