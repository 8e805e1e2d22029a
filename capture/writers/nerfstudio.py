"""nerfstudio's transforms.json: one moment of a capture, every camera an image; conventions as in its reader.

Camera-to-world with OpenGL axes, the world turned to z up (``orientation_override: none``), K in every frame; the matte
is the mask. The format has no time: of a capture that moves, every timestep becomes a folder of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from capture.formats.axes import to_opengl, y_up
from capture.formats.folders import camera_matrices, copy_beside, write_pictures
from capture.writers import Writer
from studio.captures import Capture
from studio.folders import write_json


def write(capture: Capture, folder: Path) -> Path:
    """Write the folder, or one for each timestep."""
    alone = len(capture) == 1
    homes = [folder if alone else folder / name for name in capture.timestep_ids]
    for home in homes:
        home.mkdir(exist_ok=True)

    def place(kind: str, time: int, view: int) -> Path:
        kinds = {"images": "images", "alpha": "masks"}
        return homes[time] / kinds[kind] / f"{capture.cameras.ids[view]}.png"

    matted = write_pictures(capture, place)
    viewmats, Ks = camera_matrices(capture)
    poses = to_opengl(viewmats @ y_up(viewmats, "z"))
    for time, home in enumerate(homes):
        frames = [
            _frame(name, poses[view], Ks[view], matted[time, view]) for view, name in enumerate(capture.cameras.ids)
        ]
        write_json(home / "transforms.json", _described(capture, frames))
    if alone:
        copy_beside(capture, folder)
    return folder


def _frame(name: str, pose: np.ndarray, K: np.ndarray, matted: bool) -> dict[str, object]:
    mask = {"mask_path": f"masks/{name}.png"} if matted else {}
    return {
        "file_path": f"images/{name}.png",
        **mask,
        "fl_x": K[0, 0],
        "fl_y": K[1, 1],
        "cx": K[0, 2],
        "cy": K[1, 2],
        "transform_matrix": pose.tolist(),
    }


def _described(capture: Capture, frames: list[dict[str, object]]) -> dict[str, object]:
    return {
        "camera_model": "OPENCV",
        "orientation_override": "none",
        "w": capture.cameras.width,
        "h": capture.cameras.height,
        "frames": frames,
    }


WRITER = Writer(write)
