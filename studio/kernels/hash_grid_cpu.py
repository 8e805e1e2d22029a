"""The hash grid on the CPU: features, and gradients to the table and to the positions, over flat arrays.

Sixteen samples at a time get their corners and weights as vectors; rows of the table are then read sample by sample.
The backward pass gives each level to one worker, so that nothing is added atomically and results repeat bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.kernels.compiled import kernel
from studio.kernels.hash_cells import (
    Levels,
    Scratch,
    block_start,
    chunk_bounds,
    find_corners,
    make_scratch,
    trilinear_weights,
    weight_slopes,
)
from studio.kernels.hash_simd import add_to_rows, blend_rows, rows_dot
from studio.kernels.simd import Array, broadcast, fma, lane_numbers, select
from studio.kernels.simd_memory import fetch_add, load3, store3
from studio.kernels.workers import run, worker_count


def encode(positions: np.ndarray, table: np.ndarray, levels: Levels, features: int, out: np.ndarray) -> None:
    """positions [B, 3] and table [P], flat, to out [B, L * F], flat; B ≥ 16."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_encode, workers, counter, make_scratch(workers), positions, table, levels, out, (0,) * features)


def table_gradient(
    positions: np.ndarray, given: np.ndarray, levels: Levels, features: int, gradient: np.ndarray
) -> None:
    """The transpose of ``encode``: given [B, L * F] to gradient [P], which is overwritten."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_scatter, workers, counter, make_scratch(workers), positions, given, levels, gradient, (0,) * features)


def position_gradient(
    positions: np.ndarray, table: np.ndarray, given: np.ndarray, levels: Levels, features: int, gradient: np.ndarray
) -> None:
    """given [B, L * F] to gradient [B, 3], which is overwritten."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_slopes, workers, counter, make_scratch(workers), positions, table, given, levels, gradient, (0,) * features)


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
        begin, end = chunk_bounds(fetch_add(counter, 0), count)
        if begin >= end:
            break
        for level in range(levels.scales.size):
            first = levels.firsts[level]
            for block in range(begin // 16, (end + 15) // 16):
                at = block_start(block, count)
                trilinear_weights(find_corners(positions, at, levels, level, indices), weights)
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
            at = block_start(block, count)
            trilinear_weights(find_corners(positions, at, levels, level, indices), weights)
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
        begin, end = chunk_bounds(fetch_add(counter, 0), count)
        if begin >= end:
            break
        gradient[3 * begin : 3 * end] = np.float32(0.0)
        for level in range(levels.scales.size):
            first, scale = levels.firsts[level], broadcast(levels.scales[level])
            for block in range(begin // 16, (end + 15) // 16):
                at = block_start(block, count)
                fractions = find_corners(positions, at, levels, level, indices)
                place = at * width + level * len(features)
                for lane in range(16):
                    rows_dot(table, first, indices, lane, given, place + lane * width, dots, features)
                x, y, z = weight_slopes(fractions, dots)
                fresh = select(lanes >= np.float32(16 * block - at), scale, 0.0)
                sum_x, sum_y, sum_z = load3(gradient, 3 * at)
                store3(gradient, 3 * at, fma(fresh, x, sum_x), fma(fresh, y, sum_y), fma(fresh, z, sum_z))
