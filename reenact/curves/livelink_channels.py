"""What Live Link Face sends and records: 52 ARKit channels and nine angles.

Angles are radians about the head's y (yaw, to the subject's left), x (pitch, down) and z (roll, to the right) axes,
turned in the order yaw, pitch, roll.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from reenact.curves.columns import Columns
from reenact.torso import NECK_PIVOT
from studio.codes import ARKIT52, Codes
from studio.heads.model import eye_rotation
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

_TURNS = ("Yaw", "Pitch", "Roll")
ANGLES = tuple(f"{part}{angle}" for part in ("Head", "LeftEye", "RightEye") for angle in _TURNS)


def titled(name: str) -> str:
    """jawOpen -> JawOpen."""
    return name[0].upper() + name[1:]


def decode(columns: Columns) -> Codes:
    """Codes [T] of the curves, found by name; missing ones are 0.

    The eye angles are left unread: the eyeLook channels say the same. The head turns about its neck.
    """
    expression = np.stack([columns.get(name) for name in ARKIT52.channels], axis=-1)
    angles = np.stack([columns.get(f"Head{angle}") for angle in _TURNS], axis=-1)
    rotation = from_angles(torch.from_numpy(angles).float())
    pivot = torch.tensor(NECK_PIVOT)
    return replace(
        Codes.neutral(batch=(len(columns),)),
        expression=torch.from_numpy(expression).float().clamp(0, 1),
        neck_pose=matrix_to_axis_angle(rotation),
        head_to_world=rigid(rotation, pivot - rotation @ pivot),
    )


def encode(codes: Codes) -> dict[str, np.ndarray]:
    """Curves [T] by name: the channels in ARKit's order, then the angles; the head's relative to the world's axes."""
    curves = {titled(name): codes.expression[:, index] for index, name in enumerate(ARKIT52.channels)}
    eyes = axis_angle_to_matrix(codes.eye_pose + eye_rotation(codes))
    parts = {"Head": codes.head_to_world[:, :3, :3], "LeftEye": eyes[:, 0], "RightEye": eyes[:, 1]}
    for part, rotation in parts.items():
        for angle, value in zip(_TURNS, to_angles(rotation).unbind(-1)):
            curves[f"{part}{angle}"] = value
    return {name: value.double().numpy() for name, value in curves.items()}


def from_angles(
    angles: Tensor,  # [..., 3] yaw, pitch, roll in radians
) -> Tensor:
    """Rotations [..., 3, 3] = Ry(yaw) Rx(pitch) Rz(roll)."""
    yaw, pitch, roll = angles.unbind(-1)
    nothing = torch.zeros_like(yaw)
    turn = [
        axis_angle_to_matrix(torch.stack(axis, dim=-1))
        for axis in ((nothing, yaw, nothing), (pitch, nothing, nothing), (nothing, nothing, roll))
    ]
    return turn[0] @ turn[1] @ turn[2]


def to_angles(
    rotation: Tensor,  # [..., 3, 3]
) -> Tensor:
    """Inverse of ``from_angles`` for pitches below a right angle."""
    yaw = torch.atan2(rotation[..., 0, 2], rotation[..., 2, 2])
    pitch = torch.asin((-rotation[..., 1, 2]).clamp(-1, 1))
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return torch.stack((yaw, pitch, roll), dim=-1)
