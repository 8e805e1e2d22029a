"""The opening of a mouth in metres, on the built-in head: what codes mean for the lips, whoever they are for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from studio.codes import Codes
from studio.heads import load_head
from studio.heads.model import HeadModel

# MediaPipe's pairs of inner lip points, upper and lower, from the middle outwards.
_INNER = ((13, 14), (82, 87), (312, 317))


@cache
def measuring_head() -> HeadModel:
    """The built-in head in its mean identity, with only the triangles that carry landmarks."""
    head = load_head("procedural").landmark_submodel()
    return head.with_identity(torch.zeros(head.num_identity))


def face_points(codes: Codes) -> Tensor:
    """[T, 478, 3] MediaPipe's points of the built-in head in the head frame, metres."""
    head = measuring_head()
    return head.landmarks(head.vertices_head(torch.zeros(0), codes))


@cache
def _lips() -> tuple[HeadModel, Tensor, Tensor]:
    """The built-in head with the vertices of the inner lips only, their indices [3, 2, 3] and weights [3, 2, 3]."""
    head = measuring_head()
    points = torch.tensor(_INNER)
    corners = head.faces[head.landmark_faces[points]]
    kept, local = torch.unique(corners, return_inverse=True)
    small = replace(
        head,
        template=head.template[kept],
        identity_basis=head.identity_basis[:, kept],
        expression_basis=head.expression_basis[:, kept],
        skin_weights=head.skin_weights[kept],
    )
    return small, local, head.landmark_bary[points]


def _gaps(codes: Codes) -> Tensor:
    """[T] metres from the lower to the upper inner lip, the mean of three pairs."""
    head, corners, weights = _lips()
    vertices = head.vertices_head(torch.zeros(0), codes)[..., 1]
    heights = (vertices[..., corners] * weights).sum(-1)
    return (heights[..., 0] - heights[..., 1]).mean(-1)


def lip_gap(codes: Codes) -> Tensor:
    """[T] metres between the inner lips, the mean of three pairs of points; 0 at rest, never below."""
    return (_gaps(codes) - _gaps(Codes.neutral(codes.space))).clamp(min=0)
