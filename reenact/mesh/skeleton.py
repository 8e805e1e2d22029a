"""The head's joints as a chain that other programs pose: torso, then head, then jaw and eyes.

The studio moves the torso against the skull; a skeleton moves the skull against the torso. Both say the same: the root
is the torso in the world, the head turns about the neck joint by what the torso was turned back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.codes import Codes
from studio.heads.model import JOINTS, HeadModel
from studio.rotations import axis_angle_to_matrix, matrix_to_quat

PARENTS: Mapping[str, str | None] = {
    "torso": None,
    "head": "torso",
    "jaw": "head",
    "eye_left": "head",
    "eye_right": "head",
}


@dataclass(frozen=True)
class JointMotion:
    """A joint over time, relative to its parent.

    Args:
        translations: [T, 3] metres.
        quats: [T, 4] wxyz, unit, without jumps from q to -q.
    """

    translations: Tensor
    quats: Tensor


def rest_places(head: HeadModel) -> dict[str, Tensor]:
    """Where each joint sits [3] at rest, in the head frame; the head's own joint is that of the neck."""
    places = dict(zip(JOINTS, head.joint_positions, strict=True))
    return {name: places["torso" if name == "head" else name] for name in PARENTS}


def joint_motions(
    head: HeadModel,  # without identity parameters
    codes: Codes,  # batch [T]
) -> dict[str, JointMotion]:
    """The motion of every joint of ``PARENTS``."""
    places = rest_places(head)
    turns = dict(zip(JOINTS, axis_angle_to_matrix(head.joint_turns(codes)).unbind(-3), strict=True))
    torso, shift = turns["torso"], codes.neck_translation
    frame = codes.head_to_world
    root = (frame[:, :3, :3] @ (places["torso"] + shift)[..., None])[..., 0] + frame[:, :3, 3]
    back = torso.transpose(-1, -2)
    motions = {
        "torso": (root, frame[:, :3, :3] @ torso),
        "head": (-(back @ shift[..., None])[..., 0], back),
    }
    for name in ("jaw", "eye_left", "eye_right"):
        motions[name] = ((places[name] - places["head"]).expand_as(shift), turns[name])
    return {name: JointMotion(place, _continuous(matrix_to_quat(turn))) for name, (place, turn) in motions.items()}


def _continuous(
    quats: Tensor,  # [T, 4]
) -> Tensor:
    """The same rotations, each on the side of the sphere where the one before is."""
    steps = (quats[1:] * quats[:-1]).sum(-1)
    signs = torch.cat((quats.new_ones(1), torch.where(steps < 0, -1.0, 1.0).cumprod(0)))
    return quats * signs[:, None]
