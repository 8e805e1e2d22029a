"""The hash grid on the CPU: features, and gradients to the table and to the positions, over flat arrays.

Sixteen samples at a time get their corners and weights as vectors; rows of the table are then read sample by sample.
The backward pass gives each level to one worker, so that nothing is added atomically and results repeat bit by bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from studio.kernels.buffers import borrow
from studio.kernels.compiled import inlined, kernel
from studio.kernels.hash_simd import (
    CORNERS,
    add_to_rows,
    blend_rows,
    dense_corners,
    hashed_corners,
    rows_dot,
    store_corners,
    wrapped_corners,
)
from studio.kernels.simd import (
    Array,
    Vector,
    Vectors,
    any_lane,
    broadcast,
    floor,
    fma,
    lane_numbers,
    maximum,
    minimum,
    select,
)
from studio.kernels.simd_memory import fetch_add, load, load3, store, store3
from studio.kernels.workers import run, worker_count

LEAST = 16  # samples that the kernels take at a time
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
    """Eight corners of sixteen samples, for each worker."""

    indices: Array  # [W, 8 * 16] uint32
    weights: Array  # [W, 8 * 16]
    dots: Array  # [W, 8 * 16]


def encode(positions: np.ndarray, table: np.ndarray, levels: Levels, features: int, out: np.ndarray) -> None:
    """positions [B, 3] and table [P], flat, to out [B, L * F], flat; B ≥ 16."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_encode, workers, counter, _scratch(workers), positions, table, levels, out, (0,) * features)


def table_gradient(
    positions: np.ndarray, given: np.ndarray, levels: Levels, features: int, gradient: np.ndarray
) -> None:
    """The transpose of ``encode``: given [B, L * F] to gradient [P], which is overwritten."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_scatter, workers, counter, _scratch(workers), positions, given, levels, gradient, (0,) * features)


def position_gradient(
    positions: np.ndarray, table: np.ndarray, given: np.ndarray, levels: Levels, features: int, gradient: np.ndarray
) -> None:
    """given [B, L * F] to gradient [B, 3], which is overwritten."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_slopes, workers, counter, _scratch(workers), positions, table, given, levels, gradient, (0,) * features)


def _scratch(workers: int) -> Scratch:
    shape = (workers, CORNERS * LEAST)
    return Scratch(borrow("hash_rows", shape, np.uint32), borrow("hash_weights", shape), borrow("hash_dots", shape))


@inlined
def _corners(positions: Array, at: int, levels: Levels, level: int, indices: Array) -> Vectors:
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
def _weights(fractions: Vectors, weights: Array) -> None:
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
def _block(block: int, count: int) -> int:
    """First sample of a block of 16; the last block overlaps the one before rather than reach past the end."""
    return min(16 * block, count - 16)


@inlined
def _chunk(chunk: int, count: int) -> tuple[int, int]:
    """First and last sample of a chunk; the last is the longest, so that no block reaches into another's chunk."""
    last = max(count // _CHUNK - 1, 0)
    return chunk * _CHUNK, 0 if chunk > last else count if chunk == last else (chunk + 1) * _CHUNK


@kernel
def _encode(
    worker: int,
    workers: int,
    counter: Array,
    scratch: Scratch,
    positions: Array,
    table: Array,
    levels: Levels,
    out: Array,
    features: Any,
) -> None:
    """Chunks of samples, level by level."""
    indices, weights = scratch.indices[worker], scratch.weights[worker]
    count, width = positions.size // 3, len(features) * levels.scales.size
    while True:
        begin, end = _chunk(fetch_add(counter, 0), count)
        if begin >= end:
            break
        for level in range(levels.scales.size):
            first = levels.firsts[level]
            for block in range(begin // 16, (end + 15) // 16):
                at = _block(block, count)
                _weights(_corners(positions, at, levels, level, indices), weights)
                place = at * width + level * len(features)
                for lane in range(16):
                    blend_rows(table, first, indices, lane, weights, out, place + lane * width, features)


@kernel
def _scatter(
    worker: int,
    workers: int,
    counter: Array,
    scratch: Scratch,
    positions: Array,
    given: Array,
    levels: Levels,
    gradient: Array,
    features: Any,
) -> None:
    """Levels, the finest first because they take longest."""
    indices, weights = scratch.indices[worker], scratch.weights[worker]
    count, width = positions.size // 3, len(features) * levels.scales.size
    while True:
        level = levels.scales.size - 1 - fetch_add(counter, 0)
        if level < 0:
            break
        first = levels.firsts[level]
        gradient[first : first + levels.sizes[level] * len(features)] = np.float32(0.0)
        for block in range((count + 15) // 16):
            at = _block(block, count)
            _weights(_corners(positions, at, levels, level, indices), weights)
            place = at * width + level * len(features)
            for lane in range(16 * block - at, 16):
                add_to_rows(gradient, first, indices, lane, weights, given, place + lane * width, features)


@kernel
def _slopes(
    worker: int,
    workers: int,
    counter: Array,
    scratch: Scratch,
    positions: Array,
    table: Array,
    given: Array,
    levels: Levels,
    gradient: Array,
    features: Any,
) -> None:
    """Chunks of samples, level by level: each corner's row · given, times the derivatives of the weights."""
    indices, dots = scratch.indices[worker], scratch.dots[worker]
    count, width = positions.size // 3, len(features) * levels.scales.size
    lanes = lane_numbers()
    while True:
        begin, end = _chunk(fetch_add(counter, 0), count)
        if begin >= end:
            break
        gradient[3 * begin : 3 * end] = np.float32(0.0)
        for level in range(levels.scales.size):
            first, scale = levels.firsts[level], broadcast(levels.scales[level])
            for block in range(begin // 16, (end + 15) // 16):
                at = _block(block, count)
                fractions = _corners(positions, at, levels, level, indices)
                place = at * width + level * len(features)
                for lane in range(16):
                    rows_dot(table, first, indices, lane, given, place + lane * width, dots, features)
                x, y, z = _weight_slopes(fractions, dots)
                fresh = select(lanes >= np.float32(16 * block - at), scale, 0.0)
                sum_x, sum_y, sum_z = load3(gradient, 3 * at)
                store3(gradient, 3 * at, fma(fresh, x, sum_x), fma(fresh, y, sum_y), fma(fresh, z, sum_z))


@inlined
def _weight_slopes(fractions: Vectors, dots: Array) -> Vectors:
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
