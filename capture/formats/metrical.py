"""metrical-tracker's checkpoints, which INSTA, FlashAvatar and others build on: ``checkpoint/<t>.frame``.

torch.save files of numpy arrays, read without executing anything: ``flame`` {exp (1,100), shape (1,300), eyes (1,12:
two rotations of six numbers), eyelids (1,2), jaw (1,6)}, ``opencv`` {R (1,3,3), t (1,3), K (1,3,3)} world to camera,
and ``img_size``, which is [height, width]. FLAME stays at rest in the world and the camera moves: told the other way
round.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.formats.axes import checked_intrinsics, rigid_matrix
from capture.formats.files import count, numbers, reading
from capture.formats.flame import axis_angle_from_6d, flame_track
from capture.formats.still_camera import stand_still
from studio.codes import FLAME2020_100, CodeTrack
from studio.errors import StudioError
from studio.unpickler import read_serialised

EXPECTED = "a checkpoint of metrical-tracker: flame {exp, shape, eyes, jaw}, opencv {R, t, K}, img_size"
FOLDER = "checkpoint"


@dataclass(frozen=True)
class Tracked:
    """A tracked clip of one camera.

    Args:
        names: T names of the checkpoints.
        size: (width, height).
        K: [3, 3] pixels; the median where it varies.
        viewmats: [1, 4, 4] the standing camera.
        motion: [T, 4, 4] what moves the head before it.
        parameters: FLAME's, see ``capture.formats.flame``.
    """

    names: list[str]
    size: tuple[int, int]
    K: np.ndarray
    viewmats: np.ndarray
    motion: np.ndarray
    parameters: dict[str, np.ndarray]

    def track(self, fps: float, what: str) -> CodeTrack:
        """The track in the space ``flame2020/100``."""
        return flame_track(self.parameters, fps, what, self.motion, FLAME2020_100)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder in time order."""
    return sorted(folder.glob("*.frame"))


def read_checkpoints(paths: list[Path], frames: int | None) -> Tracked:
    """The first ``frames`` checkpoints (all when None). Raises StudioError when one is damaged or of another size."""
    if not paths:
        raise StudioError("no checkpoints of metrical-tracker", expected=f"{FOLDER}/00000.frame …")
    read = [_read(path) for path in paths[:frames]]
    sizes = {item["size"] for item in read}
    if len(sizes) > 1:
        raise StudioError(f"checkpoints in {paths[0].parent} are of different sizes", got=sorted(sizes)[:4])
    viewmats, motion = stand_still(np.stack([item["viewmat"] for item in read]))
    parameters = {
        "expr": np.concatenate([item["exp"] for item in read]),
        "jaw_pose": axis_angle_from_6d(np.concatenate([item["jaw"] for item in read])),
        "eyes_pose": np.concatenate([axis_angle_from_6d(item["eyes"].reshape(2, 6)).reshape(1, 6) for item in read]),
        "eyelids": np.concatenate([item["eyelids"] for item in read]).astype(np.float32),
        "shape": read[0]["shape"][0],
    }
    K = np.median([item["K"] for item in read], axis=0)
    return Tracked([path.stem for path in paths[:frames]], read[0]["size"], K, viewmats, motion, parameters)


def _read(path: Path) -> dict[str, Any]:
    data = read_serialised(path)
    with reading(path, EXPECTED):
        flame, opencv = data["flame"], data["opencv"]
        height, width = (count(value, f"img_size of {path}") for value in np.asarray(data["img_size"]).reshape(-1))
        sizes = {"exp": 100, "jaw": 6, "eyes": 12, "shape": -1}
        arrays = {name: numbers(flame[name], (1, size), f"{name} of {path}") for name, size in sizes.items()}
        arrays["eyelids"] = numbers(flame.get("eyelids", np.zeros((1, 2))), (1, 2), f"eyelids of {path}")
        pose = np.column_stack((np.asarray(opencv["R"]).reshape(3, 3), np.asarray(opencv["t"]).reshape(3)))
        return arrays | {
            "size": (width, height),
            "viewmat": rigid_matrix(pose, f"the camera of {path}"),
            "K": checked_intrinsics(np.asarray(opencv["K"]).reshape(3, 3), f"K of {path}"),
        }
