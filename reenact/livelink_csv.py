"""Live Link Face CSV files: 52 ARKit channels and nine angles, one row for each frame.

Rows: ``Timecode,BlendShapeCount,<52 channels>,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,…``, the timecode as
HH:MM:SS:FF.fff.
Columns are read by name, whatever their case and order, and written in the order that the app uses.
Angles are radians about the head's y (yaw, to the subject's left), x (pitch, down) and z (roll, to the right) axes,
turned in the order yaw, pitch, roll.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.heads.model import eye_rotation
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

_ANGLES = tuple(f"{part}{angle}" for part in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll"))
# The app swaps two pairs of ARKit's order.
_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
_COLUMNS = tuple(_SWAPPED.get(name, name) for name in ARKIT52.channels)
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)")
_NECK = (0.0, -0.10, -0.08)  # metres, head frame: where a head turns that is given as angles only


def read_livelink_csv(path: Path) -> CodeTrack:
    """Read a CSV recording as a track; missing channels are 0.

    The eye angles are left unread: the eyeLook channels say the same. The head turns about its neck.

    Raises:
        StudioError: no such file, no timecodes, or none of the 52 channels.
    """
    if not path.is_file():
        raise StudioError(f"no such file: {path}", expected="a Live Link Face CSV file", next="check the path")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        rows = [row for row in csv.reader(stream) if row]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    known = [name for name in ARKIT52.channels if name.lower() in header]
    if len(rows) < 2 or not known or "timecode" not in header:
        raise StudioError(
            f"{path} is no Live Link Face recording",
            got=f"{len(rows)} rows, {len(known)} of the 52 channels",
            expected="a header with Timecode and the channels, and rows below it",
        )
    frames = [row for row in rows[1:] if len(row) >= len(header)]
    fps = _fps([row[header.index("timecode")] for row in frames], path)

    def column(name: str) -> Tensor:
        if name.lower() not in header:
            return torch.zeros(len(frames))
        index = header.index(name.lower())
        return torch.tensor([_number(row[index], name, path) for row in frames])

    codes = Codes.neutral(batch=(len(frames),))
    expression = torch.stack([column(name) for name in ARKIT52.channels], dim=-1).clamp(0, 1)
    rotation = _from_angles(torch.stack([column(f"Head{angle}") for angle in ("Yaw", "Pitch", "Roll")], dim=-1))
    pivot = torch.tensor(_NECK)
    codes = replace(
        codes,
        expression=expression,
        neck_pose=matrix_to_axis_angle(rotation),
        head_to_world=rigid(rotation, pivot - rotation @ pivot),
    )
    provenance = {"expression": "Live Link Face", "head": "Live Link Face", "gaze": "eyeLook channels"}
    return CodeTrack(codes, fps, torch.ones(len(frames), dtype=torch.bool), provenance)


def write_livelink_csv(path: Path, track: CodeTrack) -> None:
    """Write a track of ``arkit52`` codes, whole or not at all; head angles are relative to the world's axes.

    Raises:
        StudioError: the track is of another space.
    """
    ARKIT52.require(track.codes.space, "the track")
    values = {name: track.codes.expression[:, index] for index, name in enumerate(ARKIT52.channels)}
    eyes = axis_angle_to_matrix(track.codes.eye_pose + eye_rotation(track.codes))
    for part, rotation in (
        ("Head", track.codes.head_to_world[:, :3, :3]),
        ("LeftEye", eyes[:, 0]),
        ("RightEye", eyes[:, 1]),
    ):
        for angle, value in zip(("Yaw", "Pitch", "Roll"), _to_angles(rotation).unbind(-1)):
            values[f"{part}{angle}"] = value
    columns = (*_COLUMNS, *_ANGLES)
    table = torch.stack([values[name] for name in columns], dim=-1).tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in columns)])
            for index, row in enumerate(table):
                writer.writerow([_timecode(index, track.fps), len(columns), *(f"{value:.10f}" for value in row)])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _timecode(frame: int, fps: float) -> str:
    """HH:MM:SS:FF.fff, counted in 60ths of a second as the app does."""
    seconds, rest = divmod(round(frame / fps * 60_000), 60_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest / 1000:06.3f}"


def _fps(timecodes: list[str], path: Path) -> float:
    """Frames per second from timecodes, whose last part counts 60ths of a second, or 30ths in some files."""
    matches = [_TIMECODE.fullmatch(text.strip()) for text in timecodes]
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


def _number(text: str, name: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise StudioError(f"wrong value in {path}", got=f"{name} = {text!r}", expected="a number")
    return value


def _from_angles(
    angles: Tensor,  # [..., 3] yaw, pitch, roll in radians
) -> Tensor:
    """Rotations [..., 3, 3] = Ry(yaw) Rx(pitch) Rz(roll)."""
    yaw, pitch, roll = angles.unbind(-1)
    nothing = torch.zeros_like(yaw)
    turn = [
        axis_angle_to_matrix(torch.stack(axis, dim=-1))
        for axis in ((nothing, yaw, nothing), (pitch, nothing, nothing), (nothing, nothing, roll))
    ]
    return turn[0] @ turn[1] @ turn[2]


def _to_angles(
    rotation: Tensor,  # [..., 3, 3]
) -> Tensor:
    """Inverse of ``_from_angles`` for pitches below a right angle."""
    yaw = torch.atan2(rotation[..., 0, 2], rotation[..., 2, 2])
    pitch = torch.asin((-rotation[..., 1, 2]).clamp(-1, 1))
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return torch.stack((yaw, pitch, roll), dim=-1)
