"""Radiance fields in plain torch, as careful torch programmers write them: the yardsticks for our compiled kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.kernels.hash_grid import PRIMES, HashGridLayout

_CHUNK = 8192  # rows of a small network at a time; all at once is several times slower on a CPU


def encode_by_index(positions: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
    """Level by level: gather eight rows by advanced indexing, weight and sum them."""
    rows = table.reshape(-1, layout.features)
    features = []
    for level in range(layout.levels):
        indices, weights = _corners(positions, layout, level)
        features.append((weights[..., None] * rows[indices + layout.offsets[level]]).sum(dim=1))
    return torch.cat(features, dim=1)


def encode_by_bag(positions: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
    """Level by level: torch's fused weighted sum of table rows."""
    levels = table.reshape(-1, layout.features).split(list(layout.sizes))
    features = []
    for level, rows in enumerate(levels):
        indices, weights = _corners(positions, layout, level)
        features.append(torch.nn.functional.embedding_bag(indices, rows, per_sample_weights=weights, mode="sum"))
    return torch.cat(features, dim=1)


def _corners(positions: Tensor, layout: HashGridLayout, level: int) -> tuple[Tensor, Tensor]:
    """Rows and weights [B, 8], for positions in the unit cube."""
    place = torch.addcmul(torch.tensor(0.5), positions, torch.tensor(layout.scales[level]))
    lowest = place.floor()
    high = place - lowest
    low, whole = 1.0 - high, lowest.long()
    indices, weights = [], []
    for corner in range(8):
        steps = (corner & 1, corner >> 1 & 1, corner >> 2)
        x, y, z = (whole[:, axis] + step for axis, step in enumerate(steps))
        if layout.hashed[level]:
            indices.append((x ^ y * PRIMES[1] ^ z * PRIMES[2]) & (layout.sizes[level] - 1))
        else:
            side = layout.resolutions[level]
            indices.append((x + side * (y + side * z)) % layout.sizes[level])
        parts = [(high if step else low)[:, axis] for axis, step in enumerate(steps)]
        weights.append(parts[0] * parts[1] * parts[2])
    return torch.stack(indices, dim=1), torch.stack(weights, dim=1)


def mlp_in_chunks(inputs: Tensor, matrices: list[Tensor], dtype: torch.dtype) -> Tensor:
    """ReLU network without biases, a few thousand rows at a time."""
    output = []
    for values in inputs.to(dtype).split(_CHUNK):
        for matrix in matrices[:-1]:
            values = torch.nn.functional.linear(values, matrix.to(dtype)).relu()
        output.append(torch.nn.functional.linear(values, matrices[-1].to(dtype)))
    return torch.cat(output).float()


def composite_dense(densities: Tensor, rgb: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Colours [R, 3] and alpha [R] of rays with as many samples each: densities and lengths [R, N], rgb [R, N, 3]."""
    optical = densities * lengths
    weights = torch.exp(-(optical.cumsum(1) - optical)) * (1.0 - torch.exp(-optical))
    return (weights[..., None] * rgb).sum(dim=1), weights.sum(dim=1)
