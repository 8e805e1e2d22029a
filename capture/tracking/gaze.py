"""Gaze: where the irises are in the eyes, as eyeLook channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from capture.landmarks import Landmarks
from capture.tracking.face_fit import FaceFit
from capture.tracking.geometry import project
from studio.codes import CodeSpace
from studio.heads.mediapipe_points import IRIS_LEFT, IRIS_RIGHT
from studio.heads.model import EYE_PITCH_RADIANS, EYE_YAW_RADIANS, JOINTS, HeadModel

_CORNERS = {"eye_left": (263, 362), "eye_right": (33, 133)}
_IRIS = {"eye_left": IRIS_LEFT, "eye_right": IRIS_RIGHT}
# On renders with known gaze, irises and scores both show too little of a turn up or down (lids hide it): 1.7 would
# be right on average, less is nearer to the truth since it multiplies their noise too.
_PITCH_GAIN = 1.35
_FRONTAL = 0.6  # of the best view's trust: views whose irises count
_CLOSED = 0.55  # eyeBlink score above which the iris is not seen
GAZE_CHANNELS = tuple(f"eyeLook{way}{side}" for side in ("Left", "Right") for way in ("Down", "Up", "In", "Out"))


def find_gaze(
    head: HeadModel,
    landmarks: Landmarks,  # T frames, all with a face
    fit: FaceFit,
) -> Tensor:
    """Turn [T, 2] of both eyes in radians: yaw (to the subject's left) and pitch (down).

    The eyes turn together, so both irises are averaged; while they are closed the turn is interpolated. The resting
    direction cannot be seen in an iris alone, so the mean over the clip is that of MediaPipe's scores. Irises show a
    little less of a turn than there is and the scores a little more, so the result is their mean.
    """
    turns = torch.stack([_eye_turn(head, landmarks, fit, eye) for eye in _CORNERS]).mean(0).double().numpy()
    scores = dict(zip(head.space.channels, landmarks.scores.T, strict=True))
    expected = np.stack(
        (
            0.5 * EYE_YAW_RADIANS * (scores["eyeLookOutLeft"] - scores["eyeLookInLeft"])
            + 0.5 * EYE_YAW_RADIANS * (scores["eyeLookInRight"] - scores["eyeLookOutRight"]),
            0.5 * EYE_PITCH_RADIANS * (scores["eyeLookDownLeft"] - scores["eyeLookUpLeft"])
            + 0.5 * EYE_PITCH_RADIANS * (scores["eyeLookDownRight"] - scores["eyeLookUpRight"]),
        ),
        axis=1,
    )
    seen = np.flatnonzero(np.maximum(scores["eyeBlinkLeft"], scores["eyeBlinkRight"]) < _CLOSED)
    if len(seen) < 2:
        return torch.from_numpy(expected).float()
    middle = expected[seen].mean(axis=0)
    turns = 0.5 * (expected - middle + turns - turns[seen].mean(axis=0)) * np.array([1.0, _PITCH_GAIN]) + middle
    times = np.arange(len(turns))
    filled = np.stack([np.interp(times, seen, turns[seen, axis]) for axis in (0, 1)], axis=1)
    return torch.from_numpy(filled).float()


def gaze_through(
    head: HeadModel,
    landmarks: Sequence[Landmarks],  # of C views, T frames
    trust: Tensor,  # [T, C]
    fit: FaceFit,
) -> Tensor:
    """As ``find_gaze``, [T, 2]: the mean over the views that see the face from the front."""
    total, weight = torch.zeros(len(trust), 2), torch.full((len(trust), 1), 1e-6)
    front = trust.mean(0)
    for view in torch.nonzero(front >= _FRONTAL * front.max())[:, 0].tolist():
        frames = torch.nonzero(torch.from_numpy(landmarks[view].valid))[:, 0]
        share = trust[frames, view, None].square() + 1e-6
        turn = find_gaze(head, landmarks[view].only(frames.numpy()), fit.through(view)[frames])
        total[frames] += share * turn
        weight[frames] += share
    return total / weight


def _eye_turn(head: HeadModel, landmarks: Landmarks, fit: FaceFit, eye: str) -> Tensor:
    """Yaw and pitch [T, 2] that put one eye's iris where it is seen, relative to the corners of the eye."""
    person = head.with_identity(fit.identity)
    rest = person.landmarks(person.template)
    pivot = person.joint_positions[JOINTS.index(eye)]
    corners = list(_CORNERS[eye])
    arm = rest[list(_IRIS[eye])].mean(0) - pivot
    fixed = torch.stack((pivot + arm, *rest[corners]))
    pixels = project(fixed @ fit.rotations.transpose(1, 2) + fit.translations[:, None], fit.K)
    seen = torch.from_numpy(landmarks.points[..., :2])
    offset = seen[:, corners].mean(1) - pixels[:, 1:].mean(1)
    error = seen[:, list(_IRIS[eye])].mean(1) - pixels[:, 0] - offset  # [T, 2]
    # One radian moves the iris by the length of its arm across the line of sight: x for yaw, -y for pitch.
    across = fit.rotations[:, :2, :2] * (fit.K[0, 0] / fit.translations[:, 2] * arm.norm())[:, None, None]
    shift = torch.linalg.solve(across, error[..., None])[..., 0]
    return torch.stack((shift[:, 0], -shift[:, 1]), dim=-1).clamp(-0.8, 0.8)


def gaze_channels(
    space: CodeSpace,
    turn: Tensor,  # [T, 2] yaw to the subject's left, pitch down, radians
) -> dict[int, Tensor]:
    """eyeLook channels by index, [T] each, that turn both eyes so."""
    left, down = turn[:, 0] / EYE_YAW_RADIANS, turn[:, 1] / EYE_PITCH_RADIANS
    values = {}
    for side, outward in (("Left", left), ("Right", -left)):
        values[f"eyeLookOut{side}"], values[f"eyeLookIn{side}"] = outward, -outward
        values[f"eyeLookDown{side}"], values[f"eyeLookUp{side}"] = down, -down
    return {space.index(name): value.clamp(0.0, 1.0) for name, value in values.items()}
