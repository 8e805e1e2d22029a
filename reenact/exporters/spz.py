"""One state as SPZ (Niantic): a fifth of the size; up is y by its rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.exporters import Subject
from studio.media.splats.packed import write_packed


@dataclass(frozen=True)
class Spz:
    """SPZ; there is nothing to choose."""

    endings: ClassVar[tuple[str, ...]] = (".spz",)

    def write(self, subject: Subject, out: Path) -> None:
        """Write the state that the subject is in."""
        write_packed(out, subject.splats(subject.codes))


EXPORTER = Spz
