"""The scene of every splat benchmark: a head-sized shell of flat Gaussians, like a fitted head."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from studio.cameras import Camera, intrinsics, orbit
from studio.rotations import matrix_to_quat

SEMI_AXES = (0.075, 0.10, 0.085)  # metres


def head_shell(count: int, seed: int = 0) -> list[Tensor]:
    """means, quats, scales, opacities, colors of ``count`` Gaussians on an ellipsoid.

    Each is about twice as wide as the mean spacing, a third as thick, and lies in the surface with a random spin, so
    that a pixel sees some dozen of them and about half are hidden.
    """
    random = torch.Generator().manual_seed(seed)
    axes = torch.tensor(SEMI_AXES)
    unit = torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=-1)
    normal = torch.nn.functional.normalize(unit / axes, dim=-1)
    tangent = torch.nn.functional.normalize(torch.linalg.cross(normal, torch.randn(count, 3, generator=random)), dim=-1)
    frame = torch.stack((tangent, torch.linalg.cross(normal, tangent), normal), dim=-1)
    a, b, c = SEMI_AXES
    area = 4 * math.pi * (((a * b) ** 1.6 + (a * c) ** 1.6 + (b * c) ** 1.6) / 3) ** (1 / 1.6)  # Thomsen's formula
    spread = 2.0 * math.sqrt(area / count) * (0.3 * torch.randn(count, 3, generator=random)).exp()
    scales = spread * torch.tensor((1.0, 1.0, 0.3))
    opacities = torch.sigmoid(1.5 * torch.randn(count, generator=random) - 0.5)
    return [unit * axes, matrix_to_quat(frame), scales, opacities, torch.rand(count, 3, generator=random)]


def portrait_camera(size: int) -> Camera:
    """One square view, a little from the side and above, the shell filling most of its height."""
    K = intrinsics(0.5 * size / math.tan(0.31), size, size)
    return orbit(torch.zeros(3), 0.36, torch.tensor([0.4]), torch.tensor([0.15]), K, size, size)
