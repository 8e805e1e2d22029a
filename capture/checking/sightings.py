"""What several cameras see of one face, and where their rays meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.face_points import INDICES
from capture.triangulation import Model, triangulate

_MOMENTS = 10  # timesteps that are used
SPREAD = 0.015  # of the face's size: errors of landmarks that are nothing unusual


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


def meet(model: Model, seen: Sightings, without: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Points [M, 3] on which the cameras agree best and errors [C, M] in pixels; NaN where too few see them.

    Args:
        model: a calibration.
        seen: what the cameras see.
        without: index of a camera that has no say.
    """
    trust = np.where(np.arange(len(seen.pixels))[:, None] == without, 0.0, seen.trust)
    points, errors = triangulate(model, seen.pixels, trust, np.nan_to_num(SPREAD * seen.size, nan=1.0))
    return points, np.where(seen.trust > 0, errors, np.nan)
