"""What NeRSemble asks of a field besides colours: coverage, known depth, light in one place (Kirschstein et al. 2023).

The terms of depth are those of Urban Radiance Fields (Rematas et al. 2022). Lengths in them are in NeRSemble's unit, a
ninth of a metre, so that its weights mean the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from studio.kernels.march import Composite, Samples, distortion_loss

UNITS_PER_METRE = 9.0
_BOUND = 0.03  # metres about a known depth in which the surface may lie: three deviations of its bell


def alpha_loss(seen: Composite, alpha: Tensor) -> Tensor:
    """How much coverage differs from the matte [R]."""
    return (seen.alpha - alpha).square().mean()


def distortion(seen: Composite, samples: Samples) -> Tensor:
    """Mean over the rays of ``distortion_loss``, in NeRSemble's unit."""
    return UNITS_PER_METRE * distortion_loss(seen.weights, samples).mean()


def depth_losses(
    seen: Composite,
    samples: Samples,
    distances: Tensor,  # [R] metres along the rays to the surface, 0 where it is not known
) -> tuple[Tensor, Tensor, Tensor]:
    """Empty: nothing stands before the surface. Near: what is there stands as a bell about it. Depth: its mean does."""
    known = distances > 0
    count = known.sum().clamp(min=1)
    wanted, told = distances[samples.rays], known[samples.rays]
    away = samples.middles - wanted
    empty = (seen.weights.square() * (told & (away < -_BOUND))).sum() / count
    deviation = _BOUND / 3.0
    bell = torch.exp(-0.5 * (away / deviation).square()) * (samples.ends - samples.starts)
    bell = bell / (deviation * math.sqrt(2.0 * math.pi))
    near = ((seen.weights - bell).square() * (told & (away.abs() <= _BOUND))).sum() / count
    depth = ((seen.depth - distances).square() * (known & (seen.depth > 0))).sum() / count
    return empty, near, UNITS_PER_METRE**2 * depth
