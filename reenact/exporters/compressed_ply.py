"""One state as PlayCanvas' compressed PLY: a quarter of the size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.exporters import Subject
from reenact.exporters.ply import Up
from studio.media.splats.packed import write_packed
from studio.splats import upright


@dataclass(frozen=True)
class CompressedPly:
    """Compressed PLY.

    Args:
        up: as in ``reenact.exporters.ply``.
    """

    up: Up = "-y"
    endings: ClassVar[tuple[str, ...]] = (".compressed.ply",)

    def write(self, subject: Subject, out: Path) -> None:
        """Write the state that the subject is in."""
        write_packed(out, upright(subject.splats(subject.codes), self.up))


EXPORTER = CompressedPly
