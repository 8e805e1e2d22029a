"""Ways in which a calibration may have been misread, and how each would change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from capture.checking.face_points import MIRRORED
from capture.checking.sightings import Sightings
from capture.triangulation import Model


@dataclass(frozen=True)
class Reading:
    """Another way to read a calibration: what would then be wrong with the file, and what to do."""

    kind: str
    mistake: str
    advice: str
    read: Callable[[Model], Model]


FLIPS = {
    "opengl": (1.0, -1.0, -1.0),
    "y_up": (1.0, -1.0, 1.0),
    "rolled": (-1.0, -1.0, 1.0),
    "backwards": (-1.0, 1.0, -1.0),
}


def _flipped(model: Model, flip: tuple[float, ...]) -> Model:
    f = np.array(flip)
    return replace(model, rotations=f[:, None] * model.rotations, shifts=f * model.shifts)


def _inverted(model: Model) -> Model:
    return replace(model, rotations=model.rotations.transpose(0, 2, 1).copy(), shifts=model.centers)


def _with_K(model: Model, change: Callable[[np.ndarray], np.ndarray]) -> Model:
    return replace(model, Ks=np.array([change(K.copy()) for K in model.Ks]))


def intrinsics_readings(width: int, height: int) -> Iterator[Reading]:
    """Mistakes in K, for pictures of a size."""

    def moved(x: Callable[[float], float], y: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
        def change(K: np.ndarray) -> np.ndarray:
            K[0, 2], K[1, 2] = x(K[0, 2]), y(K[1, 2])
            return K

        return change

    def same(value: float) -> float:
        return value

    flips = (
        ("cy", moved(same, lambda y: height - y), "cy counted from the bottom", "write cy as height - cy"),
        ("cx", moved(lambda x: width - x, same), "cx counted from the right", "write cx as width - cx"),
        ("both", moved(lambda x: width - x, lambda y: height - y), "the principal point of a turned picture", "turn K"),
        ("center", moved(lambda x: width / 2, lambda y: height / 2), "a principal point that is not in the middle", ""),
    )
    for name, change, mistake, advice in flips:
        advice = advice or "set cx, cy to the picture's middle, or crop K as the pictures were cropped"
        yield Reading(f"principal_point_{name}", mistake, advice, lambda m, change=change: _with_K(m, change))  # type: ignore[misc]

    def swapped(K: np.ndarray) -> np.ndarray:
        K[0, 2], K[1, 2] = K[1, 2], K[0, 2]
        return K

    yield Reading("principal_point_swapped", "cx and cy exchanged", "exchange cx and cy", lambda m: _with_K(m, swapped))
    for factor, said in (
        (0.25, "4 times as large"),
        (0.5, "twice as large"),
        (2.0, "half as large"),
        (4.0, "a quarter as large"),
    ):

        def scaled(K: np.ndarray, factor: float = factor) -> np.ndarray:
            K[:2] *= factor
            return K

        yield Reading(
            "image_size",
            f"K belongs to pictures {said}",
            f"multiply fx, fy, cx, cy by {factor:g}, or use the pictures that were calibrated",
            lambda m, change=scaled: _with_K(m, change),  # type: ignore[misc]
        )


def pose_readings() -> Iterator[Reading]:
    """Mistakes in the axes of the cameras."""
    names = {
        "opengl": "OpenGL's axes (y up, z backwards)",
        "y_up": "y up and z forward (left-handed, as in Unity)",
        "rolled": "pictures turned by 180 degrees",
        "backwards": "x to the left and z backwards",
    }
    todo = {
        "opengl": "negate the second and third row of world-to-camera (columns of camera-to-world)",
        "y_up": "negate the second row of world-to-camera, and one axis of the world",
        "rolled": "negate the first and second row of world-to-camera, or turn the pictures",
        "backwards": "negate the first and third row of world-to-camera",
    }
    for name, flip in FLIPS.items():
        yield Reading(f"axes_{name}", f"cameras with {names[name]}", todo[name], lambda m, f=flip: _flipped(m, f))  # type: ignore[misc]
    yield Reading("inverted", "camera-to-world matrices", "invert them: world-to-camera is expected", _inverted)
    for name, flip in FLIPS.items():
        yield Reading(
            f"inverted_{name}",
            f"camera-to-world matrices of cameras with {names[name]}",
            f"invert them, then {todo[name].split(' (')[0]}",
            lambda m, f=flip: _flipped(_inverted(m), f),  # type: ignore[misc]
        )


def mirrored_pictures(seen: Sightings, width: int) -> Sightings:
    """What would be seen in mirrored pictures, left points of the face for right ones."""
    each = seen.pixels.reshape(len(seen.pixels), *seen.shape, 2)[:, :, MIRRORED].reshape(seen.pixels.shape)
    trust = seen.trust.reshape(len(seen.pixels), *seen.shape)[:, :, MIRRORED].reshape(seen.trust.shape)
    return replace(seen, pixels=np.stack((width - each[..., 0], each[..., 1]), -1), trust=trust)
