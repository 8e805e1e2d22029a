"""Colours of the same places on the face in all cameras."""

from __future__ import annotations

import cv2
import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.face_points import INDICES, NORMALS, PLACES, SKIN
from capture.checking.sightings import meet, sightings
from capture.colour import to_linear
from capture.triangulation import model_of, similarity

_MOMENTS = 4
_SAMPLE = 0.015  # of the face's size: radius of what is averaged
_FACING = 0.45  # cosine between the skin's normal and the view: beyond, gloss and other surfaces come in


def skin_colours(evidence: Evidence) -> tuple[np.ndarray, np.ndarray] | None:
    """Light [C, P, 3] of places on the skin and trust [C, P]; None where no two cameras see the face."""
    seen = sightings(evidence)
    if seen is None:
        return None
    model = model_of(evidence.capture.cameras)
    points, _ = meet(model, seen)
    places = points.reshape(*seen.shape, 3)
    rows = np.unique(np.linspace(0, len(seen.moments) - 1, _MOMENTS).round().astype(int))
    light, trust = [], []
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
        light.append(_sampled(evidence, moment, where, visible))
        trust.append(np.where(visible, np.clip((facing - _FACING) / 0.3, 0.05, 1), 0.0))
    if not light:
        return None
    return np.concatenate(light, 1), np.concatenate(trust, 1)


def _sampled(evidence: Evidence, row: int, where: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Light [C, P, 3] about pixels [C, P, 2], NaN where not visible or outside."""
    result = np.full((*visible.shape, 3), np.nan)
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
            if patch.max() < 254:
                result[camera, point] = to_linear(patch).reshape(-1, 3).mean(0)
    return result


def skin_patch(image: np.ndarray, center: np.ndarray, size: float) -> np.ndarray:
    """A small picture of the face, for reports."""
    low = np.maximum(center - 0.5 * size, 0).astype(int)
    high = np.maximum(center + 0.5 * size, 8).astype(int)
    return np.asarray(cv2.resize(image[low[1] : high[1], low[0] : high[0]], (160, 160), interpolation=cv2.INTER_AREA))
