"""MediaPipe's face blendshapes over time, as JSON or CSV.

MediaPipe defines the scores of one image and no file. JSON is read in the shapes that its results have: a list of
frames (or {"fps": …, "frames": […]}), each with the categories (``categoryName`` or ``category_name``, ``score``),
plain name -> score, or the result itself ("faceBlendshapes", "facialTransformationMatrixes"), and a time ("timestampMs"
or "time" in seconds). CSV: one column for each channel, and "time" (seconds) or "timestamp_ms". We write
{"fps", "frames": [{"timestampMs", "blendshapes": {name: score}, "matrix": [16 numbers, column by column]}]}.

The transformation matrix takes MediaPipe's canonical face to camera axes with y up, in centimetres. ``_neutral`` is
kept and written back; tongueOut is unknown to MediaPipe.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reenact.curves.arkit_tables import channels, curves, provenance, require_channels
from reenact.curves.columns import Columns, frame_rate, source_of, to_write, with_source
from reenact.curves.files import number, numbers, read_json, read_rows, written_whole
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError

FORM = "mediapipe"
NAMES = tuple(sorted(name for name in ARKIT52.channels if name != "tongueOut"))
_EXPECTED = "MediaPipe blendshapes: frames with scores by name"
_MATRIX = tuple(f"matrix.{index}" for index in range(16))
_FRAME_RATE = 30.0  # where a file says none
_HOLDERS = ("blendshapes", "faceBlendshapes", "face_blendshapes", "categories")
_MATRICES = ("matrix", "facialTransformationMatrixes", "facial_transformation_matrixes")
_TIMES = {"timestampMs": 0.001, "timestamp_ms": 0.001, "time": 1.0, "timestamp": 1.0}


def read_mediapipe(path: Path) -> CodeTrack:
    """Read a file of either kind. Raises StudioError when it is missing, damaged or holds no known channel."""
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_json(path)


def write_mediapipe(path: Path, track: CodeTrack) -> None:
    """Write a track as JSON or CSV, by the ending. Raises StudioError for another space or a file that exists."""
    ARKIT52.require(track.codes.space, "the track")
    columns = to_write(track, FORM, _encode, _decode)
    times = track.extras.get(f"curves/{FORM}/times") if source_of(track, FORM) is not None else None
    times = np.arange(len(track)) / track.fps if times is None else times
    with written_whole(path) as temporary, temporary.open("w", newline="") as stream:
        if path.suffix.lower() == ".csv":
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["time", *columns.names])
            for moment, row in zip(times.tolist(), columns.values.tolist()):
                writer.writerow([repr(moment), *map(repr, row)])
        else:
            json.dump({"fps": track.fps, "frames": _frames(times, columns)}, stream, indent=1, allow_nan=False)


def _frames(times: np.ndarray, columns: Columns) -> list[dict[str, Any]]:
    scores = [name for name in columns.names if name not in _MATRIX]
    frames = []
    for index, moment in enumerate(times.tolist()):
        values = dict(zip(columns.names, columns.values[index].tolist()))
        frame: dict[str, Any] = {
            "timestampMs": round(moment * 1000, 6),
            "blendshapes": {name: values[name] for name in scores},
        }
        if columns.has(_MATRIX[0]):
            frame["matrix"] = [values[name] for name in _MATRIX]
        frames.append(frame)
    return frames


def _read_csv(path: Path) -> CodeTrack:
    header, rows = read_rows(path, _EXPECTED)
    missing = require_channels(header, path, _EXPECTED)
    table = dict(zip(header, numbers(rows, header, path).T))
    clock = next((name for name in _TIMES if name in table), None)
    times = table[clock] * _TIMES[clock] if clock else np.arange(len(rows)) / _FRAME_RATE
    chosen = {name: curve for name, curve in table.items() if name not in (*_TIMES, "frame")}
    return _track(Columns.of(chosen), times, frame_rate(times, _FRAME_RATE), np.ones(len(rows), bool), missing)


def _read_json(path: Path) -> CodeTrack:
    data = read_json(path, _EXPECTED)
    frames = data.get("frames") if isinstance(data, Mapping) else data
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, Mapping) for frame in frames):
        raise StudioError(f"{path} holds no frames", got=type(data).__name__, expected=_EXPECTED)
    found = [_values(frame, path) for frame in frames]
    names = list(dict.fromkeys(name for values in found for name in values))
    missing = require_channels(names, path, _EXPECTED)
    table = np.array([[values.get(name, 0.0) for name in names] for values in found])
    clock = next((name for name in _TIMES if name in frames[0]), None)
    given = number(data["fps"], "fps", path) if isinstance(data, Mapping) and "fps" in data else None
    if clock is not None:
        times = np.array([number(frame.get(clock), clock, path) * _TIMES[clock] for frame in frames])
    else:
        times = np.arange(len(frames)) / (given or _FRAME_RATE)
    fps = given or frame_rate(times, _FRAME_RATE)
    if fps <= 0:
        raise StudioError(f"wrong frame rate in {path}", got=fps, expected="above 0")
    return _track(Columns(tuple(names), table), times, fps, np.array([bool(values) for values in found]), missing)


def _values(frame: Mapping[str, Any], path: Path) -> dict[str, float]:
    """Curves of one frame by name; none where no face was found."""
    holder = next((frame[name] for name in _HOLDERS if name in frame), frame)
    while isinstance(holder, list) and len(holder) == 1 and isinstance(holder[0], list | Mapping):
        inner = holder[0]
        holder = inner.get("categories", inner) if isinstance(inner, Mapping) else inner
        if isinstance(holder, Mapping) and ("categoryName" in holder or "category_name" in holder):
            holder = [holder]
            break
    if isinstance(holder, Mapping) and isinstance(holder.get("categories"), list):
        holder = holder["categories"]
    if isinstance(holder, list):
        named = [item for item in holder if isinstance(item, Mapping)]
        holder = {item.get("categoryName", item.get("category_name", "")): item.get("score") for item in named}
    scores = holder if isinstance(holder, Mapping) else {}
    values = {
        str(name): number(value, str(name), path)
        for name, value in scores.items()
        if name in ARKIT52.channels or name == "_neutral"
    }
    matrix = next((frame[name] for name in _MATRICES if name in frame), None)
    while isinstance(matrix, list) and len(matrix) == 1:
        matrix = matrix[0]
    matrix = matrix.get("data") if isinstance(matrix, Mapping) else matrix
    if values and isinstance(matrix, list) and len(matrix) == 16:
        values |= {name: number(value, name, path) for name, value in zip(_MATRIX, matrix)}
    return values


def _track(columns: Columns, times: np.ndarray, fps: float, valid: np.ndarray, missing: str) -> CodeTrack:
    if not valid.any():
        raise StudioError("no frame of the blendshapes shows a face", expected=_EXPECTED)
    # A frame without a face repeats the one before, as every tracker's gaps do.
    last = np.maximum.accumulate(np.where(valid, np.arange(len(valid)), int(np.argmax(valid))))
    columns = Columns(columns.names, columns.values[last])
    track = CodeTrack(_decode(columns), fps, torch.from_numpy(valid), provenance("MediaPipe blendshapes", missing))
    return with_source(track, FORM, columns, times=times)


def _decode(columns: Columns) -> Codes:
    codes = channels(columns)
    if not columns.has(_MATRIX[0]):
        return codes
    flat = np.stack([columns.get(name) for name in _MATRIX], axis=-1)
    matrix = flat.reshape(-1, 4, 4).transpose(0, 2, 1)
    u, _, vt = np.linalg.svd(matrix[:, :3, :3])
    sign = np.linalg.det(u @ vt)
    u[:, :, 2] *= np.where(sign < 0, -1.0, 1.0)[:, None]
    pose = np.tile(np.eye(4), (len(flat), 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = u @ vt, matrix[:, :3, 3] / 100.0
    return replace(codes, head_to_world=torch.from_numpy(pose).float())


def _encode(codes: Codes) -> Columns:
    named = {"_neutral": np.zeros(codes.batch[0]), **curves(codes, NAMES)}
    pose = codes.head_to_world.double().numpy().copy()
    pose[:, :3, 3] *= 100.0
    flat = pose.transpose(0, 2, 1).reshape(len(pose), 16)
    return Columns.of(named | dict(zip(_MATRIX, flat.T)))
