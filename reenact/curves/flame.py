"""FLAME parameters as VHAP exports them: one npz for each frame, or one with all frames stacked.

Per frame: translation (1, 3), rotation (1, 3), neck_pose (1, 3), jaw_pose (1, 3), eyes_pose (1, 6), expr (1, 100),
shape (300,), axis-angles in radians. Axes are those of our head frame: x to the subject's left, y up, z forward.
The codes are of the space ``flame2023/100``; ``reenact/convert.py`` takes them to another one. FLAME's own mesh is not
needed, so that the place of the skull is only known up to a constant.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reenact.curves.columns import Columns, to_write, with_source
from reenact.curves.files import written_whole
from studio.codes import FLAME100, NECK_PIVOT, Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import require_new
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

FORM = "flame"
_SIZES = {"translation": 3, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "expr": len(FLAME100)}
_CONSTANT = ("shape", "static_offset")  # of a person, not of a frame
_EXPECTED = "npz with rotation, translation, neck_pose, jaw_pose, eyes_pose and expr"
_FRAME_RATE = 25.0  # where the caller says none: the files hold no time


def accepts(path: Path) -> bool:
    """Whether it is an npz file or a folder of them."""
    return path.suffix.lower() == ".npz" or (path.is_dir() and any(path.glob("*.npz")))


def read_flame(path: Path, fps: float | None = None) -> CodeTrack:
    """Read a stacked npz, or a folder with one npz for each frame in the order of their names.

    Args:
        path: the file or folder.
        fps: frames per second, which the files do not say.

    Raises:
        StudioError: nothing there, damaged files or missing parameters.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    files = [file for file in files if file.name != "canonical_flame_param.npz"]
    if not files or not files[0].is_file():
        raise StudioError(f"no FLAME parameters at {path}", expected=_EXPECTED, next="check the path")
    loaded = [_load(file) for file in files]
    columns = Columns(_names(), np.concatenate([_rows(data, file) for data, file in zip(loaded, files)]))
    if not np.isfinite(columns.values).all():
        raise StudioError(f"FLAME parameters of {path} are no numbers", expected="finite values")
    constants = {name: loaded[0][name] for name in _CONSTANT if name in loaded[0]}
    known = {"expression": "FLAME expr", "head": "FLAME rotation and neck", "place": "about an assumed neck"}
    valid = torch.ones(len(columns), dtype=torch.bool)
    track = CodeTrack(_decode(columns), fps or _FRAME_RATE, valid, known)
    return with_source(track, FORM, columns, **constants)


def write_flame(path: Path, track: CodeTrack) -> None:
    """Write one stacked npz (a name ending in .npz), or a new folder with an npz for each frame.

    Raises:
        StudioError: codes of another space than ``flame2023/100``, or ``path`` exists.
    """
    FLAME100.require(track.codes.space, "the track")
    columns = to_write(track, FORM, _encode, _decode)
    splits = np.cumsum(list(_SIZES.values()))[:-1]
    table = np.stack([columns.get(name) for name in _names()], axis=-1).astype(np.float32)
    parts = dict(zip(_SIZES, np.split(table, splits, axis=1)))
    constants = {
        name: track.extras[f"curves/{FORM}/{name}"] for name in _CONSTANT if f"curves/{FORM}/{name}" in track.extras
    }
    if path.suffix.lower() == ".npz":
        with written_whole(path) as temporary:
            np.savez(temporary, **parts, **constants)  # type: ignore[arg-type]
        return
    require_new(path)
    path.mkdir(parents=True, exist_ok=True)
    for index in range(len(track)):
        frame = {name: value[index : index + 1] for name, value in parts.items()}
        np.savez(path / f"{index:05d}.npz", **frame, **constants)  # type: ignore[arg-type]


def _names() -> tuple[str, ...]:
    return tuple(f"{name}.{index}" for name, size in _SIZES.items() for index in range(size))


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files if name in (*_SIZES, *_CONSTANT)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StudioError(f"cannot read {path}", got=error, expected=_EXPECTED) from error


def _rows(data: dict[str, np.ndarray], path: Path) -> np.ndarray:
    """[frames, N] of one file; missing joints are at rest, fewer expressions end with zeros."""
    if "expr" not in data or "rotation" not in data:
        raise StudioError(f"{path} holds no FLAME parameters", got=", ".join(data) or "nothing", expected=_EXPECTED)
    count = np.atleast_2d(data["expr"]).shape[0]
    parts = []
    for name, size in _SIZES.items():
        value = np.atleast_2d(data.get(name, np.zeros((count, size)))).astype(np.float64)
        if value.ndim != 2 or len(value) != count or value.shape[1] > size:
            raise StudioError(f"{path} is damaged", got=f"{name} {value.shape}", expected=f"({count}, {size})")
        parts.append(np.pad(value, ((0, 0), (0, size - value.shape[1]))))
    return np.concatenate(parts, axis=1)


def _part(columns: Columns, name: str) -> torch.Tensor:
    table = np.stack([columns.get(f"{name}.{index}") for index in range(_SIZES[name])], axis=-1)
    return torch.from_numpy(table).float()


def _decode(columns: Columns) -> Codes:
    neck = _part(columns, "neck_pose")
    turn = axis_angle_to_matrix(neck)
    pivot = torch.tensor(NECK_PIVOT)
    body = rigid(axis_angle_to_matrix(_part(columns, "rotation")), _part(columns, "translation"))
    return replace(
        Codes.neutral(FLAME100, (len(columns),)),
        expression=_part(columns, "expr"),
        jaw_pose=_part(columns, "jaw_pose"),
        neck_pose=neck,
        eye_pose=_part(columns, "eyes_pose").unflatten(-1, (2, 3)),
        head_to_world=body @ rigid(turn, pivot - turn @ pivot),
    )


def _encode(codes: Codes) -> Columns:
    turn = axis_angle_to_matrix(codes.neck_pose)
    pivot = torch.tensor(NECK_PIVOT)
    body = codes.head_to_world @ torch.linalg.inv(rigid(turn, pivot - turn @ pivot))
    parts = {
        "translation": body[:, :3, 3],
        "rotation": matrix_to_axis_angle(body[:, :3, :3].contiguous()),
        "neck_pose": codes.neck_pose,
        "jaw_pose": codes.jaw_pose,
        "eyes_pose": codes.eye_pose.flatten(1),
        "expr": codes.expression,
    }
    table = torch.cat([parts[name] for name in _SIZES], dim=-1)
    return Columns(_names(), table.double().numpy())
