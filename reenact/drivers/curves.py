"""Curves drive: a file of Live Link Face, MediaPipe or Audio2Face, or FLAME parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.convert import CodeMap, convert
from reenact.curves import read_curves
from reenact.curves.hashing import source_hash
from reenact.drivers import Driving
from studio.media.audio import read_wav


@dataclass(frozen=True)
class CurvesDriver:
    """Curves from a file whose format is told by its content.

    Args:
        source: the file, or a folder of FLAME parameters.
        audio: a wav file that begins with the first frame, if any.
        fps: frames per second of formats that hold no time (FLAME).
        map: how to come from the file's code space to ARKit's, see ``reenact.convert``.
    """

    source: Path
    audio: Path | None = None
    fps: float | None = None
    map: Path | None = None
    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        """Read the curves. Raises StudioError when a file is missing or damaged."""
        track = convert(read_curves(self.source, self.fps), using=CodeMap.load(self.map) if self.map else None)
        audio = read_wav(self.audio) if self.audio else None
        return Driving(track, audio, {self.source.name: source_hash(self.source)})


DRIVER = CurvesDriver
