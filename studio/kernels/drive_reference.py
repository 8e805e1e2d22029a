"""Carrying Gaussians on their anchors in plain torch: what the kernels are tested against, and what runs on CUDA."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from studio.kernels.drive_carry import Gains
from studio.rotations import quat_multiply

CORRECTED = (3, 4, 3, 1)  # position, rotation, colour, opacity


def carry_reference(
    gains: Gains,
    anchors: tuple[Tensor, Tensor, Tensor],  # origins [..., N, 3], quats [..., N, 4], stretch [..., N]
    raw: tuple[Tensor, ...],  # offsets, quats, log_scales, opacity_logits, colors, bases
    weights: Tensor,  # [..., P, K]
    parts: Tensor,  # [N]
) -> tuple[Tensor, ...]:
    """Same arguments and results as ``carry_splats``, in the dtype and on the device of its arguments."""
    origins, frames, stretch = anchors
    offsets, quats, log_scales, opacity_logits, colors, bases = raw
    by_part = (weights @ bases).unflatten(-1, (len(offsets), -1))  # [..., P, N, CHANNELS]
    wanted = parts[:, None].expand(*by_part.shape[:-3], 1, -1, by_part.shape[-1])
    correction = by_part.gather(-3, wanted).squeeze(-3)  # its gradient is written without sorting, unlike an index's
    position, rotation, color, opacity = correction.split(CORRECTED, dim=-1)
    size = gains.unit * stretch[..., None]
    means = origins + turned(frames, (offsets + gains.position * position) * size)
    local = normalize(quats, dim=-1) + gains.rotation * rotation
    scales = log_scales.exp().clamp(max=gains.largest) * size
    opacities = torch.sigmoid(opacity_logits + gains.opacity * opacity[..., 0])
    return means, quat_multiply(frames, local), scales, opacities, (colors + gains.color * color).clamp(min=0)


def turned(
    quats: Tensor,  # [..., 4] wxyz, unit
    vectors: Tensor,  # [..., 3]
) -> Tensor:
    """Vectors [..., 3] turned by quaternions."""
    axis = quats[..., 1:]
    across = torch.linalg.cross(axis, vectors)
    return vectors + 2 * (quats[..., :1] * across + torch.linalg.cross(axis, across))
