"""Faces that are none: a statue or a picture on the wall in which the landmarker sees a face from some sides only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.features import LIMIT_PIXELS, feature_pairs
from capture.checking.geometry import world_face
from capture.checking.sightings import sightings
from capture.triangulation import model_of

_FRONT = 0.8  # cosine between the face's direction and the camera's: from there a face is always found
_LEAST_FOUND = 0.5  # of the cameras in front of it


def without_mistaken_faces(evidence: Evidence) -> Evidence:
    """The evidence, its faces left out where most cameras in front of what is taken for one find none.

    Which cameras are in front is known only if the calibration is right: image features must confirm it.
    """
    seen = None if evidence.no_face else sightings(evidence)
    if seen is None:
        return evidence
    model = model_of(evidence.capture.cameras)
    face = world_face(model, seen)
    if face is None:
        return evidence
    towards = model.centers - face.center
    front = towards @ face.forward > _FRONT * np.linalg.norm(towards, axis=1)
    found = int((front & evidence.frontal).sum())
    if found >= _LEAST_FOUND * front.sum():
        return evidence
    features = feature_pairs(evidence)
    if not features or np.median(list(features.values())) > LIMIT_PIXELS:
        return evidence
    looks = [[replace(look, face=None) for look in row] for row in evidence.looks]
    blind, takers = int(front.sum()) - found, int(evidence.frontal.sum())
    why = f"no face found (of {front.sum()} cameras in front of what {takers} take for one, {blind} see none)"
    return replace(evidence, looks=looks, landmarks_missing=why, features=features)
