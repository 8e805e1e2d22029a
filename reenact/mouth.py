"""The opening of a mouth in metres, on the built-in head: what codes mean for the lips, whoever they are for."""

from __future__ import annotations

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


def lip_gap(codes: Codes) -> Tensor:
    """[T] metres between the inner lips, the mean of three pairs of points; 0 at rest, never below."""
    points = face_points(codes)
    rest = face_points(Codes.neutral(codes.space))
    gaps = torch.stack([points[..., up, 1] - points[..., low, 1] for up, low in _INNER], dim=-1).mean(-1)
    still = torch.stack([rest[up, 1] - rest[low, 1] for up, low in _INNER]).mean()
    return (gaps - still).clamp(min=0)
