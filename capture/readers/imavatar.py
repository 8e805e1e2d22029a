"""IMavatar (also PointAvatar): ``flame_params.json`` with ``image/``, ``mask/`` (and ``semantic/``, not read).

Conventions of the format: ``world_mat`` [3, 4] is world-to-camera for a FLAME head of **four times its size**, with
the camera's axes of its renderer: fx is stored negative and the head lies at negative z, which is OpenGL's camera (x
right, y up). Signs are taken from fx, fy and the head's depth, so that files with OpenCV axes are read as well.
``intrinsics`` [fx, fy, cx, cy] are in units of the image's size, in pixels of 512 in old files. ``pose`` [15]:
FLAME's global rotation, neck, jaw, eyes; ``expression`` [50]; ``shape_params`` [100]. Frames name images without
suffix. The rate is not stored: 25 by default.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from capture.formats.axes import intrinsic_matrix, rigid_matrix
from capture.formats.files import inside, mentions, numbers, read_json, reading
from capture.formats.flame import flame_track
from capture.formats.footage import Footage, stills
from capture.formats.pictures import picture_size
from capture.formats.rates import TimedConfig, rate
from capture.formats.still_camera import stand_still
from capture.readers import footage_reader
from studio.codes import FLAME2020_100
from studio.errors import StudioError

FILE = "flame_params.json"
EXPECTED = "frames with file_path, world_mat [3,4], expression [50], pose [15]; intrinsics [4]; shape_params [100]"
USUAL_FPS = 25.0
_HEAD_SCALE = 4.0
_OLD_SIZE = 512


def accepts(source: Path) -> bool:
    """Whether it is a folder with such a description."""
    return mentions(source / FILE, '"world_mat"')


def describe(source: Path, config: TimedConfig) -> Footage:
    """The images, mattes and FLAME's parameters."""
    path = source / FILE
    data = read_json(path, EXPECTED)
    with reading(path, EXPECTED):
        frames = list(data["frames"])[: config.frames]
        if not frames:
            raise ValueError("0 frames")
        images = [inside(source, f"{frame['file_path']}.png") for frame in frames]
        size = picture_size(images[0], str(images[0]))
        intrinsics = numbers(data["intrinsics"], (4,), f"intrinsics of {path}")
        world_mats = np.stack(
            [rigid_matrix(frame["world_mat"], f"world_mat of {frame['file_path']}") for frame in frames]
        )
        poses = numbers([frame["pose"] for frame in frames], (-1, 15), f"poses of {path}")
        parameters = {
            "expr": numbers([frame["expression"] for frame in frames], (-1, -1), f"expressions of {path}"),
            "shape": numbers(data["shape_params"], (-1,), f"shape_params of {path}"),
            "rotation": poses[:, :3],
            "neck_pose": poses[:, 3:6],
            "jaw_pose": poses[:, 6:9],
            "eyes_pose": poses[:, 9:],
        }
    viewmats, motion = stand_still(_opencv(world_mats, intrinsics, path))
    fps = rate(config, USUAL_FPS)
    masks = [source / "mask" / image.name for image in images]
    return Footage(
        format="imavatar",
        viewmats=viewmats,
        Ks=_K(intrinsics, size, path)[None],
        size=size,
        camera_ids=["0"],
        timestep_ids=[image.stem for image in images],
        fps=fps,
        streams=[stills(images, [mask if mask.is_file() else None for mask in masks])],
        described_by=[path],
        tracks={"flame": flame_track(parameters, fps, str(path), motion, FLAME2020_100)},
        beside=source,
    )


def _opencv(
    world_mats: np.ndarray,  # [T, 4, 4]
    intrinsics: np.ndarray,  # [4]
    path: Path,
) -> np.ndarray:
    """World-to-camera matrices [T, 4, 4] with OpenCV axes and the head at its true size."""
    ahead = 1.0 if np.median(world_mats[:, 2, 3]) > 0 else -1.0
    axes = np.array([ahead * np.sign(intrinsics[0]), ahead * np.sign(intrinsics[1]), ahead])
    if axes.prod() <= 0:
        raise StudioError(
            f"{path} has a mirrored camera", got=f"fx, fy {intrinsics[:2]}", expected="as IMavatar writes it"
        )
    viewmats = np.diag([*axes, 1.0]) @ world_mats
    viewmats[:, :3, 3] /= _HEAD_SCALE
    return viewmats


def _K(intrinsics: np.ndarray, size: tuple[int, int], path: Path) -> np.ndarray:
    unit = np.array(size if intrinsics[3] <= 1 else (size[0] / _OLD_SIZE, size[1] / _OLD_SIZE))
    fx, fy = np.abs(intrinsics[:2]) * unit
    cx, cy = intrinsics[2:] * unit
    return intrinsic_matrix(fx, fy, cx, cy, str(path))


READER = footage_reader(TimedConfig, accepts, describe)
