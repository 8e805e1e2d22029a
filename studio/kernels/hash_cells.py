"""The cells that sixteen samples at a time fall into, shared by the kernels of the hash grid and of the ensemble."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.buffers import borrow
from studio.kernels.compiled import inlined
from studio.kernels.hash_simd import CORNERS, dense_corners, hashed_corners, store_corners, wrapped_corners
from studio.kernels.simd import Array, Vector, Vectors, any_lane, floor, fma, maximum, minimum
from studio.kernels.simd_memory import load, load3, store

LEAST = 16  # samples that the kernels take at a time
BLOCK = CORNERS * LEAST  # rows of a table that those stand for
BUFFERS = 32
_CHUNK = 8192  # samples whose features stay in the cache while all levels are added to them
_FARTHEST = 1e9  # cells; what lies beyond, or is no number, is treated as if it lay there


class Levels(NamedTuple):
    """The lattices of a grid."""

    scales: Array  # [L] cells per unit of length
    sides: Array  # [L] int64, points a side
    sizes: Array  # [L] int64, rows
    firsts: Array  # [L] int64, the level's first place in the flat table
    hashed: Array  # [L] bool


class Scratch(NamedTuple):
    """Eight corners of sixteen samples, BUFFERS times for each worker."""

    indices: Array  # [W, BUFFERS * BLOCK] uint32
    weights: Array  # [W, BUFFERS * BLOCK]
    dots: Array  # [W, BUFFERS * BLOCK]


def make_scratch(workers: int) -> Scratch:
    shape = (workers, BUFFERS * BLOCK)
    return Scratch(borrow("hash_rows", shape, np.uint32), borrow("hash_weights", shape), borrow("hash_dots", shape))


@inlined
def find_corners(positions: Array, at: int, levels: Levels, level: int, indices: Array) -> Vectors:
    """Store the rows of the corners of sixteen samples; returns where in their cells the samples are."""
    scale, size, side = levels.scales[level], levels.sizes[level], levels.sides[level]
    x, y, z = load3(positions, 3 * at)
    inside = (x >= 0.0) & (x <= 1.0) & (y >= 0.0) & (y <= 1.0) & (z >= 0.0) & (z <= 1.0)
    strange = any_lane(~inside)
    px, py, pz = fma(x, scale, 0.5), fma(y, scale, 0.5), fma(z, scale, 0.5)
    wx, wy, wz = floor(px), floor(py), floor(pz)
    fx, fy, fz = px - wx, py - wy, pz - wz
    if strange:
        wx, wy, wz = _bounded(wx), _bounded(wy), _bounded(wz)
    if levels.hashed[level]:
        rows = hashed_corners(wx, wy, wz, size)
    elif strange:
        rows = wrapped_corners(wx, wy, wz, size, side)
    else:
        rows = dense_corners(wx, wy, wz, size, side)
    store_corners(indices, rows)
    return fx, fy, fz


@inlined
def _bounded(whole: Vector) -> Vector:
    return maximum(minimum(whole, _FARTHEST), -_FARTHEST)


@inlined
def trilinear_weights(fractions: Vectors, weights: Array) -> None:
    """Trilinear weights of the corners."""
    fx, fy, fz = fractions
    gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
    a, b, c, d = gy * gz, fy * gz, gy * fz, fy * fz
    store(weights, 0, gx * a)
    store(weights, 16, fx * a)
    store(weights, 32, gx * b)
    store(weights, 48, fx * b)
    store(weights, 64, gx * c)
    store(weights, 80, fx * c)
    store(weights, 96, gx * d)
    store(weights, 112, fx * d)


@inlined
def block_start(block: int, count: int) -> int:
    """First sample of a block of 16; the last block overlaps the one before rather than reach past the end."""
    return min(16 * block, count - 16)


@inlined
def chunk_count(count: int) -> int:
    return max(count // _CHUNK, 1)


@inlined
def chunk_bounds(chunk: int, count: int) -> tuple[int, int]:
    """First and last sample of a chunk; the last is the longest, so that no block reaches into another's chunk."""
    last = max(count // _CHUNK - 1, 0)
    return chunk * _CHUNK, 0 if chunk > last else count if chunk == last else (chunk + 1) * _CHUNK


@inlined
def weight_slopes(fractions: Vectors, dots: Array) -> Vectors:
    """Σ of the corners' values times the derivatives of their weights to the three fractions."""
    fx, fy, fz = fractions
    gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
    a, b, c, d = load(dots, 0), load(dots, 16), load(dots, 32), load(dots, 48)
    e, f, g, h = load(dots, 64), load(dots, 80), load(dots, 96), load(dots, 112)
    x = fma(gz, fma(gy, b - a, fy * (d - c)), fz * fma(gy, f - e, fy * (h - g)))
    low_y, high_y = fma(gx, a, fx * b), fma(gx, c, fx * d)
    low_y_far, high_y_far = fma(gx, e, fx * f), fma(gx, g, fx * h)
    y = fma(gz, high_y - low_y, fz * (high_y_far - low_y_far))
    z = fma(gy, low_y_far - low_y, fy * (high_y_far - high_y))
    return x, y, z
