"""A motion as a folder of standard PLY files, one for each frame, with the sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.exporters import Subject
from reenact.exporters.ply import Up
from studio.folders import write_folder, write_json
from studio.logs import progress
from studio.media.audio import write_wav
from studio.media.splats.ply import write_ply
from studio.splats import upright


@dataclass(frozen=True)
class PlySequence:
    """A folder: 000000.ply, 000001.ply …, sequence.json (frames per second, what it is), audio.wav.

    Args:
        up: as in ``reenact.exporters.ply``.
    """

    up: Up = "-y"
    endings: ClassVar[tuple[str, ...]] = ("",)

    def write(self, subject: Subject, out: Path) -> None:
        """Write the track's frames. Raises StudioError without a track."""
        track = subject.motion("ply_sequence")
        with write_folder(out, subject.manifest) as folder:
            for index in progress(range(len(track)), f"write {out.name}", total=len(track)):
                splats = subject.splats(track.codes[index])
                write_ply(folder / f"{index:06d}.ply", upright(splats, self.up), [f"time {index / track.fps:.6f} s"])
            if subject.audio is not None:
                write_wav(folder / "audio.wav", subject.audio)
            numbers = {"fps": track.fps, "frames": len(track), "up": self.up}
            write_json(folder / "sequence.json", {**numbers, **subject.note})


EXPORTER = PlySequence
