"""Codes of one head model for another: those with which its face moves as the first one's does.

The models' common points (MediaPipe's, on the skin) are compared, each model's average person scaled to the other's
eyes. Expressions, and the jaw's joint where the space has no channels for it, are solved for every state; eyes turn as
they turned. What cannot be followed is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from studio.codes import ARKIT52, Codes
from studio.errors import StudioError
from studio.heads.mediapipe_points import EYE_CORNERS
from studio.heads.model import HeadModel, eye_rotation

_SKIN = 468
_LEAST_POINTS = 60
_NOISE = 0.0005  # metres
_JAW_SPREAD, _CHANNEL_SPREAD = 0.5, 1.5  # radians; units of the channel
_ROUNDS, _DESCENT = 4, 300
_STEP = 1e-3  # radians, for derivatives
_CHUNK = 64


@dataclass(frozen=True)
class MeshFit:
    """How well one model follows another.

    Args:
        error: mean distance in metres of the points from where they should go, at the size of the target.
        motion: mean distance that they should move.
        errors: [T] the same for every state.
    """

    error: float
    motion: float
    errors: Tensor


def fit_codes(source: HeadModel, target: HeadModel, codes: Codes) -> tuple[Codes, MeshFit]:
    """Codes of the target's space, and what they miss.

    Args:
        source: the model that the codes are of.
        target: another one.
        codes: [T] in the source's space.

    Raises:
        StudioError: codes of another space, or models with too few points in common.
    """
    source.space.require(codes.space, source.name)
    common = source.landmark_valid & target.landmark_valid
    common[_SKIN:] = False
    if int(common.sum()) < _LEAST_POINTS:
        raise StudioError(
            f"{source.name} and {target.name} have too few points in common",
            got=int(common.sum()),
            expected=f"at least {_LEAST_POINTS}",
        )
    small = source.landmark_submodel(), target.landmark_submodel()
    corners = [model.landmarks(model.template)[list(EYE_CORNERS)] for model in small]
    size = float((corners[1][0] - corners[1][1]).norm() / (corners[0][0] - corners[0][1]).norm())
    start = Codes.neutral(target.space, codes.batch)
    start = replace(
        start, **{name: getattr(codes, name) for name in ("head_to_world", "neck_pose", "neck_translation")}
    )
    parts, wanted = [], []
    for first in range(0, codes.batch[0], _CHUNK):
        part = slice(first, first + _CHUNK)
        wanted.append(size * _motion(small[0], codes[part], common))
        parts.append(_solved(small[1], start[part], wanted[-1], common))
    expression, jaw = (torch.cat(items) for items in zip(*parts, strict=True))
    found = replace(start, expression=expression, jaw_pose=jaw)
    found = replace(found, eye_pose=codes.eye_pose + eye_rotation(codes) - eye_rotation(found))
    want = torch.cat(wanted)
    missed = (want - _motion(small[1], found, common)).norm(dim=-1).mean(1)
    return found, MeshFit(float(missed.mean()), float(want.norm(dim=-1).mean()), missed)


def _motion(head: HeadModel, codes: Codes, common: Tensor) -> Tensor:
    """[T, N, 3] how the common points move from rest, in the head frame."""
    moved = head.landmarks(head.vertices_head(torch.zeros(head.num_identity), codes))
    return (moved - head.landmarks(head.template))[:, common]


def _solved(head: HeadModel, codes: Codes, wanted: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
    """Expressions [T, E] and jaw poses [T, 3] that move the points so; Gauss-Newton, as the jaw turns."""
    by_expression = head.landmarks(head.expression_basis)[:, common]  # [E, N, 3]
    E, T = len(by_expression), len(wanted)
    has_jaw = head.space != ARKIT52
    spread = torch.full((E + 3,), _CHANNEL_SPREAD)
    spread[E:] = _JAW_SPREAD if has_jaw else 1e-6
    low = torch.cat((torch.full((E,), head.space.low), torch.full((3,), -1.0)))
    high = torch.cat((torch.full((E,), head.space.high), torch.full((3,), 1.0)))
    state = torch.zeros(T, E + 3)
    for _ in range(_ROUNDS if has_jaw else 1):
        codes = replace(codes, expression=state[:, :E], jaw_pose=state[:, E:])
        now = _motion(head, codes, common)
        by_jaw = [torch.zeros_like(now)] * 3
        if has_jaw:
            by_jaw = [
                (_motion(head, replace(codes, jaw_pose=codes.jaw_pose + axis), common) - now) / _STEP
                for axis in _STEP * torch.eye(3)
            ]
        columns = torch.cat((by_expression.flatten(1).expand(T, -1, -1), torch.stack(by_jaw, 1).flatten(2)), dim=1)
        errors = (wanted - now).flatten(1) + (state[:, None] @ columns)[:, 0]
        information = (columns @ columns.transpose(1, 2)) / _NOISE**2 + torch.diag(spread**-2)
        gradient = (columns @ errors[..., None])[..., 0] / _NOISE**2
        state = _in_range(information.double(), gradient.double(), low, high).float()
    return state[:, :E], state[:, E:]


def _in_range(information: Tensor, gradient: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The minimum of each quadratic [T, F, F], [T, F] within bounds (accelerated projected descent, Nesterov 1983)."""
    scale = information.diagonal(dim1=-2, dim2=-1).rsqrt()
    scaled = information * scale[..., None] * scale[..., None, :]
    right, bounds = gradient * scale, (low / scale, high / scale)
    rate = 1.0 / torch.linalg.eigvalsh(scaled)[..., -1:]
    free = torch.linalg.solve(scaled, right)
    x = y = free.clamp(*bounds)
    t = 1.0
    for _ in range(_DESCENT):
        step = (y - rate * ((scaled @ y[..., None])[..., 0] - right)).clamp(*bounds)
        following = 0.5 * (1 + (1 + 4 * t * t) ** 0.5)
        y = step + (t - 1) / following * (step - x)
        x, t = step, following
    return x * scale
