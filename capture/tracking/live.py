"""Tracking while frames arrive: each by what is known of the person so far, all of them again as more is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from capture.landmarks import Landmarks
from capture.tracking.face_fit import FaceFit, begin, fit_frames
from capture.tracking.faces import observe_alone
from capture.tracking.gaze import find_gaze, gaze_channels
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.observe import observe, with_gaze
from capture.tracking.track import everywhere, fit_landmarks, with_torso
from capture.tracking.views import Views
from studio.captures import Capture
from studio.codes import Codes, CodeTrack
from studio.heads.model import JOINTS, HeadModel
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid, rigid_inverse

_AGAIN = 2.0  # times as many frames before everything is fitted again


@dataclass(frozen=True)
class Known:
    """What is known of a person from the frames so far.

    Args:
        fit: of these frames; its identity, offsets and K hold for later ones too.
        landmarks: of these frames, all with a face.
        torso: [4, 4] where the torso was last, in camera coordinates as a rigid motion of the head model's torso; None
            where none is followed.
    """

    fit: FaceFit
    landmarks: Landmarks
    torso: Tensor | None


class LiveTracker:
    """Codes of a capture that grows.

    Args:
        head: the head model.
        K: [3, 3] pixels.
        fps: frames per second.
    """

    def __init__(self, head: HeadModel, K: Tensor, fps: float) -> None:
        self._head, self._K, self._fps = head, K, fps
        self._basis = LandmarkBasis.of(head)
        self._codes: Codes | None = None  # of the frames with a face so far
        self.known: Known | None = None
        self._fitted = 0  # frames with a face at the last fit of everything

    @property
    def identity(self) -> Tensor:
        """[I] of the person, as far as known."""
        assert self.known is not None
        return self.known.fit.identity

    def update(self, capture: Capture, landmarks: Landmarks) -> CodeTrack:
        """Track what is new, or everything when there is twice as much as the last time.

        Args:
            capture: as recorded so far.
            landmarks: of all its frames; at least one has a face.
        """
        faces = np.flatnonzero(landmarks.valid)
        if self._codes is None or self.known is None or len(faces) >= _AGAIN * self._fitted:
            self._codes, self.known = self._everything(capture, landmarks, faces)
            self._fitted = len(faces)
        elif len(faces) > self._codes.batch[0]:
            new = landmarks.only(faces[self._codes.batch[0] :])
            codes, self.known = follow(self._head, self._basis, self.known, new)
            self._codes = _joined(self._codes, codes)
        codes = everywhere(self._codes, faces, len(landmarks))
        codes = replace(codes, head_to_world=rigid_inverse(capture.cameras[0].viewmats) @ codes.head_to_world)
        extras = {"identity": self.identity.numpy(), "landmarks": landmarks.points[..., :2]}
        provenance = {
            "expression": "landmarks",
            "eyes": "irises",
            "head": "landmarks",
            "neck": "torso, held between fits",
        }
        return CodeTrack(codes, self._fps, torch.from_numpy(landmarks.valid), provenance, extras)

    def _everything(self, capture: Capture, landmarks: Landmarks, faces: np.ndarray) -> tuple[Codes, Known]:
        part = landmarks.only(faces)
        seen = observe_alone(part, self._basis, Views.single(self._K))
        fit, _, _ = fit_landmarks(self._head, self._basis, seen, self._fps)
        codes = _codes_of(self._head, fit)
        frames = [capture.frame(int(index)) for index in faces]
        pivot = _pivot(self._head, fit)
        mattes = [frame.alpha for frame in frames if frame.alpha is not None]
        codes, followed = with_torso(codes, [frame.image for frame in frames], mattes, part, pivot, self._K)
        torso = codes.head_to_world[-1] @ _torso_in_head(codes[-1], pivot) if followed else None
        return codes, Known(fit, part, torso)


def follow(
    head: HeadModel,
    basis: LandmarkBasis,
    known: Known,
    landmarks: Landmarks,  # new frames, all with a face
) -> tuple[Codes, Known]:
    """Codes of frames that follow what is known (heads in camera coordinates), and that with these frames.

    Identity, offsets and focal length are held; the torso stays where it was.
    """
    seen, depth_points = observe(landmarks, basis, known.fit.views)
    fit = begin(basis, seen, depth_points)
    fit = replace(fit, identity=known.fit.identity, offsets=known.fit.offsets)
    fit, _ = fit_frames(basis, seen, fit, rounds=4)
    count, together = len(landmarks), _joined_landmarks(known.landmarks, landmarks)
    # The resting direction of the eyes is a mean over all frames.
    gaze = find_gaze(head, together, _joined_fit(known.fit, fit))[-count:]
    fit, _ = fit_frames(basis, with_gaze(seen, gaze_channels(head.space, gaze)), fit, rounds=3)
    codes = _codes_of(head, fit)
    if known.torso is not None:
        pivot = _pivot(head, fit)
        placed = rigid_inverse(codes.head_to_world) @ known.torso
        turned = placed[:, :3, :3].contiguous()
        codes = replace(
            codes,
            neck_pose=-matrix_to_axis_angle(turned),
            neck_translation=placed[:, :3, 3] - (pivot - turned @ pivot),
        )
    return codes, Known(_joined_fit(known.fit, fit), together, known.torso)


def _codes_of(head: HeadModel, fit: FaceFit) -> Codes:
    still = Codes.neutral(head.space, (len(fit.expression),))
    return replace(still, expression=fit.expression, head_to_world=rigid(fit.rotations, fit.translations))


def _pivot(head: HeadModel, fit: FaceFit) -> Tensor:
    return head.with_identity(fit.identity).joint_positions[JOINTS.index("torso")]


def _torso_in_head(codes: Codes, pivot: Tensor) -> Tensor:
    """[4, 4] the torso's motion in the head frame that the neck codes (no batch) stand for."""
    turned = axis_angle_to_matrix(-codes.neck_pose)
    return rigid(turned, pivot - turned @ pivot + codes.neck_translation)


def _joined(first: Codes, second: Codes) -> Codes:
    pairs = {name: (value, second.tensors()[name]) for name, value in first.tensors().items()}
    return Codes(first.space, **{name: torch.cat(pair) for name, pair in pairs.items()})


def _joined_fit(first: FaceFit, second: FaceFit) -> FaceFit:
    return replace(
        first,
        rotations=torch.cat((first.rotations, second.rotations)),
        translations=torch.cat((first.translations, second.translations)),
        expression=torch.cat((first.expression, second.expression)),
    )


def _joined_landmarks(first: Landmarks, second: Landmarks) -> Landmarks:
    names = ("points", "scores", "valid")
    return Landmarks(*(np.concatenate((getattr(first, name), getattr(second, name))) for name in names))
