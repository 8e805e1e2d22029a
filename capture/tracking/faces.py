"""One face through one or several calibrated cameras: which views to trust, and where the face is to begin with.

With several, every view's landmarks are triangulated robustly; a view that disagrees with the others, or sees the
face from the side (where the network guesses), has less of a say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from capture.landmarker import POINTS
from capture.landmarks import Landmarks
from capture.tracking.face_fit import FaceFit, Observation, average_face, begin
from capture.tracking.landmark_basis import SKIN_POINTS, LandmarkBasis
from capture.tracking.observe import expected_spread, observe
from capture.tracking.views import Views
from capture.triangulation import model_of, similarity, triangulate
from studio.cameras import Camera
from studio.errors import StudioError
from studio.heads.mediapipe_points import CONTOUR, EYE_CORNERS

_USUAL = 0.03  # of the inter-ocular distance: errors of landmarks that are nothing unusual
_SIDE, _FRONT = 0.25, 0.65  # cosine between face and camera from which a view has a say, and a full one
_POINTS = 120  # that are triangulated
_LEAST_POINTS = 20
_CHUNK = 32  # frames triangulated at once
_SIZES = (0.6, 1.6)  # of an average head: beyond, the rig is not measured in metres


@dataclass(frozen=True)
class Faces:
    """What cameras see of a face, and a first guess of where it is.

    Args:
        known: [K] frames in which it is seen well enough.
        cameras: which of the capture's, C of them.
        landmarks: of each camera, in these frames.
        seen: the same, as it is fitted to.
        start: where the face is, about, in the capture's world.
    """

    known: np.ndarray
    cameras: tuple[int, ...]
    landmarks: tuple[Landmarks, ...]
    seen: Observation
    start: FaceFit

    @property
    def front(self) -> int:
        """Position in ``cameras`` of the one that sees the face best."""
        return int(self.seen.trust.sum(0).argmax())

    def points(self, view: int, count: int) -> np.ndarray:
        """[count, 478, 2] pixels in one view, for all frames of the capture; zero where there is no face."""
        points = np.zeros((count, POINTS, 2), np.float32)
        points[self.known] = self.landmarks[view].points[..., :2]
        return points


def observe_alone(landmarks: Landmarks, basis: LandmarkBasis, view: Views, index: int = 0) -> Faces:
    """The face through one camera, which is the capture's number ``index``; ``landmarks`` are of all frames."""
    known = np.flatnonzero(landmarks.valid)
    part = landmarks.only(known)
    seen, depth_points = observe(part, basis, view)
    return Faces(known, (index,), (part,), seen, begin(basis, seen, depth_points))


def observe_rig(found: Mapping[int, Landmarks], basis: LandmarkBasis, rig: Camera) -> Faces:
    """Triangulate the face in every frame.

    Args:
        found: landmarks of all frames, by index of the camera.
        basis: the head model's landmarks.
        rig: all cameras of the capture.

    Raises:
        StudioError: the cameras do not agree about any face, or their unit is not metres.
    """
    landmarks, cameras = tuple(found.values()), rig[list(found)]
    points = np.stack([item.points for item in landmarks], axis=1)[:, :, basis.indices, :2]  # [T, C, N, 2]
    trust = np.stack([_facing(item, basis) for item in landmarks], axis=1)
    chosen = _steady_points(basis)
    spread = _spread(landmarks, trust)
    trust, poses, sizes = _triangulated(points[:, :, chosen], trust, spread, basis.rest[chosen].numpy(), cameras)
    known = np.flatnonzero(np.isfinite(sizes))
    _check_sizes(sizes[known])
    trusted = torch.from_numpy(trust[known]).float()
    scores = torch.from_numpy(np.stack([item.scores for item in landmarks], axis=1)[known])
    share = trusted.square() / trusted.square().sum(1, keepdim=True).clamp(min=1e-6)
    seen = Observation(
        torch.from_numpy(points[known].astype(np.float32)),
        trusted,
        (scores * share[..., None]).sum(1),
        expected_spread(basis),
        Views.of(cameras),
        _units(basis, cameras, poses[known]),
    )
    start = average_face(basis, seen, torch.from_numpy(poses[known]).float())
    return Faces(known, tuple(found), tuple(item.only(known) for item in landmarks), seen, start)


def _check_sizes(sizes: np.ndarray) -> None:
    if not len(sizes):
        raise StudioError(
            "the cameras do not agree about a face in any frame",
            expected="two or more calibrated cameras that see it",
            next="studio check, or tracker.camera=0 to track through one camera",
        )
    size = float(np.median(sizes))
    if not _SIZES[0] < size < _SIZES[1]:
        raise StudioError(
            "the rig is not measured in metres",
            got=f"a face {size:.3g} times as large as an average one",
            expected="translations of the cameras in metres",
            next="studio check",
        )


def _facing(landmarks: Landmarks, basis: LandmarkBasis) -> np.ndarray:
    """[T] trust in one camera's frames by how far the face is turned away; 0 without a face."""
    trust = np.zeros(len(landmarks))
    rows = np.flatnonzero(landmarks.valid)
    if len(rows):
        seen, depth_points = observe(landmarks.only(rows), basis, Views.single(torch.eye(3)))
        towards = -begin(basis, seen, depth_points).rotations[:, 2, 2].numpy()
        trust[rows] = np.clip((towards - _SIDE) / (_FRONT - _SIDE), 0.0, 1.0)
    return trust


def _spread(landmarks: Sequence[Landmarks], trust: np.ndarray) -> np.ndarray:
    """[C] pixels that are nothing unusual."""
    across = [item.points[:, list(EYE_CORNERS)] for item in landmarks]
    spread = [
        _USUAL * float(np.median(np.linalg.norm(points[weight > 0, 0] - points[weight > 0, 1], axis=-1)))
        if weight.any()
        else 1.0
        for points, weight in zip(across, trust.T, strict=True)
    ]
    return np.array(spread)


def _steady_points(basis: LandmarkBasis) -> np.ndarray:
    """[P] positions in the basis: points that expressions move little and that do not slide."""
    moves = basis.expression.norm(dim=-1).mean(0).numpy()
    indices = basis.indices.numpy()
    moves[np.isin(indices, CONTOUR)] = np.inf
    moves[indices >= SKIN_POINTS] = np.inf
    return np.sort(np.argsort(moves)[:_POINTS])


def _triangulated(
    points: np.ndarray,  # [T, C, P, 2]
    trust: np.ndarray,  # [T, C]
    spread: np.ndarray,  # [C]
    rest: np.ndarray,  # [P, 3] of the average face
    cameras: Camera,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trust [T, C] by what the others see, poses [T, 4, 4] and sizes [T]; NaN where too little is known."""
    model, (T, C, P) = model_of(cameras), points.shape[:3]
    trust, poses, sizes = trust.copy(), np.full((T, 4, 4), np.nan), np.full(T, np.nan)
    for first in range(0, T, _CHUNK):
        rows = slice(first, min(first + _CHUNK, T))
        pixels = points[rows].transpose(1, 0, 2, 3).reshape(C, -1, 2).astype(np.float64)
        places, errors = triangulate(model, pixels, np.repeat(trust[rows].T, P, axis=1), spread)
        error = np.nan_to_num(np.median(errors.reshape(C, -1, P), axis=-1), nan=np.inf).T / spread  # [t, C]
        trust[rows] /= 1.0 + (error / 2.0) ** 2
        for row, face in enumerate(places.reshape(-1, P, 3), start=first):
            found = np.isfinite(face).all(-1)
            if found.sum() >= _LEAST_POINTS:
                sizes[row], turn, _, _ = similarity(rest[found], face[found])
                poses[row] = np.eye(4)
                poses[row, :3, :3] = turn
                poses[row, :3, 3] = face[found].mean(0) - turn @ rest[found].mean(0)
    return trust, poses, sizes


def _units(basis: LandmarkBasis, cameras: Camera, poses: np.ndarray) -> Tensor:
    """[C] pixels of the inter-ocular distance at the face's place."""
    corners = [int(torch.nonzero(basis.indices == index)[0]) for index in EYE_CORNERS]
    across = float((basis.rest[corners[0]] - basis.rest[corners[1]]).norm())
    places = torch.from_numpy(poses[:, :3, 3]).float()
    depth = Views.of(cameras).in_cameras(places[None])[0, ..., 2].median(dim=1).values
    return cameras.Ks[:, 0, 0] * across / depth
