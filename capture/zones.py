"""Where the person surely is and surely is not in a picture, told from the landmarks of the face alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from studio.heads.mediapipe_points import CONTOUR

_FOREHEAD, _CHIN, _CHEEK_RIGHT, _CHEEK_LEFT = 10, 152, 234, 454
SURE, LIKELY, UNLIKELY, NEVER = 3, 2, 1, 0


@dataclass(frozen=True)
class FaceFrame:
    """The face's own axes in the picture: chin [2], unit vector up [2], height and width in pixels."""

    chin: np.ndarray
    up: np.ndarray
    height: float
    width: float

    @staticmethod
    def of(
        points: np.ndarray,  # [478, 2 or 3] pixels
    ) -> FaceFrame:
        flat = points[:, :2].astype(np.float64)
        axis = flat[_FOREHEAD] - flat[_CHIN]
        height = float(np.linalg.norm(axis))
        width = float(np.linalg.norm(flat[_CHEEK_LEFT] - flat[_CHEEK_RIGHT]))
        return FaceFrame(flat[_CHIN], axis / max(height, 1e-6), height, max(width, 0.6 * height))


def zones(
    points: np.ndarray,  # [478, 2 or 3] pixels
    size: int,
) -> np.ndarray:
    """Map [size, size] uint8 of SURE, LIKELY, UNLIKELY and NEVER for an upright person, cut off by the lower edge.

    SURE: the face and skull, the neck below and the middle of the chest. LIKELY: hair and shoulders of most people.
    UNLIKELY: as far as long hair or broad shoulders reach. NEVER: beyond.
    """
    face = FaceFrame.of(points)
    result = np.full((size, size), NEVER, dtype=np.uint8)
    skull = face.chin + 0.62 * face.height * face.up
    angle = float(np.degrees(np.arctan2(face.up[0], -face.up[1])))
    for label, head, slope in ((UNLIKELY, (1.0, 1.1), (-0.1, 3.5)), (LIKELY, (0.56, 0.76), (0.15, 1.6))):
        axes = (face.width * head[0] * 1.1, face.height * head[1])
        cv2.ellipse(result, _point(skull), _point(axes), angle, 0, 360, label, -1)
        result[_below(face, size, *slope)] = label
    # Whatever the hair, the skull reaches a fifth of the face's height above the forehead.
    cv2.ellipse(result, _point(skull), _point((0.48 * face.width, 0.56 * face.height)), angle, 0, 360, SURE, -1)
    hull = cv2.convexHull(np.round(points[list(CONTOUR), :2]).astype(np.int32))
    cv2.fillConvexPoly(result, hull, SURE)
    result[_column(face, size)] = SURE
    return result


def _point(xy: np.ndarray | tuple[float, float]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))


def _offsets(face: FaceFrame, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance below the chin [size, 1] in face heights, and beside it [1, size] in face widths."""
    steps = np.arange(size) + 0.5
    return (steps - face.chin[1])[:, None] / face.height, np.abs(steps - face.chin[0])[None] / face.width


def _below(face: FaceFrame, size: int, start: float, half_width: float) -> np.ndarray:
    """Shoulders: from ``start`` below the chin, widening quickly to ``half_width``."""
    down, beside = _offsets(face, size)
    return (down > start) & (beside < np.minimum(0.45 + 3.0 * (down - start), half_width))


def _column(face: FaceFrame, size: int) -> np.ndarray:
    """The neck and the middle of the chest."""
    down, beside = _offsets(face, size)
    return (down > -0.1) & (beside < np.clip(0.22 + 1.2 * (down - 0.25), 0.22, 0.6))
