"""Rotations and rigid transforms, batched over leading dimensions (kornia's conversions under the field's names).

Convention: quaternions are wxyz and unit, axis-angle vectors are in radians, matrices act on column vectors.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor


@functools.cache
def _conversions() -> Any:
    """kornia takes half a second to import, and many commands turn nothing."""
    from kornia.geometry import conversions

    return conversions


def axis_angle_to_matrix(
    axis_angle: Tensor,  # [..., 3] radians
) -> Tensor:
    """Rotation matrices [..., 3, 3] (Rodrigues), differentiable at zero."""
    matrix = _conversions().axis_angle_to_rotation_matrix(axis_angle.reshape(-1, 3))
    return matrix.reshape(*axis_angle.shape[:-1], 3, 3)


def matrix_to_axis_angle(
    matrix: Tensor,  # [..., 3, 3]
) -> Tensor:
    """Axis-angle vectors [..., 3] in radians, with an angle of at most pi."""
    flat = _conversions().rotation_matrix_to_axis_angle(matrix.reshape(-1, 3, 3))
    return flat.reshape(*matrix.shape[:-2], 3)


def matrix_to_quat(
    matrix: Tensor,  # [..., 3, 3]
) -> Tensor:
    """Unit quaternions [..., 4], wxyz."""
    flat = _conversions().rotation_matrix_to_quaternion(matrix.reshape(-1, 3, 3))
    return flat.reshape(*matrix.shape[:-2], 4)


def quat_to_matrix(
    quats: Tensor,  # [..., 4] wxyz, need not be normalised
) -> Tensor:
    """Rotation matrices [..., 3, 3]."""
    flat = _conversions().quaternion_to_rotation_matrix(quats.reshape(-1, 4))
    return flat.reshape(*quats.shape[:-1], 3, 3)


def quat_multiply(
    left: Tensor,  # [..., 4] wxyz
    right: Tensor,  # [..., 4] wxyz
) -> Tensor:
    """Hamilton product [..., 4]: the rotation ``right`` followed by ``left``."""
    lw, lx, ly, lz = left.unbind(-1)
    rw, rx, ry, rz = right.unbind(-1)
    return torch.stack(
        (
            lw * rw - lx * rx - ly * ry - lz * rz,
            lw * rx + lx * rw + ly * rz - lz * ry,
            lw * ry - lx * rz + ly * rw + lz * rx,
            lw * rz + lx * ry - ly * rx + lz * rw,
        ),
        dim=-1,
    )


def mean_rotation(
    rotations: Tensor,  # [T, 3, 3]
) -> Tensor:
    """The chordal mean [3, 3]: the rotation that is nearest to the mean matrix."""
    u, _, vt = torch.linalg.svd(rotations.mean(0))
    flip = torch.diag(u.new_tensor((1.0, 1.0, float(torch.linalg.det(u @ vt).sign()))))
    return u @ flip @ vt


def rigid(
    rotation: Tensor,  # [..., 3, 3]
    translation: Tensor,  # [..., 3]
) -> Tensor:
    """Homogeneous transforms [..., 4, 4] from rotations and translations (leading dimensions broadcast)."""
    batch = np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])  # torch's loads its compiler
    top = torch.cat((rotation.expand(*batch, 3, 3), translation.expand(*batch, 3)[..., None]), dim=-1)
    bottom = top.new_tensor((0.0, 0.0, 0.0, 1.0)).expand(*batch, 1, 4)
    return torch.cat((top, bottom), dim=-2)


def rigid_inverse(
    transform: Tensor,  # [..., 4, 4] rigid: orthonormal rotation, last row 0 0 0 1
) -> Tensor:
    """The inverse [..., 4, 4], without a general matrix inversion."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    return rigid(rotation, -(rotation @ transform[..., :3, 3:])[..., 0])


def transform_points(
    transform: Tensor,  # [..., 4, 4]
    points: Tensor,  # [..., N, 3]
) -> Tensor:
    """Points [..., N, 3] moved by affine transforms."""
    return points @ transform[..., :3, :3].transpose(-1, -2) + transform[..., None, :3, 3]


def slerp(
    first: Tensor,  # [T, ..., 3, 3]
    second: Tensor,  # [T, ..., 3, 3]
    weight: Tensor,  # [T]
) -> Tensor:
    """Rotations [T, ..., 3, 3] between two, at constant angular speed along the shorter arc (Shoemake 1985)."""
    a, b = matrix_to_quat(first.contiguous()), matrix_to_quat(second.contiguous())
    cosine = (a * b).sum(-1, keepdim=True)
    b, cosine = torch.where(cosine < 0, -b, b), cosine.abs().clamp(max=1.0)
    angle = torch.acos(cosine)
    t = weight.reshape(-1, *[1] * (a.ndim - 1))
    straight = angle < 1e-3  # nearly equal: the chord is the arc
    sine = torch.where(straight, torch.ones_like(angle), angle.sin())
    left = torch.where(straight, 1 - t, ((1 - t) * angle).sin() / sine)
    right = torch.where(straight, t.expand_as(angle), (t * angle).sin() / sine)
    return quat_to_matrix(torch.nn.functional.normalize(left * a + right * b, dim=-1))
