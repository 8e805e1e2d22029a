"""The focal length of a clip, from how perspective shows in the landmarks of a moving head."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from capture.landmarks import Landmarks
from capture.tracking.face_fit import begin, fit_frames, fit_shared
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.observe import observe
from capture.tracking.views import Views

_FRAMES = 60


def estimate_focal(
    landmarks: Landmarks,
    basis: LandmarkBasis,
    K: Tensor,  # [3, 3] pixels, a first guess
) -> float:
    """Focal length in pixels; it stays near the guess when the head hardly moves."""
    chosen = np.flatnonzero(landmarks.valid)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(_FRAMES, len(chosen))).round().astype(int)]
    seen, depth_points = observe(landmarks.only(chosen), basis, Views.single(K))
    fit, _ = fit_frames(basis, seen, begin(basis, seen, depth_points), rounds=3)
    return float(fit_shared(basis, seen, fit, free_focal=True, rounds=8).K[0, 0])
