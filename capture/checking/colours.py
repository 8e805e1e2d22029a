"""Colours of the same places on the face in all cameras."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.face_points import INDICES, NORMALS, PLACES, SKIN
from capture.checking.sightings import meet, sightings
from capture.colour import to_linear
from capture.triangulation import model_of, similarity

_MOMENTS = 4
_SAMPLE = 0.015  # of the face's size: radius of what is averaged
_LEAST = 4  # places from which the share that is burnt out means something
_FACING = 0.45  # cosine between the skin's normal and the view: beyond, gloss and other surfaces come in


@dataclass(frozen=True)
class SkinColours:
    """The same places on the skin through C cameras.

    Args:
        light: [C, P, 3], NaN where a place is not seen or burnt out.
        trust: [C, P].
        burnt: [C] share of the places seen that a camera shows burnt out; NaN where it sees none.
    """

    light: np.ndarray
    trust: np.ndarray
    burnt: np.ndarray


def skin_colours(evidence: Evidence) -> SkinColours | None:
    """None where no two cameras see the face."""
    seen = sightings(evidence)
    if seen is None:
        return None
    model = model_of(evidence.capture.cameras)
    points, _ = meet(model, seen)
    places = points.reshape(*seen.shape, 3)
    rows = np.unique(np.linspace(0, len(seen.moments) - 1, _MOMENTS).round().astype(int))
    light, trust, burnt = [], [], []
    for row in rows:
        known = np.isfinite(places[row]).all(-1)
        if known.sum() < 12:
            continue
        turn = similarity(PLACES[known], places[row][known])[1]
        towards = model.centers[:, None] - places[row]
        towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
        facing = np.einsum("cpk,pk->cp", towards, NORMALS @ turn.T)
        where = model.project(places[row])
        moment = int(seen.moments[row])
        for camera in range(len(evidence.names)):
            face = evidence.looks[moment][camera].face
            if face is not None:
                where[camera] = face.points[INDICES, :2]
        visible = known & SKIN & (facing > _FACING)
        samples, clipped = _sampled(evidence, moment, where, visible)
        light.append(samples)
        burnt.append(clipped)
        trust.append(np.where(visible, np.clip((facing - _FACING) / 0.3, 0.05, 1), 0.0))
    if not light:
        return None
    together, lost = np.concatenate(light, 1), np.concatenate(burnt, 1).sum(1)
    count = np.isfinite(together).all(-1).sum(1) + lost
    share = np.where(count >= _LEAST, lost / np.maximum(count, 1), np.nan)
    return SkinColours(together, np.concatenate(trust, 1), share)


def _sampled(evidence: Evidence, row: int, where: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light [C, P, 3] about pixels [C, P, 2], NaN where not visible, outside or burnt out; which [C, P] are burnt."""
    result, burnt = np.full((*visible.shape, 3), np.nan), np.zeros(visible.shape, bool)
    size = float(np.nanmedian(evidence.face_pixels))
    for camera in range(len(evidence.names)):
        if evidence.looks[row][camera].problem or not visible[camera].any():
            continue
        own = evidence.face_pixels[camera]
        image = evidence.capture.image(int(evidence.timesteps[row]), camera)
        radius = max(round(_SAMPLE * (own if np.isfinite(own) else size)), 1)
        inside = (where[camera] > radius).all(-1) & (where[camera] < np.array(image.shape[1::-1]) - radius - 1).all(-1)
        for point in np.flatnonzero(visible[camera] & inside):
            x, y = np.floor(where[camera, point]).astype(int)
            patch = image[y - radius : y + radius + 1, x - radius : x + radius + 1]
            burnt[camera, point] = patch.max() >= 254
            if not burnt[camera, point]:
                result[camera, point] = to_linear(patch).reshape(-1, 3).mean(0)
    return result, burnt


def skin_patch(image: np.ndarray, center: np.ndarray, size: float) -> np.ndarray:
    """A small picture of the face, for reports."""
    low = np.maximum(center - 0.5 * size, 0).astype(int)
    high = np.maximum(center + 0.5 * size, 8).astype(int)
    return np.asarray(cv2.resize(image[low[1] : high[1], low[0] : high[0]], (160, 160), interpolation=cv2.INTER_AREA))
