"""One state as SOG (PlayCanvas): images in a zip, the smallest of all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.exporters import Subject
from reenact.exporters.ply import Up
from studio.media.splats.sog import write_sog
from studio.splats import upright


@dataclass(frozen=True)
class Sog:
    """SOG version 2, without higher bands of colour.

    Args:
        up: as in ``reenact.exporters.ply``.
    """

    up: Up = "-y"
    endings: ClassVar[tuple[str, ...]] = (".sog",)

    def write(self, subject: Subject, out: Path) -> None:
        """Write the state that the subject is in."""
        write_sog(out, upright(subject.splats(subject.codes), self.up))


EXPORTER = Sog
