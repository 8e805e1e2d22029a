"""Whether cameras agree about one face: errors of cameras and pairs, and what would make them agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from capture.checking.face_points import OUTER_EYES, OUTER_EYES_METRES, PLACES
from capture.checking.sightings import SPREAD, Sightings, meet
from capture.triangulation import Model, similarity

_AGREES = 2.5  # percent of the face's size: no further motion of a camera is asked for


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
        found = least_squares(lambda v: miss(v).ravel() / SPREAD, start, loss="soft_l1", max_nfev=60).x
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
        forward: [3] unit direction in which it looks.
        mirrored: whether it is a mirror image of a face.
        eyes: distance of the outer eye corners in world units; adults have 0.08 to 0.1 metres.
        center: [3] world.
    """

    up: np.ndarray
    forward: np.ndarray
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
    turns, mirrored = [], []
    for row in rows:
        chosen = known[row]
        plain = similarity(PLACES[chosen], each[row][chosen])
        turned = similarity(PLACES[chosen], each[row][chosen], mirrored=True)
        mirrored.append(turned[3] < plain[3])
        turns.append((turned if mirrored[-1] else plain)[1])
    eyes = np.linalg.norm(each[:, OUTER_EYES[0]] - each[:, OUTER_EYES[1]], axis=-1)
    scale = float(np.nanmedian(eyes)) if np.isfinite(eyes).any() else OUTER_EYES_METRES * plain[0]
    up, forward = (axis / np.linalg.norm(axis) for axis in np.mean(turns, axis=0).T[1:])
    return WorldFace(up, forward, bool(np.mean(mirrored) > 0.5), scale, np.nanmean(points, axis=0))
