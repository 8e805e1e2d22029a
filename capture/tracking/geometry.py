"""Small geometry of the tracker: rigid poses in camera coordinates, their increments and pinhole derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.rotations import axis_angle_to_matrix


def skew(
    vectors: Tensor,  # [..., 3]
) -> Tensor:
    """Cross-product matrices [..., 3, 3]: skew(a) @ b = a x b."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))


def moved(
    rotations: Tensor,  # [T, 3, 3] head to camera
    translations: Tensor,  # [T, 3] metres
    steps: Tensor,  # [T, 6] rotation (radians, camera axes, about the head's origin), then translation
) -> tuple[Tensor, Tensor]:
    """Poses after an increment."""
    return axis_angle_to_matrix(steps[:, :3]) @ rotations, translations + steps[:, 3:]


def project(
    points: Tensor,  # [..., N, 3] camera coordinates, metres
    K: Tensor,  # [..., 3, 3] pixels
) -> Tensor:
    """Pixels [..., N, 2]."""
    return points[..., :2] / points[..., 2:] * K.diagonal(dim1=-2, dim2=-1)[..., None, :2] + K[..., None, :2, 2]


def projection_jacobian(
    points: Tensor,  # [..., N, 3] camera coordinates, metres
    K: Tensor,  # [..., 3, 3] pixels
) -> Tensor:
    """Derivatives [..., N, 2, 3] of the pixel with respect to the point."""
    x, y, z = points.unbind(-1)
    zero = torch.zeros_like(x)
    fx, fy = K[..., None, 0, 0] / z, K[..., None, 1, 1] / z
    rows = (fx, zero, -fx * x / z, zero, fy, -fy * y / z)
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 3))


def pose_jacobian(
    arms: Tensor,  # [T, N, 3] points relative to the head's origin, camera axes
) -> Tensor:
    """Derivatives [T, N, 3, 6] of the points with respect to the increments of ``moved``."""
    eye = torch.eye(3, dtype=arms.dtype).expand(*arms.shape[:-1], 3, 3)
    return torch.cat((-skew(arms), eye), dim=-1)
