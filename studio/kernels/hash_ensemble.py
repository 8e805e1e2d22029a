"""Ensembles of hash grids, blended by a code (Kirschstein et al. 2023, NeRSemble, section 4.2)."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels import hash_ensemble_cpu
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow
from studio.kernels.hash_cells import LEAST, Levels
from studio.kernels.hash_grid import HashGridLayout, hash_encode, hash_encode_reference
from studio.kernels.tensors import flat, gradients_by_reference

_LANES = 16


def hash_ensemble(
    positions: Tensor,  # [B, 3], 0..1
    tables: Tensor,  # [rows, H, F]
    weights: Tensor,  # [C, H]
    layout: HashGridLayout,
    codes: Tensor | None = None,  # [B] int64 in 0..C - 1; only C = 1 needs none
    *,
    kernels: str = "auto",
) -> Tensor:
    """Features [B, L · F] of H hash grids, each times its weight, summed; a sample's weights are ``weights[codes]``.

    ``tables[:, h].reshape(-1)`` is the vector of parameters of grid h, see ``hash_encode``. Where few codes serve many
    samples, as when a batch comes from one or a few timesteps, the tables are blended first and encoded once for each
    code; otherwise every sample blends the rows it meets. Gradients flow to positions, tables and weights, repeat bit
    by bit on the CPU, and can be differentiated again.

    Raises:
        StudioError: shapes or dtypes do not fit, or ``kernels`` is not available.
    """
    _check(positions, tables, weights, layout, codes)
    device = choose_kernels(kernels, positions.device)
    if codes is None or _blending_pays(len(weights), len(positions), layout):
        return _blended_first(positions, tables, weights, layout, codes, device)
    if device == "cuda":
        return _encoded_first(positions, tables, weights, layout, codes)
    missing = -tables.shape[1] % (_LANES // layout.features)
    if missing:  # tables of weight zero
        tables = torch.nn.functional.pad(tables, (0, 0, 0, missing))
        weights = torch.nn.functional.pad(weights, (0, missing))
    count = len(positions)
    if count < LEAST:
        positions = torch.nn.functional.pad(positions, (0, 0, 0, LEAST - count))
        codes = torch.nn.functional.pad(codes, (0, LEAST - count))
    features: Tensor = _Ensemble.apply(positions, tables, weights, codes, layout)
    return features if len(features) == count else features[:count]


def hash_ensemble_reference(
    positions: Tensor,  # [B, 3]
    tables: Tensor,  # [rows, H, F]
    weights: Tensor,  # [C, H]
    layout: HashGridLayout,
    codes: Tensor | None = None,  # [B]
) -> Tensor:
    """The same in plain torch: every grid encoded by itself."""
    own = weights.expand(len(positions), -1) if codes is None else weights[codes]
    encoded = [hash_encode_reference(positions, tables[:, h].reshape(-1), layout) for h in range(tables.shape[1])]
    return torch.einsum("hbf,bh->bf", torch.stack(encoded), own)


def _blending_pays(codes: int, samples: int, layout: HashGridLayout) -> bool:
    """Blending streams through all rows once for each code; not blending meets eight a sample and level, at random."""
    return 2 * codes * layout.offsets[-1] <= 8 * samples * layout.levels


def _blended_first(
    positions: Tensor, tables: Tensor, weights: Tensor, layout: HashGridLayout, codes: Tensor | None, device: str
) -> Tensor:
    if codes is None:
        return hash_encode(positions, blend_tables(tables, weights[0]), layout, kernels=device)
    order = codes.argsort(stable=True)
    groups = positions[order].split(torch.bincount(codes, minlength=len(weights)).tolist())
    encoded = [
        hash_encode(group, blend_tables(tables, own), layout, kernels=device)
        for group, own in zip(groups, weights)
        if len(group)
    ]
    return torch.cat([positions.new_zeros(0, layout.width), *encoded])[order.argsort()]


def _encoded_first(positions: Tensor, tables: Tensor, weights: Tensor, layout: HashGridLayout, codes: Tensor) -> Tensor:
    """On CUDA: as many grids at a time as fit into the rows that tiny-cuda-nn has, of eight floats."""
    total, together, own = positions.new_zeros(()), 8 // layout.features, weights[codes]
    for part, share in zip(tables.split(together, dim=1), own.split(together, dim=1)):
        width = 2 ** (part.shape[1] * layout.features - 1).bit_length()
        padded = torch.nn.functional.pad(part.flatten(1), (0, width - part[0].numel()))
        encoded = hash_encode(positions, padded.reshape(-1), replace(layout, features=width))
        rows = encoded.reshape(len(positions), layout.levels, width)[..., : part[0].numel()]
        total = total + torch.einsum("blhf,bh->blf", rows.unflatten(-1, part.shape[1:]), share).flatten(1)
    return total


def blend_tables(
    tables: Tensor,  # [rows, H, F]
    weights: Tensor,  # [H]
) -> Tensor:
    """[rows · F] the weighted sum of the tables, as one grid's vector of parameters; compiled on the CPU."""
    features = tables.shape[2]
    missing = -tables.shape[1] % (_LANES // features)
    if tables.device.type != "cpu" or missing:
        return _blend_reference(tables, weights)
    blended: Tensor = _Blend.apply(tables, weights)
    return blended


def _blend_reference(tables: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum("rhf,h->rf", tables, weights).reshape(-1)


class _Blend(torch.autograd.Function):
    """CPU kernels of ``blend_tables``."""

    @staticmethod
    def forward(ctx: Any, tables: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(tables, weights)
        rows, _, features = tables.shape
        blended = torch.from_numpy(borrow("ensemble_blended", rows * features))
        hash_ensemble_cpu.blend(flat(tables), flat(_per_float(weights, features)), features, flat(blended))
        return blended

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        tables, weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            return tuple(gradients_by_reference(_blend_reference, ctx.saved_tensors, given, ctx.needs_input_grad))
        features = tables.shape[2]
        by_tables = torch.from_numpy(borrow("ensemble_by_tables", tuple(tables.shape)))
        by_floats = hash_ensemble_cpu.blend_backward(
            flat(tables), flat(_per_float(weights, features)), flat(given), features, flat(by_tables)
        )
        return by_tables, torch.from_numpy(by_floats).reshape(-1, features).sum(dim=1)


class _Ensemble(torch.autograd.Function):
    """CPU kernels of an ensemble whose samples have different weights."""

    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, tables: Tensor, weights: Tensor, codes: Tensor, layout: HashGridLayout
    ) -> Tensor:
        ctx.layout = layout
        ctx.save_for_backward(positions, tables, weights, codes)
        features = torch.from_numpy(borrow("ensemble_features", (len(positions), layout.width)))
        ensemble = _arrays(positions, tables, weights, codes, layout)
        hash_ensemble_cpu.encode(ensemble, layout.features, flat(features))
        return features

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        layout, (positions, tables, weights, codes) = ctx.layout, ctx.saved_tensors
        if torch.is_grad_enabled():
            reference = functools.partial(hash_ensemble_reference, layout=layout, codes=codes)
            inputs = (positions, tables, weights)
            return *gradients_by_reference(reference, inputs, given, ctx.needs_input_grad), None, None
        ensemble, cotangent = _arrays(positions, tables, weights, codes, layout), flat(given)
        by_positions = by_tables = by_weights = None
        if ctx.needs_input_grad[1]:
            by_tables = torch.from_numpy(borrow("ensemble_by_tables", tuple(tables.shape)))
            hash_ensemble_cpu.table_gradient(ensemble, cotangent, layout.features, flat(by_tables))
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
            by_positions = torch.from_numpy(borrow("ensemble_by_positions", tuple(positions.shape)))
            by_floats = torch.from_numpy(borrow("ensemble_by_floats", (len(positions), *tables.shape[1:])))
            hash_ensemble_cpu.sample_gradients(
                ensemble, cotangent, layout.features, flat(by_floats), flat(by_positions)
            )
            by_weights = torch.zeros_like(weights).index_add(0, codes, by_floats.sum(dim=2))
        return by_positions, by_tables, by_weights, None, None


def _arrays(
    positions: Tensor, tables: Tensor, weights: Tensor, codes: Tensor, layout: HashGridLayout
) -> hash_ensemble_cpu.Ensemble:
    levels: Levels = layout.arrays._replace(firsts=np.array(layout.offsets[:-1], np.int64))
    every = _per_float(weights, layout.features)
    return hash_ensemble_cpu.Ensemble(flat(positions), flat(tables), flat(every), flat(codes.long()), levels)


def _per_float(weights: Tensor, features: int) -> Tensor:
    """[..., H] to [..., H · F]."""
    return weights.detach().repeat_interleave(features, dim=-1)


def _check(positions: Tensor, tables: Tensor, weights: Tensor, layout: HashGridLayout, codes: Tensor | None) -> None:
    rows, features = layout.offsets[-1], layout.features
    fits = tables.ndim == 3 and (tables.shape[0], tables.shape[2]) == (rows, features)
    fits = fits and weights.ndim == 2 and weights.shape[1] == tables.shape[1]
    fits = fits and positions.ndim == 2 and positions.shape[1] == 3
    if not fits or (len(weights) != 1 if codes is None else codes.shape != positions.shape[:1]):
        got = [tuple(value.shape) for value in (positions, tables, weights, codes) if value is not None]
        raise StudioError(
            "hash ensemble",
            got=got,
            expected=f"positions [B, 3], tables [{rows}, H, {features}], weights [C, H] and, unless C = 1, codes [B]",
        )
    if any(value.dtype != torch.float32 for value in (positions, tables, weights)):
        raise StudioError("hash ensemble", got=[str(v.dtype) for v in (positions, tables, weights)], expected="float32")
    if codes is not None and len(codes) and (int(codes.min()) < 0 or int(codes.max()) >= len(weights)):
        raise StudioError(
            "codes of samples", got=f"{int(codes.min())} to {int(codes.max())}", expected=f"0 to {len(weights) - 1}"
        )
