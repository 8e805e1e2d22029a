"""Where the eyes look, as directions instead of channels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from studio.codes import Codes
from studio.heads.model import EYE_PITCH_RADIANS, EYE_YAW_RADIANS, eye_rotation
from studio.rotations import axis_angle_to_matrix


def gaze_directions(codes: Codes) -> Tensor:
    """[..., 2, 3] unit vectors of the left and the right eye's gaze in the head frame."""
    return axis_angle_to_matrix(codes.eye_pose + eye_rotation(codes))[..., 2]


def looking(
    codes: Codes,
    directions: Tensor,  # [..., 2, 3] head frame, need not be unit
) -> Codes:
    """The same state with its eyeLook channels set so that each eye looks along a direction."""
    unit = torch.nn.functional.normalize(directions, dim=-1)
    sine = unit[..., :2].norm(dim=-1)
    angle = torch.atan2(sine, unit[..., 2])
    axis = torch.stack((-unit[..., 1], unit[..., 0]), dim=-1)  # perpendicular to straight ahead and to the direction
    turn = axis * (angle / sine.clamp(min=1e-9))[..., None]
    channels: dict[str, float | Tensor] = {}
    for index, (side, outward) in enumerate((("Left", 1.0), ("Right", -1.0))):
        away = turn[..., index, :] - codes.eye_pose[..., index, :2]
        across, down = outward * away[..., 1] / EYE_YAW_RADIANS, away[..., 0] / EYE_PITCH_RADIANS
        for where, value in {"Out": across, "In": -across, "Down": down, "Up": -down}.items():
            channels[f"eyeLook{where}{side}"] = value.clamp(0, 1)
    return codes.with_channels(**channels)


def turned_eyes(
    codes: Codes,
    rotation: Tensor,  # [..., 3, 3] head frame
) -> Codes:
    """The same state with both eyes turned further by a rotation; unchanged where it is none."""
    turned = looking(codes, (rotation[..., None, :, :] @ gaze_directions(codes)[..., None])[..., 0])
    still = (rotation - torch.eye(3)).abs().amax((-1, -2)) < 1e-6
    expression = torch.where(still[..., None], codes.expression, turned.expression)
    return replace(codes, expression=expression)
