"""Trackers that hold the head still and move the camera, told the other way: the camera stands and the head moves."""

from __future__ import annotations

import numpy as np

STANDING = np.diag([1.0, -1.0, -1.0, 1.0])  # at the world's origin, looking along -z, y up: as for an ordinary clip


def stand_still(
    viewmats: np.ndarray,  # [T, 4, 4] one moving camera
) -> tuple[np.ndarray, np.ndarray]:
    """The standing camera [1, 4, 4] and what moves the head in its place [T, 4, 4]: viewmat_t = standing @ motion_t."""
    return STANDING[None], np.linalg.inv(STANDING) @ viewmats
