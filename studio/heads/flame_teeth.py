"""Teeth for a head without: two arches of 60 vertices and 84 triangles behind the lips, the upper on the skull."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from studio.heads.model import JOINTS, HeadModel

TEETH = 120
_COLUMNS = 15
_REACH = 1.05  # radians to both sides of an arch
_BEHIND, _THICK, _HIGH = 0.009, 0.003, 0.009  # metres: behind the lips, from front to back, and the crowns
_UPPER_LIP, _LOWER_LIP, _CORNERS = (82, 13, 312), (87, 14, 317), (78, 308)


def with_teeth(head: HeadModel) -> HeadModel:
    """The head with teeth after its own vertices and triangles; MediaPipe's points tell where the mouth is."""
    marks = head.landmarks(head.template)
    middle = 0.5 * (marks[list(_UPPER_LIP)].mean(0) + marks[list(_LOWER_LIP)].mean(0))
    radius = 0.45 * float((marks[_CORNERS[0]] - marks[_CORNERS[1]]).norm())
    upper, lower = _arch(radius, -0.001, _HIGH), _arch(radius * 0.94, -0.002, -_HIGH)
    added = torch.cat((upper, lower)) + middle - torch.tensor([0.0, 0.0, _BEHIND])
    moves = head.landmarks(head.identity_basis)  # [I, 478, 3]
    follow = [moves[:, list(lip)].mean(1, keepdim=True).expand(-1, TEETH // 2, -1) for lip in (_UPPER_LIP, _LOWER_LIP)]
    weights = torch.zeros(TEETH, len(JOINTS))
    weights[: TEETH // 2, JOINTS.index("head")] = 1.0
    weights[TEETH // 2 :, JOINTS.index("jaw")] = 1.0
    first, each = len(head.template), _triangles()
    faces = torch.cat((each, each.flip(1) + TEETH // 2)) + first  # the lower arch is the upper one upside down
    region = torch.tensor([head.region_names.index(name) for name in ("teeth_upper", "teeth_lower")])
    tooth = torch.full((len(faces), 3), len(head.uvs))
    return replace(
        head,
        template=torch.cat((head.template, added)),
        identity_basis=torch.cat((head.identity_basis, *follow), dim=1),
        expression_basis=torch.nn.functional.pad(head.expression_basis, (0, 0, 0, TEETH)),
        skin_weights=torch.cat((head.skin_weights, weights)),
        faces=torch.cat((head.faces, faces)),
        uvs=torch.cat((head.uvs, torch.tensor([[0.75, 0.875]]))),
        faces_uv=torch.cat((head.faces_uv, tooth)),
        face_region=torch.cat((head.face_region, region.repeat_interleave(len(each)))),
    )


def _arch(radius: float, edge: float, height: float) -> Tensor:
    """[60, 3] about the middle of the bite: four rows (front and back, at the gums and at the edge) of 15."""
    turn = torch.linspace(-_REACH, _REACH, _COLUMNS)
    rows = []
    for depth in (0.0, _THICK):
        for y in (edge + height, edge):
            r = radius - depth
            rows.append(torch.stack((r * turn.sin(), torch.full_like(turn, y), r * turn.cos() - radius), dim=-1))
    return torch.cat(rows)


def _triangles() -> Tensor:
    """[84, 3]: front, edge and back of one arch, outside where the normals point (of the upper one)."""
    gum, edge, back_gum, back_edge = (torch.arange(_COLUMNS - 1) + row * _COLUMNS for row in range(4))
    strips = ((edge, gum), (back_edge, edge), (back_gum, back_edge))
    parts = [
        torch.stack(corners, dim=-1)
        for low, high in strips
        for corners in ((low, low + 1, high + 1), (low, high + 1, high))
    ]
    return torch.cat(parts)
