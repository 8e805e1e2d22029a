"""One state as a standard PLY of 3D Gaussians, which every splat program opens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from reenact.exporters import Subject
from studio.media.splats.ply import write_ply
from studio.splats import upright

Up = Literal["-y", "y"]


@dataclass(frozen=True)
class Ply:
    """Standard 3DGS PLY.

    Args:
        up: where up is in the file: "-y" as in scenes out of COLMAP, which splat programs turn upright when they open
            them, or "y" as the studio has it.
    """

    up: Up = "-y"
    endings: ClassVar[tuple[str, ...]] = (".ply",)

    def write(self, subject: Subject, out: Path) -> None:
        """Write the state that the subject is in."""
        write_ply(out, upright(subject.splats(subject.codes), self.up))


EXPORTER = Ply
