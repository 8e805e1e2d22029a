"""VHAP's export, GaussianAvatars' input: ``transforms.json`` or its parts ``_train``, ``_val``, ``_test``, and FLAME
npz.

Conventions of the format: ``transform_matrix`` is camera-to-world with OpenGL axes; **cy counts from the bottom**
(VHAP flips it with the axes), so that ours is h - cy; the world is y up, metres, and was moved so that FLAME's mean
translation is its origin (one common shift of cameras and FLAME: nothing needs undoing). Each frame has
``timestep_index`` and ``camera_index``; unions of several sequences name files in sibling folders (``../<seq>/…``),
which is the furthest that a path may lead. ``flame_param/<t>.npz`` becomes the track "flame"; see
``capture.formats.flame``. The parts are the splits "train", "novel_view" (_val) and "test". The rate is not stored:
25 by default. A single camera that moves is told as a standing one before a moving head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.formats.axes import from_opengl, rigid_matrix
from capture.formats.files import count, inside, mentions, read_arrays, read_json, reading
from capture.formats.flame import POSES, flame_track
from capture.formats.footage import Footage, stills
from capture.formats.rates import TimedConfig, rate
from capture.formats.still_camera import stand_still
from capture.readers import footage_reader
from capture.readers.nerfstudio import intrinsics_of
from studio.captures import Split
from studio.errors import StudioError
from studio.logs import say

EXPECTED = "frames with timestep_index, camera_index, transform_matrix, file_path"
USUAL_FPS = 25.0
_PARTS = {"train": "transforms_train.json", "novel_view": "transforms_val.json", "test": "transforms_test.json"}
_SAME_POSE = 1e-5
_ARRAYS = ("expr", "shape", "static_offset", "dynamic_offset", *POSES)

Key = tuple[int, int]  # (timestep_index, camera_index) of the format


@dataclass(frozen=True)
class _Frame:
    """One image: its place in the rig and time, and what the description says of it."""

    key: Key
    values: Mapping[str, Any]


def _files(source: Path) -> dict[str, Path]:
    """The descriptions by split: the parts where there are any, or the whole."""
    parts = {name: source / file for name, file in _PARTS.items() if (source / file).is_file()}
    return parts or {"all": source / "transforms.json"}


def accepts(source: Path) -> bool:
    """Whether it is a folder with such descriptions."""
    return any(mentions(path, '"timestep_index"', '"transform_matrix"') for path in _files(source).values())


def describe(source: Path, config: TimedConfig) -> Footage:
    """The cameras, images and FLAME parameters of an export."""
    files = _files(source)
    frames, splits = _read_frames(files)
    times, views = sorted({key[0] for key in frames}), sorted({key[1] for key in frames})
    times = _whole(source, frames, times, views)
    with reading(source, EXPECTED):
        names = [_camera_name(frames[times[0], view]) for view in views]
        first = [frames[times[0], view].values for view in views]
        size = count(first[0]["w"], "w"), count(first[0]["h"], "h")
        Ks = np.stack([_intrinsics(values, size, f"camera {name}") for values, name in zip(first, names, strict=True)])
        viewmats, motion = _poses(frames, times, views, names)
        streams = [_stream(source, [frames[time, view] for time in times]) for view in views]
    fps, flame = rate(config, USUAL_FPS), _flame(source, [frames[time, views[0]] for time in times])
    tracks = {"flame": flame_track(flame, fps, str(source), motion)} if flame else {}
    if motion is not None and not flame:
        raise StudioError(
            f"the camera of {source} moves", got="no FLAME parameters", expected="a head that moves with it"
        )
    return Footage(
        format="vhap",
        viewmats=viewmats,
        Ks=Ks,
        size=size,
        camera_ids=names,
        timestep_ids=[f"{time:05d}" for time in times],
        fps=fps,
        streams=streams,
        described_by=list(files.values()),
        splits=_splits(splits, times, views),
        tracks=tracks,
        beside=source,
    )


def _read_frames(files: Mapping[str, Path]) -> tuple[dict[Key, _Frame], dict[str, set[Key]]]:
    frames: dict[Key, _Frame] = {}
    splits: dict[str, set[Key]] = {}
    for split, path in files.items():
        data = read_json(path, EXPECTED)
        with reading(path, EXPECTED):
            shared = {name: value for name, value in data.items() if name != "frames"}
            for values in data["frames"]:
                key = (
                    count(values["timestep_index"], "timestep_index", 0),
                    count(values["camera_index"], "camera_index", 0),
                )
                frames[key] = _Frame(key, {**shared, **values})
                splits.setdefault(split, set()).add(key)
    if not frames:
        raise StudioError(f"no frames in {', '.join(map(str, files.values()))}", expected=EXPECTED)
    return frames, splits


def _whole(source: Path, frames: Mapping[Key, _Frame], times: Sequence[int], views: Sequence[int]) -> list[int]:
    """The timesteps that every camera has."""
    whole = [time for time in times if all((time, view) in frames for view in views)]
    if not whole:
        raise StudioError(f"no timestep of {source} has an image of every camera", got=f"{len(views)} cameras")
    if len(whole) < len(times):
        say(f"warning: {len(times) - len(whole)} of {len(times)} timesteps lack a camera and are left out")
    return whole


def _camera_name(frame: _Frame) -> str:
    return str(frame.values.get("camera_id", f"{frame.key[1]:02d}"))


def _intrinsics(values: Mapping[str, Any], size: tuple[int, int], what: str) -> np.ndarray:
    K = intrinsics_of(values, size, what)
    K[1, 2] = size[1] - K[1, 2]
    return K


def _poses(
    frames: Mapping[Key, _Frame], times: Sequence[int], views: Sequence[int], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """World-to-camera [C, 4, 4], and how the head moves [T, 4, 4] where it was a single camera that moved."""
    poses = np.stack(
        [
            [
                rigid_matrix(frames[time, view].values["transform_matrix"], f"the pose of camera {name}")
                for time in times
            ]
            for view, name in zip(views, names, strict=True)
        ]
    )
    moved = np.abs(poses - poses[:, :1]).max(axis=(1, 2, 3))
    if moved.max() < _SAME_POSE:
        return from_opengl(poses[:, 0]), None
    if len(views) > 1:
        raise StudioError(f"camera {names[int(moved.argmax())]} of a rig moves", expected="cameras that stand still")
    return stand_still(from_opengl(poses[0]))


def _stream(source: Path, frames: Sequence[_Frame]) -> list[Any]:
    images = [inside(source, frame.values["file_path"], source.parent) for frame in frames]
    masks = [
        inside(source, frame.values["fg_mask_path"], source.parent) if "fg_mask_path" in frame.values else None
        for frame in frames
    ]
    return stills(images, masks)


def _flame(source: Path, frames: Sequence[_Frame]) -> dict[str, np.ndarray]:
    """FLAME's parameters of all timesteps, or nothing where there are none."""
    if "flame_param_path" not in frames[0].values:
        return {}
    stored = []
    for frame in frames:
        path = inside(source, frame.values.get("flame_param_path"), source.parent)
        with reading(path, "FLAME's parameters of a frame"):
            arrays = read_arrays(path, _ARRAYS)
            stored.append({name: np.atleast_2d(arrays[name]) for name in ("expr", *POSES)} | {"all": arrays})
    with reading(source / "flame_param", "parameters of equal sizes"):
        joined = {name: np.concatenate([item[name] for item in stored]) for name in ("expr", *POSES)}
        first = stored[0]["all"]
        joined |= {"shape": first["shape"].reshape(-1)}
        joined |= {name: first[name] for name in ("static_offset",) if name in first}
        if "dynamic_offset" in first:
            joined["dynamic_offset"] = np.concatenate([item["all"]["dynamic_offset"] for item in stored])
    return joined


def _splits(splits: Mapping[str, set[Key]], times: Sequence[int], views: Sequence[int]) -> dict[str, Split]:
    """The parts as dense indices."""
    found = {}
    for name, keys in splits.items():
        chosen = tuple(index for index, time in enumerate(times) if any(key[0] == time for key in keys))
        cameras = tuple(index for index, view in enumerate(views) if any(key[1] == view for key in keys))
        if name != "all" and chosen and cameras:
            found[name] = Split(chosen, cameras)
    return found


READER = footage_reader(TimedConfig, accepts, describe)
