"""Action units over time as CSV, for analysis: frame, time in seconds, whether a face was seen, then every unit."""

from __future__ import annotations

import csv
from pathlib import Path

from reenact.curves.files import written_whole
from studio.action_units import action_units
from studio.codes import CodeTrack


def write_action_units(path: Path, track: CodeTrack) -> None:
    """Write a track as CSV. Raises StudioError for another space than ARKit's or a file that exists."""
    units = action_units(track.codes)
    with written_whole(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["frame", "time", "valid", *units])
        for frame in range(len(track)):
            values = [f"{float(unit[frame]):.4f}" for unit in units.values()]
            writer.writerow([frame, f"{frame / track.fps:.4f}" if track.fps else "0", int(track.valid[frame]), *values])
