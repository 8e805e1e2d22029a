"""From MediaPipe's landmarks and scores to what the fit of a head model is asked to explain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from capture.landmarks import Landmarks
from capture.tracking.face_fit import Observation
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.views import Views

_SCORE_SPREAD = 0.25  # how far a channel may be from MediaPipe's score
# Landmarks hardly show these, and the network scores them near 0 at all times.
_UNSEEN = {"tongueOut": 0.01, "cheekPuff": 0.08, "jawForward": 0.08, "noseSneerLeft": 0.12, "noseSneerRight": 0.12}
_UNSEEN |= {"cheekSquintLeft": 0.12, "cheekSquintRight": 0.12}
# Squinted, wide and lowered lids are as open as half blinked ones: the score tells which of them it is.
_WELL_SCORED = {"eyeBlinkLeft": 0.08, "eyeBlinkRight": 0.08}
_GAZE_SPREAD = 0.02


def observe(
    landmarks: Landmarks,  # frames without a face left out
    basis: LandmarkBasis,
    view: Views,  # of one camera
) -> tuple[Observation, Tensor]:
    """What is seen in T frames, and the points with MediaPipe's depth [T, N, 3] in pixels."""
    points = torch.from_numpy(landmarks.points)[:, basis.indices]
    units = torch.tensor([float(np.median(landmarks.interocular()))])
    trust, scores = torch.ones(len(points), 1), torch.from_numpy(landmarks.scores)
    return Observation(points[:, None, :, :2], trust, scores, expected_spread(basis), view, units), points


def expected_spread(basis: LandmarkBasis) -> Tensor:
    """[E] how far expressions may be from MediaPipe's scores."""
    spread = torch.full((len(basis.space),), _SCORE_SPREAD)
    for name, value in (_UNSEEN | _WELL_SCORED).items():
        spread[basis.space.index(name)] = value
    return spread


def with_gaze(seen: Observation, channels: Mapping[int, Tensor]) -> Observation:
    """The observation with eyeLook channels (index -> [T]) that are known."""
    scores, spread = seen.scores.clone(), seen.spread.clone()
    for index, values in channels.items():
        scores[:, index] = values
        spread[index] = _GAZE_SPREAD
    return replace(seen, scores=scores, spread=spread)
