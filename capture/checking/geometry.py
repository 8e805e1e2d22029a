"""Whether cameras agree about one face: where their rays meet, errors of cameras and pairs, and what explains them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from capture.checking.evidence import Evidence
from capture.checking.face_points import INDICES, MIRRORED, OUTER_EYES, OUTER_EYES_METRES, PLACES, similarity

_MOMENTS = 10  # timesteps that are used
_ROUNDS = 5  # of reweighting
_SPREAD = 0.015  # of the face's size: errors of landmarks that are nothing unusual
_AGREES = 2.5  # percent of the face's size: no further motion of a camera is asked for
_LEAST_ANGLE = np.radians(4.0)  # between the two most different rays of a point


@dataclass(frozen=True)
class Model:
    """A reading of a calibration, in float64.

    Args:
        rotations: [C, 3, 3] world to camera; of determinant -1 where a reading mirrors the world.
        shifts: [C, 3].
        Ks: [C, 3, 3].
    """

    rotations: np.ndarray
    shifts: np.ndarray
    Ks: np.ndarray

    @property
    def centers(self) -> np.ndarray:
        return -np.einsum("cji,cj->ci", self.rotations, self.shifts)

    @property
    def focals(self) -> np.ndarray:
        """[C] mean focal length in pixels."""
        return np.sqrt(np.abs(self.Ks[:, 0, 0] * self.Ks[:, 1, 1]))

    def rays(
        self,
        pixels: np.ndarray,  # [C, M, 2]
    ) -> np.ndarray:
        """Unit directions [C, M, 3] in the world."""
        homogeneous = np.concatenate((pixels, np.ones((*pixels.shape[:-1], 1))), -1)
        local = homogeneous @ np.linalg.inv(self.Ks).transpose(0, 2, 1)
        world = local @ self.rotations  # the inverse of a rotation is its transpose
        return world / np.linalg.norm(world, axis=-1, keepdims=True)

    def project(
        self,
        points: np.ndarray,  # [M, 3]
    ) -> np.ndarray:
        """Pixels [C, M, 2]."""
        local = points @ self.rotations.transpose(0, 2, 1) + self.shifts[:, None]
        image = local @ self.Ks.transpose(0, 2, 1)
        return image[..., :2] / image[..., 2:]

    def with_camera(self, index: int, other: Model, source: int) -> Model:
        """One camera replaced by a camera of another reading."""
        parts = [part.copy() for part in (self.rotations, self.shifts, self.Ks)]
        for part, new in zip(parts, (other.rotations, other.shifts, other.Ks), strict=True):
            part[index] = new[source]
        return Model(*parts)


@dataclass(frozen=True)
class Sightings:
    """The same points seen by several cameras.

    Args:
        pixels: [C, M, 2].
        trust: [C, M] 0 where a camera does not see a point.
        size: [C] of the face in pixels; NaN where a camera sees none.
        shape: (moments, points), whose product is M.
        moments: rows of the evidence that are used.
    """

    pixels: np.ndarray
    trust: np.ndarray
    size: np.ndarray
    shape: tuple[int, int]
    moments: np.ndarray


def sightings(evidence: Evidence) -> Sightings | None:
    """Of the timesteps in which most cameras see the face; None where never two cameras do."""
    seen = (evidence.trust.max(-1) > 0.3).sum(1)
    rows = np.flatnonzero(seen >= 2)
    if not len(rows):
        return None
    best = rows[np.argsort(-seen[rows], kind="stable")[: max(len(rows) // 2, _MOMENTS)]]
    rows = np.sort(best)[np.unique(np.linspace(0, len(best) - 1, min(_MOMENTS, len(best))).round().astype(int))]
    pixels = evidence.points[rows][:, :, INDICES, :2].astype(np.float64)
    count, cameras, points = pixels.shape[:3]
    trust = evidence.trust[rows].transpose(1, 0, 2).reshape(cameras, -1)
    pixels = np.nan_to_num(pixels.transpose(1, 0, 2, 3).reshape(cameras, -1, 2))
    size = np.where(evidence.frontal, evidence.face_pixels, np.nan)
    return Sightings(pixels, trust, size, (count, points), rows)


def model_of(evidence: Evidence) -> Model:
    """The calibration as it is written."""
    cameras = evidence.capture.cameras
    viewmats = cameras.viewmats.double().numpy()
    return Model(viewmats[:, :3, :3].copy(), viewmats[:, :3, 3].copy(), cameras.Ks.double().numpy())


def meet(model: Model, seen: Sightings, without: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Points [M, 3] nearest to all rays (robust, reweighted least squares) and errors [C, M] in pixels.

    Points that fewer than two cameras see, or all from nearly one direction, are NaN.

    Args:
        model: a calibration.
        seen: what the cameras see.
        without: index of a camera that has no say.
    """
    rays, centers = model.rays(seen.pixels), model.centers
    across = np.eye(3) - rays[..., :, None] * rays[..., None, :]  # [C, M, 3, 3]
    trust = np.where(np.arange(len(rays))[:, None] == without, 0.0, seen.trust)
    spread = np.nan_to_num(_SPREAD * seen.size, nan=1.0)[:, None]
    weight = trust.copy()
    for turn in range(_ROUNDS):
        total = np.einsum("cm,cmij->mij", weight, across) + 1e-9 * np.eye(3)
        points = np.linalg.solve(total, np.einsum("cm,cmij,cj->mi", weight, across, centers)[..., None])[..., 0]
        errors = _errors(rays, centers, points, model.focals)
        # First absolute errors, which one bad camera cannot lead far astray, then ever closer to the majority's.
        weight = trust / (1.0 + errors / spread) if turn < 2 else trust / (1.0 + (errors / (2 * spread)) ** 2)
    points[~_well_seen(rays, trust)] = np.nan
    return points, np.where(seen.trust > 0, _errors(rays, centers, points, model.focals), np.nan)


def _errors(rays: np.ndarray, centers: np.ndarray, points: np.ndarray, focals: np.ndarray) -> np.ndarray:
    """Angles between rays and points as pixels in the picture's middle; a point behind the camera is far off."""
    towards = points[None] - centers[:, None]
    off = np.linalg.norm(np.cross(rays, towards), axis=-1)
    return np.arctan2(off, (rays * towards).sum(-1)) * focals[:, None]


def _well_seen(rays: np.ndarray, trust: np.ndarray) -> np.ndarray:
    mean = (trust[..., None] * rays).sum(0) / np.maximum(trust.sum(0), 1e-9)[:, None]
    spread = np.where(trust > 0.05, np.linalg.norm(rays - mean, axis=-1), 0).max(0)
    return ((trust > 0.05).sum(0) >= 2) & (spread > 0.5 * _LEAST_ANGLE)


def camera_errors(model: Model, seen: Sightings) -> np.ndarray:
    """[C] median error of each camera against the points that the others agree on, in percent of the face's size."""
    result = np.full(len(seen.pixels), np.nan)
    for camera in range(len(result)):
        result[camera] = camera_error(model, seen, camera)
    return result


def camera_error(model: Model, seen: Sightings, camera: int) -> float:
    """As ``camera_errors``, of one."""
    _, errors = meet(model, seen, without=camera)
    return _typical(errors[camera], seen.trust[camera], seen.size[camera])


def _typical(errors: np.ndarray, trust: np.ndarray, size: float) -> float:
    known = np.isfinite(errors) & (trust > 0.3)
    return 100.0 * float(np.median(errors[known])) / float(size) if known.sum() >= 8 else float("nan")


def overall_error(model: Model, seen: Sightings) -> float:
    """Median over the cameras of their errors when all have a say, in percent of the face's size."""
    known = _errors_together(model, seen)
    return float(np.median(known)) if len(known) else float("nan")


def mean_error(model: Model, seen: Sightings) -> float:
    """As ``overall_error``, but no camera may be left out: the mean."""
    known = _errors_together(model, seen)
    return float(known.mean()) if len(known) else float("nan")


def _errors_together(model: Model, seen: Sightings) -> np.ndarray:
    _, errors = meet(model, seen)
    each = np.array([_typical(e, t, s) for e, t, s in zip(errors, seen.trust, seen.size, strict=True)])
    return each[np.isfinite(each)]


def pair_errors(model: Model, seen: Sightings) -> np.ndarray:
    """[C, C] median distance of points from the epipolar lines of the other camera, in percent of the face's size."""
    count = len(seen.pixels)
    result = np.full((count, count), np.nan)
    for first in range(count):
        for second in range(first + 1, count):
            known = np.minimum(seen.trust[first], seen.trust[second]) > 0.2
            if known.sum() >= 8:
                parts = [
                    epipolar_distances(model, a, b, seen.pixels[a][known], seen.pixels[b][known]) / seen.size[b]
                    for a, b in ((first, second), (second, first))
                ]
                result[first, second] = result[second, first] = 100 * float(np.median(np.concatenate(parts)))
    return result


def epipolar_distances(model: Model, first: int, second: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[M] pixels from points ``b`` [M, 2] of the second camera to the lines of points ``a`` [M, 2] of the first."""
    turn = model.rotations[second] @ model.rotations[first].T
    shift = model.shifts[second] - turn @ model.shifts[first]
    cross = np.array([[0, -shift[2], shift[1]], [shift[2], 0, -shift[0]], [-shift[1], shift[0], 0]])
    inverse = np.linalg.inv(model.Ks)
    lines = np.c_[a, np.ones(len(a))] @ (inverse[second].T @ cross @ turn @ inverse[first]).T
    length = np.linalg.norm(lines[:, :2], axis=1)
    return np.abs((np.c_[b, np.ones(len(b))] * lines).sum(1)) / np.maximum(length, 1e-12)


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


@dataclass(frozen=True)
class Correction:
    """What makes a camera agree with the others: degrees, world units, and the error left in percent."""

    turn: float
    shift: float
    left: float


def smallest_correction(model: Model, seen: Sightings, camera: int) -> Correction:
    """Turn one camera until it agrees with the points of the others; shift it, too, where turning is not enough."""
    points, _ = meet(model, seen, without=camera)
    known = np.isfinite(points).all(1) & (seen.trust[camera] > 0.2)
    target, points = seen.pixels[camera][known], points[known]
    if known.sum() < 8:
        return Correction(float("nan"), float("nan"), float("nan"))
    reach = float(np.linalg.norm(points.mean(0) - model.centers[camera]))
    local = points @ model.rotations[camera].T + model.shifts[camera]
    K = model.Ks[camera]

    def miss(change: np.ndarray) -> np.ndarray:
        moved = local @ Rotation.from_rotvec(change[:3]).as_matrix().T
        image = (moved + (change[3:] * reach if len(change) > 3 else 0.0)) @ K.T
        return (image[:, :2] / image[:, 2:] - target) / seen.size[camera]

    for freedom in (3, 6):
        start = np.zeros(freedom)
        found = least_squares(lambda v: miss(v).ravel() / _SPREAD, start, loss="soft_l1", max_nfev=60).x
        left = 100 * float(np.median(np.linalg.norm(miss(found), axis=1)))
        if left < _AGREES:
            break
    turn, shift = float(np.degrees(np.linalg.norm(found[:3]))), float(np.linalg.norm(found[3:]) * reach)
    return Correction(turn, shift, left)


@dataclass(frozen=True)
class WorldFace:
    """The face that the cameras agree on: how it lies in the world.

    Args:
        up: [3] unit direction from chin to forehead.
        mirrored: whether it is a mirror image of a face.
        eyes: distance of the outer eye corners in world units; adults have 0.08 to 0.1 metres.
        center: [3] world.
    """

    up: np.ndarray
    mirrored: bool
    eyes: float
    center: np.ndarray


def world_face(model: Model, seen: Sightings) -> WorldFace | None:
    """None where too few points are known."""
    points, _ = meet(model, seen)
    each = points.reshape(*seen.shape, 3)
    known = np.isfinite(each).all(-1)
    rows = np.flatnonzero(known.sum(1) >= 12)
    if not len(rows):
        return None
    ups, mirrored = [], []
    for row in rows:
        chosen = known[row]
        plain = similarity(PLACES[chosen], each[row][chosen])
        turned = similarity(PLACES[chosen], each[row][chosen], mirrored=True)
        mirrored.append(turned[3] < plain[3])
        ups.append((turned if mirrored[-1] else plain)[1][:, 1])
    eyes = np.linalg.norm(each[:, OUTER_EYES[0]] - each[:, OUTER_EYES[1]], axis=-1)
    scale = float(np.nanmedian(eyes)) if np.isfinite(eyes).any() else OUTER_EYES_METRES * plain[0]
    up = np.mean(ups, axis=0)
    return WorldFace(up / np.linalg.norm(up), bool(np.mean(mirrored) > 0.5), scale, np.nanmean(points, axis=0))
