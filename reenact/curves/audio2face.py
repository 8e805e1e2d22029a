"""Curves of Audio2Face: the CSV of its service (timeCode, blendShapes.<Name>) and the JSON of Omniverse.

JSON: exportFps, numFrames, numPoses, facsNames, weightMat [frames][poses]. Further shapes, such as the tongue's, are
kept and written back.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from reenact.curves.arkit_tables import channels, curves, provenance, require_channels
from reenact.curves.columns import Columns, frame_rate, source_of, to_write, with_source
from reenact.curves.files import number, numbers, read_json, read_rows, written_whole
from reenact.curves.livelink_channels import titled
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError

FORM = "audio2face"
_PREFIX = "blendShapes."
_EXPECTED = "Audio2Face curves: timeCode and blendShapes.<Name> columns, or exportFps, facsNames and weightMat"
_FRAME_RATE = 30.0  # where a file has a single frame


def accepts_csv(path: Path) -> bool:
    """Whether a CSV file's header has columns of Audio2Face."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        return _PREFIX.lower() in stream.readline(20_000).lower()


def read_audio2face(path: Path) -> CodeTrack:
    """Read a file of either kind. Raises StudioError when it is missing, damaged or holds no known channel."""
    if path.suffix.lower() == ".csv":
        columns, times, fps = _read_csv(path)
    else:
        columns, times, fps = _read_json(path)
    missing = require_channels(columns.names, path, _EXPECTED)
    valid = torch.ones(len(columns), dtype=torch.bool)
    track = CodeTrack(channels(columns), fps, valid, provenance("Audio2Face", missing))
    return with_source(track, FORM, columns, times=times)


def write_audio2face(path: Path, track: CodeTrack) -> None:
    """Write a track as JSON or CSV, by the ending. Raises StudioError for another space or a file that exists."""
    ARKIT52.require(track.codes.space, "the track")
    columns = to_write(track, FORM, _encode, channels)
    times = track.extras.get(f"curves/{FORM}/times") if source_of(track, FORM) is not None else None
    times = np.arange(len(track)) / track.fps if times is None else times
    with written_whole(path) as temporary, temporary.open("w", newline="") as stream:
        if path.suffix.lower() == ".csv":
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["timeCode", *(f"{_PREFIX}{titled(name)}" for name in columns.names)])
            for moment, row in zip(times.tolist(), columns.values.tolist()):
                writer.writerow([repr(moment), *map(repr, row)])
        else:
            body = {
                "exportFps": track.fps,
                "trackPath": "",
                "numPoses": len(columns.names),
                "numFrames": len(columns),
                "facsNames": list(columns.names),
                "weightMat": columns.values.tolist(),
            }
            json.dump(body, stream, allow_nan=False)


def _encode(codes: Codes) -> Columns:
    return Columns.of(curves(codes, ARKIT52.channels))


def _read_csv(path: Path) -> tuple[Columns, np.ndarray, float]:
    header, rows = read_rows(path, _EXPECTED)
    lower = [name.lower() for name in header]
    chosen = [index for index, name in enumerate(lower) if name.startswith(_PREFIX.lower())]
    if "timecode" not in lower or not chosen:
        raise StudioError(f"{path} holds no Audio2Face curves", got=", ".join(header[:4]), expected=_EXPECTED)
    names = tuple(header[index][len(_PREFIX) :] for index in chosen)
    values = numbers([[row[index] for index in chosen] for row in rows], names, path)
    times = numbers([[row[lower.index("timecode")]] for row in rows], ["timeCode"], path)[:, 0]
    return Columns(names, values), times, frame_rate(times, _FRAME_RATE)


def _read_json(path: Path) -> tuple[Columns, np.ndarray, float]:
    data = read_json(path, _EXPECTED)
    names, table = (data.get(key) if isinstance(data, Mapping) else None for key in ("facsNames", "weightMat"))
    if not isinstance(names, list) or not isinstance(table, list) or not table:
        raise StudioError(f"{path} holds no Audio2Face curves", expected=_EXPECTED)
    if any(not isinstance(row, list) or len(row) != len(names) for row in table):
        raise StudioError(f"{path} is damaged", got="rows of weightMat of other lengths", expected=f"{len(names)} each")
    fps = number(data.get("exportFps", 60.0), "exportFps", path)
    if fps <= 0:
        raise StudioError(f"wrong frame rate in {path}", got=fps, expected="above 0")
    texts = tuple(str(name) for name in names)
    return Columns(texts, numbers(table, texts, path)), np.arange(len(table)) / fps, fps
