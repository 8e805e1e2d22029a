"""Whether a camera that sees no face agrees with the others: its outline must lie within what theirs leave of space."""

from __future__ import annotations

import cv2
import numpy as np

from capture.checking.evidence import Evidence
from capture.triangulation import Model
from studio.errors import StudioError

_GRID = 64  # cells along each side of the space that is looked at
_BOX, _BALL = 2.3, 1.25  # its half side, and the radius of what is judged, in distances of the outer eye corners
_BEHIND = 0.7  # how far the head's middle lies behind the face, in the same unit
_PIXELS = 192  # longer side of the mattes that are used


def outline_errors(
    evidence: Evidence,
    model: Model,
    row: int,
    center: np.ndarray,
    eyes: float,
    trusted: np.ndarray,
) -> np.ndarray:
    """How far each camera's outline of the head sticks out of the visual hull of the trusted others.

    Args:
        evidence: of a capture with mattes.
        model: the calibration.
        row: which of the timesteps that were looked at.
        center: [3] middle of the face in the world.
        eyes: distance of the outer eye corners in world units.
        trusted: [C] bool: cameras whose mattes carve the space.

    Returns:
        [C] in percent of the head's size (area of what sticks out over the height of the head); NaN without a matte.
    """
    mattes, scale = _mattes(evidence, int(evidence.timesteps[row]))
    steps = np.linspace(-1, 1, _GRID) * _BOX * eyes
    cells = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3) + center
    middle_of_rig = model.centers[trusted].mean(0)
    forward = (middle_of_rig - center) / np.linalg.norm(middle_of_rig - center)
    middle = center - _BEHIND * eyes * forward
    pixels = model.project(cells) * scale
    inside = np.array([_covered(matte, where) for matte, where in zip(mattes, pixels, strict=True)])
    result = np.full(len(mattes), np.nan)
    for camera, matte in enumerate(mattes):
        others = trusted & (np.arange(len(mattes)) != camera) & np.array([m is not None for m in mattes])
        if matte is None or others.sum() < 3:
            continue
        where = pixels[camera][inside[others].all(0)]
        at = model.project(middle[None])[camera, 0] * scale
        distance = np.linalg.norm(model.centers[camera] - middle)
        unit = float(model.focals[camera]) * scale / distance
        result[camera] = _sticks_out(matte, where, at, unit * _BALL * eyes, unit * 2 * _BOX * eyes / _GRID)
    return result


def _mattes(evidence: Evidence, timestep: int) -> tuple[list[np.ndarray | None], float]:
    cameras = evidence.capture.cameras
    scale = min(_PIXELS / max(cameras.width, cameras.height), 1.0)
    size = (max(round(cameras.width * scale), 1), max(round(cameras.height * scale), 1))
    result: list[np.ndarray | None] = []
    for camera in range(len(cameras)):
        matte = _matte(evidence, timestep, camera)
        result.append(None if matte is None else cv2.resize(matte, size, interpolation=cv2.INTER_AREA) >= 128)
    return result, scale


def _matte(evidence: Evidence, timestep: int, camera: int) -> np.ndarray | None:
    try:
        return evidence.capture.matte(timestep, camera)
    except StudioError:
        return None


def _covered(matte: np.ndarray | None, pixels: np.ndarray) -> np.ndarray:
    """Which cells [M] may hold the person by one matte: what a picture does not show, it cannot deny."""
    if matte is None:
        return np.ones(len(pixels), bool)
    finite = np.isfinite(pixels).all(1)
    at = np.floor(np.where(finite[:, None], pixels, -1)).clip(-1, 1e6).astype(int)
    within = (at >= 0).all(1) & (at[:, 0] < matte.shape[1]) & (at[:, 1] < matte.shape[0])
    result = ~within
    result[within] = matte[at[within, 1], at[within, 0]]
    return np.asarray(result)


def _sticks_out(matte: np.ndarray, hull: np.ndarray, middle: np.ndarray, radius: float, cell: float) -> float:
    size = (matte.shape[1], matte.shape[0])
    drawn = np.zeros(matte.shape, np.uint8)
    at = np.floor(hull).astype(int)
    within = (at >= 0).all(1) & (at < size).all(1)
    drawn[at[within, 1], at[within, 0]] = 1
    reach = int(np.ceil(cell))
    drawn[:] = cv2.dilate(drawn, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    judged = np.zeros(matte.shape, np.uint8)
    cv2.circle(judged, (round(float(middle[0])), round(float(middle[1]))), max(round(radius), 1), 1, -1)
    judged_person = matte & (judged > 0)
    if judged_person.sum() < 0.2 * judged.sum():
        return 100.0  # the head is not where it should be
    height = max(float(np.ptp(np.nonzero(judged_person)[0])), 1.0)
    return 100.0 * float((judged_person & (drawn == 0)).sum()) / height / (2 * radius)
