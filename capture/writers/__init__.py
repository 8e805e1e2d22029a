"""Writers: one file per format of other programs, each with a ``WRITER``, found by being there."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.captures import Capture
from studio.errors import StudioError
from studio.folders import MANIFEST, new_folder, require_new


@dataclass(frozen=True)
class Writer:
    """A format that captures are written in.

    Args:
        write: (capture, new and empty folder) -> what to name as the source when it is read again.
    """

    write: Callable[[Capture, Path], Path]


def writers() -> Mapping[str, Writer]:
    """All writers by the name of their module."""
    names = sorted(item.name for item in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").WRITER for name in names}


def export_capture(capture: Capture, format: str, out: Path) -> Path:
    """Write a capture in a format of other programs; tracks travel beside it in the folder "tracks".

    Args:
        capture: what is written.
        format: name of a writer.
        out: the folder to make, whole or not at all.

    Returns:
        The folder or file inside ``out`` that ``studio ingest`` reads again.

    Raises:
        StudioError: no such format, ``out`` exists, or the format cannot hold this capture.
    """
    if format not in writers():
        raise StudioError("no such format of captures", got=format, expected=" | ".join(writers()))
    require_new(out)
    with new_folder(out) as folder:
        written = writers()[format].write(capture, folder)
        shutil.copyfile(capture.folder / MANIFEST, folder / "studio_capture.json")  # licence, consent, provenance
    return out / written.relative_to(folder)
