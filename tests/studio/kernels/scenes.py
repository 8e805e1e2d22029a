"""Random Gaussians and cameras for the kernel tests."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.cameras import Camera, intrinsics, orbit


def random_splats(
    count: int, seed: int, *, scenes: int = 1, sh_degree: int | None = None, size: float = 0.15
) -> list[Tensor]:
    """means, quats, scales, opacities, colors [scenes, N, …] in a ball of radius ~1: thin, thick, faint, opaque."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(scenes, count, *shape, generator=random)

    colors = torch.rand(scenes, count, 3, generator=random)
    if sh_degree is not None:
        colors = 0.5 * normal((sh_degree + 1) ** 2, 3)
    return [0.5 * normal(3), normal(4), size * (0.8 * normal(3)).exp(), torch.sigmoid(2.0 * normal()), colors]


def ring(count: int, width: int, height: int, distance: float = 3.5) -> Camera:
    """``count`` cameras round the origin, the ball of radius 1 filling most of the image."""
    angles = torch.linspace(-0.5, 0.7, count)
    K = intrinsics(1.4 * max(width, height), width, height)
    return orbit(torch.zeros(3), distance, angles, 0.3 * angles, K, width, height)


def leaves(values: list[Tensor], dtype: torch.dtype, device: str = "cpu") -> list[Tensor]:
    """Copies that collect gradients."""
    return [value.detach().to(device, dtype).clone().requires_grad_() for value in values]


def relative(found: Tensor, expected: Tensor) -> float:
    """Relative L2 distance; absolute where what is expected is zero."""
    found, expected = found.detach(), expected.detach()
    difference = (found.double().cpu() - expected.double().cpu()).norm()
    return float(difference / expected.double().cpu().norm().clamp(min=1e-12)) if difference > 0 else 0.0
