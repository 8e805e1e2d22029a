"""Synthetic pairs to learn from: a neutral face, another state of it, and how the skull moved between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from capture.stabilise.network import POINTS
from studio.heads.model import HeadModel
from studio.rotations import axis_angle_to_matrix, rigid, transform_points

_IDENTITY_SPREAD = 0.9
_MOST_CHANNELS = 10
_TURN, _SHIFT = 0.3, 0.05  # radians, metres: standard deviation of the motion
_NOISE = 0.0003  # metres: of every point
_NEUTRAL_NOISE = 0.03  # expression that a "neutral" face may have


@dataclass(frozen=True)
class FacePoints:
    """A head model's points, linear in identity and expression.

    Args:
        rest: [P, 3] metres.
        identity: [I, P, 3].
        expression: [E, P, 3].
    """

    rest: Tensor
    identity: Tensor
    expression: Tensor

    @staticmethod
    def of(head: HeadModel) -> FacePoints:
        small, chosen = head.landmark_submodel(), list(POINTS)
        values = (small.template, small.identity_basis, small.expression_basis)
        return FacePoints(*(small.landmarks(value)[..., chosen, :] for value in values))

    def person(self, identity: Tensor) -> Tensor:
        """Neutral faces [B, P, 3] of identities [B, I]."""
        return self.rest + torch.einsum("bi,ipd->bpd", identity, self.identity)

    def moved(self, expression: Tensor) -> Tensor:
        """Offsets [B, P, 3] of expressions [B, E]."""
        return torch.einsum("be,epd->bpd", expression, self.expression)


@dataclass(frozen=True)
class Pairs:
    """B pairs.

    Args:
        neutral: [B, P, 3] metres.
        face: [B, P, 3].
        motion: [B, 4, 4] of the skull, from the neutral's frame.
    """

    neutral: Tensor
    face: Tensor
    motion: Tensor


def identities(points: FacePoints, count: int, generator: torch.Generator) -> Tensor:
    """[count, I] random people."""
    return _IDENTITY_SPREAD * torch.randn(count, len(points.identity), generator=generator)


def draw(points: FacePoints, people: Tensor, generator: torch.Generator) -> Pairs:
    """One pair for each of the people [B, I]: some channels at random strengths, a random motion, noise."""
    count, channels = len(people), len(points.expression)
    order = torch.rand(count, channels, generator=generator).argsort(dim=1)
    active = order < torch.randint(1, _MOST_CHANNELS + 1, (count, 1), generator=generator)
    expression = active * torch.rand(count, channels, generator=generator)
    neutral = points.person(people)
    resting = _NEUTRAL_NOISE * torch.rand(count, channels, generator=generator)
    turn = _TURN * torch.randn(count, 3, generator=generator)
    motion = rigid(axis_angle_to_matrix(turn), _SHIFT * torch.randn(count, 3, generator=generator))
    noise = _NOISE * torch.randn(2, *neutral.shape, generator=generator)
    face = transform_points(motion, neutral + points.moved(expression) + noise[0])
    return Pairs(neutral + points.moved(resting) + noise[1], face, motion)
