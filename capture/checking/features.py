"""Where no face is found: image features matched between neighbouring cameras, against their epipolar lines."""

from __future__ import annotations

import cv2
import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.geometry import epipolar_distances
from capture.sparse_points import detect_features, match_features, neighbour_pairs
from capture.triangulation import model_of
from studio.logs import progress

LIMIT_PIXELS = 2.0  # of matched features from their epipolar lines
_LEAST_MATCHES, _LEAST_SHARE = 40, 0.5  # of matches that some epipolar geometry must explain, calibrated or not
_RANSAC_PIXELS = 1.5


def feature_pairs(evidence: Evidence) -> dict[tuple[int, int], float]:
    """Pairs of cameras -> median distance in pixels of matches from the calibrated epipolar lines.

    Only matches that some fundamental matrix explains (RANSAC) count, and only pairs with enough of them, so that what
    is measured is the calibration and not the matching.
    """
    if evidence.features is not None:
        return evidence.features
    capture, row = evidence.capture, len(evidence.looks) // 2
    timestep = int(evidence.timesteps[row])
    readable = [c for c in range(len(evidence.names)) if not evidence.looks[row][c].problem]
    if len(readable) < 2:
        return {}
    features = [detect_features(capture.image(timestep, c)) for c in progress(readable, "features")]
    model, result = model_of(evidence.capture.cameras), {}
    for first, second in progress(neighbour_pairs(capture.cameras[readable]), "matching"):
        a, b = match_features(features[first], features[second])
        if len(a) < _LEAST_MATCHES:
            continue
        _, kept = cv2.findFundamentalMat(a, b, cv2.FM_RANSAC, _RANSAC_PIXELS, 0.999)
        chosen = np.zeros(len(a), bool) if kept is None else kept[:, 0] > 0
        if chosen.sum() < max(_LEAST_MATCHES, _LEAST_SHARE * len(a)):
            continue
        i, j = readable[first], readable[second]
        result[i, j] = float(np.median(epipolar_distances(model, i, j, a[chosen], b[chosen])))
    return result
