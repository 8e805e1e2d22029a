"""Head and torso as two bodies in the world, and back to the joint codes between them.

Codes hold the torso relative to the head (``neck_pose``, ``neck_translation``). Whoever changes the head's motion must
hold the torso where it was in the world, or it would swing with the head and tear at the collar.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from studio.codes import NECK_PIVOT, Codes
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid, rigid_inverse


def torso_to_world(codes: Codes) -> Tensor:
    """[..., 4, 4] where the torso is, as a motion of its place under a head at rest at the world's origin."""
    pivot = torch.tensor(NECK_PIVOT)
    turn = axis_angle_to_matrix(-codes.neck_pose)
    return codes.head_to_world @ rigid(turn, pivot - turn @ pivot + codes.neck_translation)


def with_torso(
    codes: Codes,
    torso: Tensor,  # [..., 4, 4]
) -> Codes:
    """The same head on a torso at another place in the world; inverse of ``torso_to_world``."""
    pivot = torch.tensor(NECK_PIVOT)
    placed = rigid_inverse(codes.head_to_world) @ torso
    turn = placed[..., :3, :3].contiguous()
    shift = placed[..., :3, 3] - (pivot - turn @ pivot)
    return replace(codes, neck_pose=-matrix_to_axis_angle(turn), neck_translation=shift)


def about_neck(
    rotation: Tensor,  # [..., 3, 3]
    sway: Tensor,  # [..., 3] metres
) -> Tensor:
    """[..., 4, 4] a head that turns about its neck, which itself is moved by ``sway``."""
    pivot = torch.tensor(NECK_PIVOT)
    return rigid(rotation, pivot - rotation @ pivot + sway)


def neck_sway(
    motion: Tensor,  # [..., 4, 4] of the head, in the frame of the resting head
) -> Tensor:
    """[..., 3] metres by which the neck itself moves; inverse of ``about_neck``."""
    pivot = torch.tensor(NECK_PIVOT)
    return motion[..., :3, 3] - (pivot - motion[..., :3, :3] @ pivot)
