"""A set of 3D Gaussians, activated and in world space: what splat avatars rasterise, export and exchange."""

from __future__ import annotations

from dataclasses import dataclass

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
