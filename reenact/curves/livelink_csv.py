"""Live Link Face CSV files: 52 ARKit channels and nine angles, one row for each frame.

Rows: ``Timecode,BlendShapeCount,<52 channels>,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,…``, the timecode as
HH:MM:SS:FF.fff.
Columns are read by name, whatever their case and order, and written in the order that the app uses.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import torch

from reenact.curves.columns import Columns, source_of, to_write, with_source
from reenact.curves.files import numbers, read_rows, written_whole
from reenact.curves.livelink_channels import ANGLES, decode, encode, titled
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError

FORM = "livelink"
# The app swaps two pairs of ARKit's order.
_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
COLUMNS = (*(titled(_SWAPPED.get(name, name)) for name in ARKIT52.channels), *ANGLES)
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)")
_EXPECTED = "a Live Link Face recording: a header with Timecode and the channels, and rows below it"
_TIMES = f"curves/{FORM}/timecode"


def accepts(path: Path) -> bool:
    """Whether a file is a CSV with a column of timecodes."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        return "timecode" in [name.strip().lower() for name in stream.readline(20_000).split(",")]


def read_livelink_csv(path: Path) -> CodeTrack:
    """Read a CSV recording as a track; missing channels are 0 and named in its provenance.

    Raises:
        StudioError: no such file, no timecodes, or none of the 52 channels.
    """
    header, rows = read_rows(path, _EXPECTED)
    lower = [name.lower() for name in header]
    missing = [name for name in ARKIT52.channels if name.lower() not in lower]
    if len(missing) == len(ARKIT52) or "timecode" not in lower:
        raise StudioError(
            f"{path} is no Live Link Face recording",
            got=f"{len(rows)} rows, {len(ARKIT52) - len(missing)} of the 52 channels",
            expected=_EXPECTED,
        )
    timecodes = [row[lower.index("timecode")].strip() for row in rows]
    fps = _fps(timecodes, path)
    chosen = [index for index, name in enumerate(lower) if name not in ("timecode", "blendshapecount")]
    names = tuple(header[index] for index in chosen)
    columns = Columns(names, numbers([[row[index] for index in chosen] for row in rows], names, path))
    provenance = {"expression": "Live Link Face", "head": "Live Link Face", "gaze": "eyeLook channels"}
    if missing:
        provenance["missing, taken as 0"] = ", ".join(missing)
    track = CodeTrack(decode(columns), fps, torch.ones(len(rows), dtype=torch.bool), provenance)
    return with_source(track, FORM, columns, timecode=np.array(timecodes))


def write_livelink_csv(path: Path, track: CodeTrack) -> None:
    """Write a track of ``arkit52`` codes, whole or not at all; head angles are relative to the world's axes.

    What was read from such a file and not edited since is written as it was, timecodes too.

    Raises:
        StudioError: the track is of another space, or the file exists.
    """
    ARKIT52.require(track.codes.space, "the track")
    columns = to_write(track, FORM, _encode, decode)
    lower = {name.lower() for name in COLUMNS}
    names = (*COLUMNS, *(name for name in columns.names if name.lower() not in lower))
    table = np.stack([columns.get(name) for name in names], axis=-1).tolist()
    timecodes = track.extras.get(_TIMES) if source_of(track, FORM) is not None else None
    with written_whole(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["Timecode", "BlendShapeCount", *names])
        for index, row in enumerate(table):
            timecode = _timecode(index, track.fps) if timecodes is None else str(timecodes[index])
            writer.writerow([timecode, len(COLUMNS), *(f"{value:.10f}" for value in row)])


def _encode(codes: Codes) -> Columns:
    return Columns.of(encode(codes))


def _timecode(frame: int, fps: float) -> str:
    """HH:MM:SS:FF.fff, counted in 60ths of a second as the app does."""
    seconds, rest = divmod(round(frame / fps * 60_000), 60_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest / 1000:06.3f}"


def _fps(timecodes: list[str], path: Path) -> float:
    """Frames per second from timecodes, whose last part counts 60ths of a second, or 30ths in some files."""
    matches = [_TIMECODE.fullmatch(text) for text in timecodes]
    parts = np.array([[float(value) for value in match.groups()] for match in matches if match])
    if len(parts) < len(timecodes):
        raise StudioError(f"wrong timecodes in {path}", got=timecodes[0], expected="HH:MM:SS:FF.fff")
    if len(parts) < 2:
        return 60.0
    whole_seconds = np.ptp(parts[:, 2]) > 1  # only then would 60ths have been seen to pass 30
    base = 30.0 if whole_seconds and parts[:, 3].max() < 30 else 60.0
    steps = np.diff(parts[:, 0] * 3600 + parts[:, 1] * 60 + parts[:, 2] + parts[:, 3] / base)
    step = float(np.median(steps))
    if step <= 0:
        raise StudioError(f"wrong timecodes in {path}", got="times that do not increase", expected="increasing times")
    return float(round(1 / step, 3))
