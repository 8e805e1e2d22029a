"""VHAP's export, which GaussianAvatars trains on; conventions as in its reader.

Camera-to-world with OpenGL axes, cy from the bottom; images stay what they are, the matte is ``fg_masks``. FLAME's
parameters are written for a track in FLAME's space ("flame", or the first there is); without one
GaussianAvatars has no head to bind to. Splits become the parts ``_train``, ``_val`` (novel_view) and ``_test``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from capture.formats.axes import to_opengl
from capture.formats.flame import FLAME_SPACES, POSES, flame_parameters
from capture.formats.folders import camera_matrices, copy_beside, write_pictures
from capture.writers import Writer
from studio.captures import Capture, Split
from studio.folders import write_json
from studio.logs import say

_PARTS = {"train": ("train",), "val": ("novel_view",), "test": ("test", "novel_expression")}
_OPEN_JAW = 0.3  # radians: VHAP's canonical FLAME opens the mouth


def write(capture: Capture, folder: Path) -> Path:
    """Write the folder."""

    def place(kind: str, time: int, view: int) -> Path:
        return folder / {"images": "images", "alpha": "fg_masks"}[kind] / f"{time:05d}_{view:02d}.png"

    matted = write_pictures(capture, place)
    has_flame = _write_flame(capture, folder)
    viewmats, Ks = camera_matrices(capture)
    poses = to_opengl(viewmats)
    frames = {
        (time, view): _frame(capture, time, view, poses[view], Ks[view], matted[time, view], has_flame)
        for time in range(len(capture))
        for view in range(len(capture.cameras))
    }
    whole = Split(tuple(range(len(capture))), tuple(range(len(capture.cameras))))
    _write_part(folder / "transforms.json", frames, whole)
    for part, names in _PARTS.items():
        split = next((capture.splits[name] for name in names if name in capture.splits), None)
        if split is not None:
            _write_part(folder / f"transforms_{part}.json", frames, split)
    copy_beside(capture, folder)
    return folder


def _frame(
    capture: Capture, time: int, view: int, pose: np.ndarray, K: np.ndarray, matted: bool, has_flame: bool
) -> dict[str, object]:
    width, height, name = capture.cameras.width, capture.cameras.height, f"{time:05d}_{view:02d}.png"
    mask = {"fg_mask_path": f"fg_masks/{name}"} if matted else {}
    flame = {"flame_param_path": f"flame_param/{time:05d}.npz"} if has_flame else {}
    return {
        "timestep_index": time,
        "timestep_index_original": time,
        "timestep_id": capture.timestep_ids[time],
        "camera_index": view,
        "camera_id": capture.cameras.ids[view],
        "cx": K[0, 2],
        "cy": height - K[1, 2],
        "fl_x": K[0, 0],
        "fl_y": K[1, 1],
        "h": height,
        "w": width,
        "camera_angle_x": 2 * math.atan(width / (2 * K[0, 0])),
        "camera_angle_y": 2 * math.atan(height / (2 * K[1, 1])),
        "transform_matrix": pose.tolist(),
        "file_path": f"images/{name}",
        **mask,
        **flame,
    }


def _write_part(path: Path, frames: dict[tuple[int, int], dict[str, object]], split: Split) -> None:
    chosen = [frames[time, view] for time in split.timesteps for view in split.cameras]
    shared = ("cx", "cy", "fl_x", "fl_y", "h", "w", "camera_angle_x", "camera_angle_y")
    last = {name: chosen[-1][name] for name in shared}
    indices = {"timestep_indices": list(split.timesteps), "camera_indices": list(split.cameras)}
    write_json(path, {"frames": chosen, **last, **indices})


def _write_flame(capture: Capture, folder: Path) -> bool:
    """FLAME's parameters of every timestep and the canonical ones; whether there is such a track."""
    names = sorted((path.name for path in (capture.folder / "tracks").glob("[!.]*")), key=lambda name: name != "flame")
    hashes = {space.hash for space in FLAME_SPACES}
    tracks = [track for track in map(capture.track, names) if track.codes.space.hash in hashes]
    if not tracks:
        say("warning: no track in FLAME's space: GaussianAvatars needs one, nerfstudio's models do not")
        return False
    parameters = flame_parameters(tracks[0])
    (folder / "flame_param").mkdir()
    shared: dict[str, Any] = {name: parameters[name] for name in ("shape", "static_offset") if name in parameters}
    for time in range(len(capture)):
        own: dict[str, Any] = {name: parameters[name][time : time + 1] for name in ("expr", *POSES)}
        if "dynamic_offset" in parameters:
            own["dynamic_offset"] = parameters["dynamic_offset"][time : time + 1]
        np.savez(folder / "flame_param" / f"{time:05d}.npz", **own, **shared)
    canonical: dict[str, Any] = {name: np.zeros_like(parameters[name][:1]) for name in ("expr", *POSES)}
    canonical["jaw_pose"] = np.array([[_OPEN_JAW, 0.0, 0.0]])
    np.savez(folder / "canonical_flame_param.npz", **canonical, **shared)
    return True


WRITER = Writer(write)
