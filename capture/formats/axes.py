"""Camera and world axes of other programs, in float64.

Ours: viewmats take world points to cameras with OpenCV axes (x right, y down, z forward); the world is y up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from capture.formats.files import numbers
from studio.cameras import Camera
from studio.errors import StudioError

Up = Literal["y", "z", "auto"]
OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])  # of camera axes: OpenGL has y up and looks along -z
_Z_UP_TO_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_NEARLY = np.cos(np.radians(35.0))
_RIGID_TOLERANCE = 1e-3
_LARGEST = 1e7  # pixels or units of length


def rigid_matrix(
    value: object,  # [3, 4] or [4, 4]
    what: str,
) -> np.ndarray:
    """A rigid transform [4, 4] as it was read.

    Raises:
        StudioError: not of that shape, or not a rotation (to 1e-3: calibrations are stored with few digits).
    """
    try:
        rows = len(value) if isinstance(value, Sequence | np.ndarray) else 4
    except TypeError:
        rows = 4
    matrix = numbers(value, (3 if rows == 3 else 4, 4), what)
    if rows == 3:
        matrix = np.vstack((matrix, [0.0, 0.0, 0.0, 1.0]))
    rotation = matrix[:3, :3]
    wrong = max(np.abs(rotation @ rotation.T - np.eye(3)).max(), np.abs(matrix[3] - [0, 0, 0, 1]).max())
    if wrong > _RIGID_TOLERANCE or np.linalg.det(rotation) < 0:
        problem = "a mirrored one" if wrong <= _RIGID_TOLERANCE else f"an error of {wrong:.2g}"
        raise StudioError(f"{what} is no rotation and translation", got=problem, expected="a rigid transform")
    return matrix


def from_opengl(
    camera_to_world: np.ndarray,  # [..., 4, 4]
) -> np.ndarray:
    """World-to-camera matrices [..., 4, 4] with OpenCV axes from camera-to-world ones with OpenGL axes."""
    return OPENGL_TO_OPENCV @ np.linalg.inv(camera_to_world)


def to_opengl(
    viewmats: np.ndarray,  # [..., 4, 4]
) -> np.ndarray:
    """Inverse of ``from_opengl``."""
    return np.linalg.inv(viewmats) @ OPENGL_TO_OPENCV


def intrinsic_matrix(fx: float, fy: float, cx: float, cy: float, what: str) -> np.ndarray:
    """K [3, 3]. Raises StudioError unless the focal lengths are positive."""
    fx, fy, cx, cy = (float(numbers(value, (), what)) for value in (fx, fy, cx, cy))
    if min(fx, fy) <= 0:
        raise StudioError(f"{what} has no focal length", got=f"{fx:g}, {fy:g}", expected="more than 0 pixels")
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def checked_intrinsics(value: object, what: str) -> np.ndarray:
    """A matrix K [3, 3] as it was read. Raises StudioError when it is no intrinsic matrix."""
    K = numbers(value, (3, 3), what)
    if min(K[0, 0], K[1, 1]) <= 0 or np.abs(K[2] - [0, 0, 1]).max() > 1e-6 or np.abs(K[1, 0]) > 1e-6:
        raise StudioError(
            f"{what} is no intrinsic matrix", got=K.tolist(), expected="[[fx, s, cx], [0, fy, cy], 0 0 1]"
        )
    return K


def cameras_of(
    viewmats: np.ndarray,  # [C, 4, 4]
    Ks: np.ndarray,  # [C, 3, 3]
    width: int,
    height: int,
    ids: Sequence[str],
) -> Camera:
    """Cameras of float32 from float64 matrices. Raises StudioError for numbers that no rig has."""
    largest = max(np.abs(viewmats).max(), np.abs(Ks).max())
    if not largest < _LARGEST:
        raise StudioError("cameras with impossible numbers", got=f"{largest:.3g}", expected=f"less than {_LARGEST:g}")
    return Camera(torch.from_numpy(viewmats).float(), torch.from_numpy(Ks).float(), width, height, tuple(ids))


def y_up(
    viewmats: np.ndarray,  # [C, 4, 4] in the source's world
    up: Up,
) -> np.ndarray:
    """The rotation [4, 4] from the source's world to one with y up.

    "auto" goes by where the tops of the images point on average: an axis of the source that lies within 35 degrees of
    it becomes +y, or else that direction itself.
    """
    turn = np.eye(4)
    if up == "z":
        turn[:3, :3] = _Z_UP_TO_Y_UP
    elif up == "auto":
        mean = -viewmats[:, 1, :3].mean(axis=0)  # OpenCV: the second row is the image's down
        length = np.linalg.norm(mean)
        if length > 1e-6:
            direction = mean / length
            axis = int(np.abs(direction).argmax())
            if abs(direction[axis]) > _NEARLY:
                direction = np.sign(direction[axis]) * np.eye(3)[axis]
            turn[:3, :3] = _onto_y(direction)
    return turn


def _onto_y(
    direction: np.ndarray,  # [3] unit
) -> np.ndarray:
    """The smallest rotation [3, 3] that takes a direction to +y; half a turn about x where it is -y."""
    cosine = direction[1]
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.cross(direction, [0.0, 1.0, 0.0])
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1.0 + cosine))


def convergence(
    viewmats: np.ndarray,  # [C, 4, 4]
) -> tuple[np.ndarray, float, float]:
    """Where the cameras look: the point [3] nearest to all optical axes.

    Returns:
        The point, the mean distance of the axes from it relative to that of the cameras (0: all look there), and the
        median distance of the cameras.
    """
    inverse = np.linalg.inv(viewmats)
    centers, forward = inverse[:, :3, 3], inverse[:, :3, 2]
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    point = np.linalg.lstsq(across.sum(0), (across @ centers[..., None]).sum(0)[:, 0], rcond=None)[0]
    offsets = point - centers
    distance = np.linalg.norm(offsets, axis=1)
    miss = np.linalg.norm((across @ offsets[..., None])[..., 0], axis=1)
    behind = (offsets * forward).sum(1) <= 0
    relative = np.where(behind, 1.0, miss / np.maximum(distance, 1e-12))
    return point, float(relative.mean()), float(np.median(distance))
