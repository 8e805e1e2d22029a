"""A set of 3D Gaussians, activated and in world space: what splat avatars rasterise, export and exchange."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Splats:
    """N Gaussians.

    Args:
        means: [N, 3] metres, world.
        quats: [N, 4] wxyz, need not be normalised.
        scales: [N, 3] standard deviations along the axes, metres.
        opacities: [N] in 0..1.
        sh: [N, K, 3] spherical harmonics of sRGB-encoded colour, K = (degree + 1)²; colour = 0.5 + sum of the bands.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    sh: Tensor

    def __len__(self) -> int:
        return self.means.shape[0]


def upright(splats: Splats, up: Literal["-y", "y"]) -> Splats:
    """The same Gaussians in a world whose up is ``up``: as they are for "y", turned half about the z axis for "-y".

    Half a turn about z changes the sign of the harmonics of odd order m.
    """
    if up == "y":
        return splats
    flip = splats.means.new_tensor((-1.0, -1.0, 1.0))
    w, x, y, z = splats.quats.unbind(-1)
    orders = [m for degree in range(math.isqrt(splats.sh.shape[1])) for m in range(-degree, degree + 1)]
    signs = splats.sh.new_tensor([-1.0 if m % 2 else 1.0 for m in orders])
    quats = torch.stack((-z, -y, x, w), dim=-1)
    return replace(splats, means=splats.means * flip, quats=quats, sh=splats.sh * signs[:, None])
