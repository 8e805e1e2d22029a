"""Multiresolution hash encoding (Müller et al. 2022) in the layout of tiny-cuda-nn.

One flat vector of parameters gives the same features under tiny-cuda-nn, our CPU kernels and the reference here.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels import hash_grid_cpu
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow
from studio.kernels.hash_cells import LEAST, Levels
from studio.kernels.tensors import flat, gradients_by_reference

PRIMES = (1, 2654435761, 805459861)
_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class HashGridLayout:
    """Where the features of each level stand in the vector of parameters; tiny-cuda-nn's names in brackets.

    Level l is a lattice of ``resolutions[l]`` points a side over the unit cube, ``scales[l]`` cells to a unit, shifted
    by half a cell so that the levels' cells do not line up. A level with no more points than ``2**log2_size`` has a row
    for each, x fastest; others share the rows by a hash.

    Args:
        levels: L [n_levels].
        features: F, the numbers in a row: 1, 2, 4 or 8 [n_features_per_level].
        log2_size: a level has at most 2**log2_size rows [log2_hashmap_size].
        base_resolution: points a side of the coarsest level.
        per_level_scale: the next level's cells a side over this one's.
    """

    levels: int = 16
    features: int = 2
    log2_size: int = 19
    base_resolution: int = 16
    per_level_scale: float = 2.0

    def __post_init__(self) -> None:
        sound = self.levels >= 1 and self.features in (1, 2, 4, 8) and 3 <= self.log2_size <= 28
        if not (sound and self.base_resolution >= 2 and self.per_level_scale >= 1.0):
            raise StudioError(
                "hash grid",
                got=f"{self}",
                expected="levels ≥ 1, features 1, 2, 4 or 8, log2_size 3 to 28, base_resolution ≥ 2 and "
                "per_level_scale ≥ 1",
            )

    @classmethod
    def up_to(cls, finest: float, *, levels: int, base_resolution: int = 16, **others: int) -> HashGridLayout:
        """The layout whose finest level has ``finest`` cells a side: the growth factor is derived, as in the paper."""
        growth = math.exp(math.log(finest / base_resolution) / max(levels - 1, 1))
        return cls(levels=levels, base_resolution=base_resolution, per_level_scale=growth, **others)

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """[L] cells per unit of length, N_min · b^l - 1; rounded to float32 at every step, as tiny-cuda-nn does."""
        growth = np.log2(np.float32(self.per_level_scale))
        powers = np.exp2(np.arange(self.levels, dtype=np.float32) * growth)
        return tuple(float(scale) for scale in powers * np.float32(self.base_resolution) - np.float32(1.0))

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """[L] lattice points a side."""
        return tuple(math.ceil(scale) + 1 for scale in self.scales)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """[L] rows: all points rounded up to a multiple of 8, or 2**log2_size if those are fewer."""
        return tuple(min(-(-(side**3) // 8) * 8, 2**self.log2_size) for side in self.resolutions)

    @cached_property
    def hashed(self) -> tuple[bool, ...]:
        """[L] whether points share rows."""
        return tuple(side**3 > size for side, size in zip(self.resolutions, self.sizes))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """[L + 1] first row of each level, and their total."""
        return (0, *(int(total) for total in np.cumsum(self.sizes)))

    @property
    def parameters(self) -> int:
        """P, the length of the parameter vector."""
        return self.offsets[-1] * self.features

    @property
    def width(self) -> int:
        """L · F, the number of features of a sample."""
        return self.levels * self.features

    @cached_property
    def arrays(self) -> Levels:
        """What the CPU kernels need to know."""
        return Levels(
            scales=np.array(self.scales, np.float32),
            sides=np.array(self.resolutions, np.int64),
            sizes=np.array(self.sizes, np.int64),
            firsts=np.array(self.offsets[:-1], np.int64) * self.features,
            hashed=np.array(self.hashed, np.bool_),
        )

    def initial_table(self, generator: torch.Generator) -> Tensor:
        """[P] uniform in ±1e-4, as in the paper."""
        return torch.empty(self.parameters).uniform_(-1e-4, 1e-4, generator=generator)


def hash_encode(
    positions: Tensor,  # [B, 3], 0..1
    table: Tensor,  # [P]
    layout: HashGridLayout,
    *,
    kernels: str = "auto",
) -> Tensor:
    """Features [B, L · F] of positions, level by level, interpolated linearly in each level's cells.

    Gradients flow to both tensors and repeat bit by bit on the CPU; a gradient that is itself to be differentiated
    (``create_graph=True``) is computed by the reference. Outside of the unit cube the lattice goes on and wraps around.
    On CUDA this is tiny-cuda-nn where that is installed, and otherwise the reference.

    Raises:
        StudioError: shapes or dtypes do not fit, or ``kernels`` is not available.
    """
    check_samples(positions, table, (layout.parameters,))
    if choose_kernels(kernels, positions.device) == "cuda":
        from studio.kernels.hash_grid_cuda import encode_cuda

        return encode_cuda(positions, table, layout)
    count = len(positions)
    if count < LEAST:
        missing = LEAST - count
        positions = torch.nn.functional.pad(positions, (0, 0, 0, missing))
    features: Tensor = _Encode.apply(positions, table, layout)
    return features if len(features) == count else features[:count]


def hash_encode_reference(
    positions: Tensor,  # [B, 3], 0..1
    table: Tensor,  # [P]
    layout: HashGridLayout,
) -> Tensor:
    """The same in plain torch, of any float type and device; differentiable as often as wanted."""
    rows = table.reshape(-1, layout.features)
    features = []
    for level, scale in enumerate(layout.scales):
        weights, indices = _cell_corners(positions, scale, layout, level)
        corners = rows[indices + layout.offsets[level]]  # [B, 8, F]
        features.append((weights[..., None] * corners).sum(dim=1))
    return torch.cat(features, dim=1)


def _cell_corners(positions: Tensor, scale: float, layout: HashGridLayout, level: int) -> tuple[Tensor, Tensor]:
    """Weights and rows [B, 8] of the corners round each sample."""
    place = positions * scale + 0.5
    lowest = place.detach().floor()
    fraction = (place - lowest)[:, None]  # [B, 1, 3]
    steps = torch.tensor([[c & 1, c >> 1 & 1, c >> 2] for c in range(8)], device=positions.device)
    weights = torch.where(steps == 1, fraction, 1 - fraction).prod(dim=-1)
    points = (lowest.long()[:, None] + steps) & _WORD  # [B, 8, 3] unsigned 32-bit words
    if layout.hashed[level]:
        words = [(points[..., axis] * prime) & _WORD for axis, prime in enumerate(PRIMES)]
        rows = words[0] ^ words[1] ^ words[2]
    else:
        side = layout.resolutions[level]
        rows = (points[..., 0] + side * (points[..., 1] + side * points[..., 2])) & _WORD
    return weights, rows % layout.sizes[level]


class _Encode(torch.autograd.Function):
    """CPU kernels as one differentiable operation."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
        ctx.layout = layout
        ctx.save_for_backward(positions, table)
        features = torch.from_numpy(borrow("hash_features", (len(positions), layout.width)))
        hash_grid_cpu.encode(flat(positions), flat(table), layout.arrays, layout.features, flat(features))
        return features

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        inputs, layout = ctx.saved_tensors, ctx.layout
        if torch.is_grad_enabled():
            reference = functools.partial(hash_encode_reference, layout=layout)
            return *gradients_by_reference(reference, inputs, given, ctx.needs_input_grad), None
        positions, table, cotangent = flat(inputs[0]), flat(inputs[1]), flat(given)
        by_position = by_table = None
        if ctx.needs_input_grad[0]:
            by_position = torch.from_numpy(borrow("hash_by_position", tuple(inputs[0].shape)))
            hash_grid_cpu.position_gradient(
                positions, table, cotangent, layout.arrays, layout.features, flat(by_position)
            )
        if ctx.needs_input_grad[1]:
            by_table = torch.from_numpy(borrow("hash_by_table", layout.parameters))
            hash_grid_cpu.table_gradient(positions, cotangent, layout.arrays, layout.features, flat(by_table))
        return by_position, by_table, None


def check_samples(positions: Tensor, table: Tensor, shape: tuple[int, ...]) -> None:
    """Raises StudioError unless positions are [B, 3], the table has this shape, and both are float32."""
    if positions.ndim != 2 or positions.shape[1] != 3 or tuple(table.shape) != shape:
        raise StudioError(
            "hash grid",
            got=f"positions {tuple(positions.shape)}, table {tuple(table.shape)}",
            expected=f"positions [B, 3] and the layout's table {list(shape)}",
        )
    if positions.dtype != torch.float32 or table.dtype != torch.float32:
        raise StudioError("hash grid", got=f"{positions.dtype} and {table.dtype}", expected="float32")
