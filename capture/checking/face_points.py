"""A few of MediaPipe's points that stay where they are on a face, and where that is on an average head."""

from __future__ import annotations

import numpy as np

from capture.landmarker import MIRROR
from capture.triangulation import similarity

# Index: place in millimetres and normal, of the procedural head at rest (head frame: x to the subject's left, y up,
# z out of the face).
_TABLE: dict[int, tuple[float, float, float, float, float, float]] = {
    33: (-43.4, -0.2, 6.5, -0.50, 0.07, 0.80),
    133: (-16.6, -3.1, 8.6, 0.00, 0.00, 1.00),
    362: (16.6, -3.1, 8.6, 0.00, 0.00, 1.00),
    263: (43.4, -0.2, 6.5, 0.50, 0.07, 0.80),
    105: (-39.9, 22.8, 11.0, -0.64, 0.04, 0.76),
    66: (-27.8, 22.1, 18.2, -0.38, 0.05, 0.93),
    334: (39.9, 22.8, 11.0, 0.64, 0.04, 0.76),
    296: (27.8, 22.1, 18.2, 0.38, 0.05, 0.93),
    168: (0.0, 1.0, 21.9, 0.00, 0.30, 0.95),
    6: (0.0, -7.3, 25.9, 0.00, 0.49, 0.87),
    197: (0.0, -14.3, 30.2, 0.00, 0.51, 0.86),
    195: (0.0, -20.5, 33.9, 0.00, 0.51, 0.86),
    5: (0.0, -27.0, 37.9, 0.00, 0.53, 0.85),
    4: (0.0, -34.4, 42.5, 0.00, 0.34, 0.94),
    1: (0.0, -40.4, 40.9, 0.00, -0.50, 0.87),
    2: (0.0, -47.9, 30.1, 0.00, -0.60, 0.80),
    98: (-15.2, -47.0, 22.7, -0.31, -0.60, 0.74),
    327: (15.2, -47.0, 22.7, 0.31, -0.60, 0.74),
    61: (-25.5, -69.5, 14.4, -0.70, -0.08, 0.71),
    291: (25.5, -69.5, 14.4, 0.70, -0.08, 0.71),
    0: (0.0, -63.3, 26.0, 0.00, 0.46, 0.89),
    17: (0.0, -80.0, 22.9, 0.00, -0.70, 0.71),
    50: (-45.2, -35.0, 1.9, -0.66, -0.31, 0.69),
    280: (45.2, -35.0, 1.9, 0.66, -0.31, 0.69),
    205: (-36.6, -43.5, 7.2, -0.66, -0.19, 0.73),
    425: (36.6, -43.5, 7.2, 0.66, -0.19, 0.73),
    117: (-49.9, -18.4, 2.5, -0.62, 0.02, 0.78),
    346: (49.9, -18.4, 2.5, 0.62, 0.02, 0.78),
    151: (0.0, 32.4, 21.5, 0.00, 0.09, 1.00),
    9: (0.0, 18.3, 22.5, 0.00, -0.04, 1.00),
    108: (-15.4, 32.7, 20.1, -0.20, 0.08, 0.98),
    337: (15.4, 32.7, 20.1, 0.20, 0.08, 0.98),
}
INDICES = np.array(list(_TABLE))  # [P] into MediaPipe's 478 points
PLACES = np.array([row[:3] for row in _TABLE.values()]) * 1e-3  # [P, 3] metres, head frame
NORMALS = np.array([row[3:] for row in _TABLE.values()])  # [P, 3] unit length, near enough
NORMALS = NORMALS / np.linalg.norm(NORMALS, axis=1, keepdims=True)
SKIN = np.isin(INDICES, (50, 280, 205, 425, 117, 346, 151, 9, 108, 337, 5, 195, 197, 6, 168))  # [P] bare skin
OUTER_EYES = (int(np.flatnonzero(INDICES == 33)[0]), int(np.flatnonzero(INDICES == 263)[0]))
OUTER_EYES_METRES = 0.089  # their distance in adults; a tenth more or less is usual
MIRRORED = np.array([int(np.flatnonzero(MIRROR[index] == INDICES)[0]) for index in INDICES])  # left for right
# Image axes (x right, y down, z away) of a face that looks straight into the camera, from its head frame.
_TO_IMAGE = np.array([1.0, -1.0, -1.0])


def head_turn(
    points: np.ndarray,  # [478, 3] of the landmarker
) -> np.ndarray:
    """Rotation [3, 3] from the head frame (as image axes: x right, y down, z away) to the camera's axes."""
    return similarity(PLACES * _TO_IMAGE, points[INDICES].astype(np.float64))[1]


def facing(
    turn: np.ndarray,  # [3, 3] of ``head_turn``
) -> np.ndarray:
    """[P] cosine between each point's normal and the direction to the camera."""
    return -((NORMALS * _TO_IMAGE) @ turn.T)[:, 2]


def yaw_pitch(turn: np.ndarray) -> tuple[float, float]:
    """Where the face looks, in degrees from the camera: towards the subject's left, and up."""
    x, y, z = turn @ np.array([0.0, 0.0, -1.0])
    return float(np.degrees(np.arctan2(x, -z))), float(np.degrees(np.arcsin(np.clip(-y, -1, 1))))
