"""Filling in frames without a face."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from studio.rotations import matrix_to_quat, quat_to_matrix, rigid


def fill_values(
    values: Tensor,  # [K, ...] at the known frames
    known: np.ndarray,  # [K] increasing frame numbers
    count: int,
) -> Tensor:
    """Values [count, ...] of all frames, linear between known ones and constant beyond them."""
    flat = values.reshape(len(known), -1).numpy()
    columns = [np.interp(np.arange(count), known, column) for column in flat.T]
    filled = np.stack(columns, axis=1) if columns else np.zeros((count, 0))
    return torch.from_numpy(filled).float().reshape(count, *values.shape[1:])


def fill_poses(
    poses: Tensor,  # [K, 4, 4] rigid
    known: np.ndarray,  # [K]
    count: int,
) -> Tensor:
    """Poses [count, 4, 4] of all frames; rotations are interpolated along the shorter way."""
    quats = matrix_to_quat(poses[:, :3, :3])
    flips = torch.cumprod(torch.where((quats[1:] * quats[:-1]).sum(-1) < 0, -1.0, 1.0), dim=0)
    quats = torch.cat((quats[:1], quats[1:] * flips[:, None]))
    filled = torch.nn.functional.normalize(fill_values(quats, known, count), dim=-1)
    return rigid(quat_to_matrix(filled), fill_values(poses[:, :3, 3], known, count))
