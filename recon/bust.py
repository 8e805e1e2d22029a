"""Shoulders for head models that end at the neck: a smooth bust, skinned to the torso joint.

It is only a place for Gaussians to hang on; what is outside of the person's outline is carved away before training.
Proportions are in units of the distance between the eyeball centres, so that nothing depends on the scale of a head.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from studio.heads.model import JOINTS, HeadModel

# Rings from inside the neck down to the chest, in inter-ocular distances: below the neck joint, half width, half depth.
# Broad: what the mattes do not show is never used, what is missing would have to be smeared.
_RINGS = (
    (-0.3, 0.75, 0.75),
    (0.3, 0.9, 0.85),
    (0.7, 1.4, 1.0),
    (1.0, 2.4, 1.2),
    (1.3, 3.4, 1.4),
    (1.7, 4.0, 1.6),
    (2.3, 4.3, 1.8),
    (3.5, 4.3, 1.9),
    (5.5, 4.2, 1.9),
)
_SEGMENTS = 40


def interocular(head: HeadModel) -> float:
    """Distance between the eyeball centres of a head without identity parameters, metres."""
    left, right = JOINTS.index("eye_left"), JOINTS.index("eye_right")
    return float((head.joint_positions[left] - head.joint_positions[right]).norm())


def has_torso(head: HeadModel) -> bool:
    """Whether the model brings its own shoulders."""
    return bool(head.region_faces("torso").any())


def with_bust(head: HeadModel) -> HeadModel:
    """The head with a bust appended as region "torso" (vertices and faces come last; landmarks stay the same).

    Args:
        head: a head without identity parameters (``with_identity``) that has no torso.
    """
    vertices = _bust_vertices(head)
    count, first = len(vertices), len(head.template)
    weights = torch.zeros(count, len(JOINTS))
    weights[:, JOINTS.index("torso")] = 1.0
    faces = _ring_faces() + first

    def padded(basis: Tensor) -> Tensor:
        return torch.cat((basis, basis.new_zeros(len(basis), count, 3)), dim=1)

    return replace(
        head,
        template=torch.cat((head.template, vertices)),
        identity_basis=padded(head.identity_basis),
        expression_basis=padded(head.expression_basis),
        skin_weights=torch.cat((head.skin_weights, weights)),
        faces=torch.cat((head.faces, faces)),
        faces_uv=torch.cat((head.faces_uv, torch.zeros_like(faces))),
        face_region=torch.cat((head.face_region, torch.full((len(faces),), len(head.region_names)))),
        region_names=(*head.region_names, "torso"),
    )


def _bust_vertices(head: HeadModel) -> Tensor:
    unit = interocular(head)
    rings = torch.tensor(_RINGS) * unit
    # The neck leans forward: going down from its joint, the trunk lies a little behind it.
    center = head.joint_positions[JOINTS.index("torso")]
    angle = torch.arange(_SEGMENTS) * (2 * math.pi / _SEGMENTS)
    x = rings[:, 1:2] * angle.sin()
    z = rings[:, 2:3] * angle.cos()
    y = -rings[:, :1].expand_as(x)
    return (torch.stack((x, y, z), dim=-1) + center).reshape(-1, 3)


def _ring_faces() -> Tensor:
    ring = torch.arange(len(_RINGS) - 1)[:, None] * _SEGMENTS
    here, after = torch.arange(_SEGMENTS), (torch.arange(_SEGMENTS) + 1) % _SEGMENTS
    a, b = ring + here, ring + after
    c, d = a + _SEGMENTS, b + _SEGMENTS
    return torch.cat((torch.stack((a, c, b), -1).reshape(-1, 3), torch.stack((b, c, d), -1).reshape(-1, 3)))
