"""Tracking of a capture: codes of a head model for every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.landmarks import Landmarks
from capture.tracking.face_fit import FaceFit, begin, fit_frames, fit_shared
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.observe import observe
from studio.captures import Capture
from studio.codes import Codes, CodeTrack
from studio.folders import content_hash
from studio.heads.mediapipe_points import GROUPS
from studio.heads.model import HeadModel
from studio.logs import say
from studio.rotations import rigid, rigid_inverse


@dataclass(frozen=True)
class TrackConfig:
    """How a capture is tracked.

    Args:
        name: name of the track within the capture.
        camera: index of the camera that is looked through.
    """

    name: str = "fitted"
    camera: int = 0


def track_capture(capture: Capture, head: HeadModel, config: TrackConfig | None = None) -> Path:
    """Track the face of a capture and write ``tracks/<name>``.

    Returns:
        The track's folder.

    Raises:
        StudioError: no landmarks, a head model without MediaPipe's points, or a track of that name exists.
    """
    config = config or TrackConfig()
    landmarks = Landmarks.load(capture.folder / "landmarks.npz")
    camera = capture.cameras[config.camera]
    basis = LandmarkBasis.of(head)
    known = np.flatnonzero(landmarks.valid)
    part = Landmarks(landmarks.points[known], landmarks.scores[known], landmarks.valid[known])
    seen, depth_points = observe(part, basis, camera.Ks[0])
    fit = begin(basis, seen, depth_points)
    fit, _ = fit_frames(basis, seen, fit, rounds=3)
    fit = fit_shared(basis, seen, fit, free_focal=False)
    fit, _ = fit_frames(basis, seen, fit)
    report = reprojection(basis, seen.points, fit, seen.unit)
    say(f"landmarks explained to {report['all']['pixels']:.2f} pixels")
    head_to_world = rigid_inverse(camera.viewmats) @ rigid(fit.rotations, fit.translations)
    codes = replace(Codes.neutral(head.space, (len(known),)), expression=fit.expression, head_to_world=head_to_world)
    track = CodeTrack(
        codes,
        capture.fps,
        torch.from_numpy(landmarks.valid),
        {"expression": "landmarks", "head": "landmarks", "eyes": "landmarks"},
        {"identity": fit.identity.numpy(), "landmarks": landmarks.points[..., :2]},
    )
    folder = capture.folder / "tracks" / config.name
    track.save(folder, parents={capture.folder.name: content_hash(capture.folder)})
    return folder


def reprojection(basis: LandmarkBasis, points: Tensor, fit: FaceFit, unit: float) -> dict[str, Any]:
    """Mean distance of seen and fitted landmarks: pixels and percent of the inter-ocular distance, per region."""
    error = (points - fit.pixels(basis)).norm(dim=-1).mean(0)
    names = {"all": tuple(int(index) for index in basis.indices), **GROUPS}
    result = {}
    for name, wanted in names.items():
        if name == "irises":
            continue  # they turn with the gaze
        mean = float(error[torch.isin(basis.indices, torch.tensor(wanted))].mean())
        result[name] = {"pixels": round(mean, 3), "percent": round(100 * mean / unit, 3)}
    return result
