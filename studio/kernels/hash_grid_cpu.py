"""The hash grid on the CPU: features, and gradients to the table and to the positions, over flat arrays.

Sixteen samples at a time get their corners and weights as vectors; rows of the table are then read sample by sample.
The backward pass gives each level to one worker, so that nothing is added atomically and results repeat bit by bit.

Of a table that is larger than the caches, all workers read one level at a time. The features of a level then lie
together, and are put into place afterwards: written there at once, each would take a line of memory of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.kernels.buffers import borrow
from studio.kernels.compiled import inlined, kernel
from studio.kernels.hash_cells import (
    BLOCK,
    BUFFERS,
    Levels,
    Scratch,
    block_start,
    chunk_bounds,
    chunk_count,
    find_corners,
    make_scratch,
    trilinear_weights,
    weight_slopes,
)
from studio.kernels.hash_simd import add_to_rows, blend_rows, rows_dot
from studio.kernels.simd import Array, broadcast, fma, lane_numbers, select
from studio.kernels.simd_memory import fetch_add, load3, store3
from studio.kernels.workers import run, worker_count

_CACHED = 1 << 19  # numbers of a table that the caches hold
_TURNED = 64  # samples whose features stay in the first cache; level by level, or all levels would share its few lines


def encode(positions: np.ndarray, table: np.ndarray, levels: Levels, features: int, out: np.ndarray) -> None:
    """positions [B, 3] and table [P], flat, to out [B, L * F], flat; B ≥ 16."""
    workers, counter, apart = worker_count(), np.zeros(1, np.int64), table.size > _CACHED
    target = borrow("hash_features", out.size) if apart else out
    run(_encode, workers, counter, make_scratch(workers), positions, table, levels, target, apart, (0,) * features)
    if apart:
        run(_interleave, workers, target, levels.scales.size, out, (0,) * features)


def table_gradient(
    positions: np.ndarray, given: np.ndarray, levels: Levels, features: int, gradient: np.ndarray
) -> None:
    """The transpose of ``encode``: given [B, L * F] to gradient [P], which is overwritten."""
    workers, counter, apart = worker_count(), np.zeros(1, np.int64), gradient.size > _CACHED
    if apart:
        source = borrow("hash_features", given.size)
        run(_separate, workers, given, levels.scales.size, source, (0,) * features)
        given = source
    run(_scatter, workers, counter, make_scratch(workers), positions, given, levels, gradient, apart, (0,) * features)


def position_gradient(
    positions: np.ndarray, table: np.ndarray, given: np.ndarray, levels: Levels, features: int, gradient: np.ndarray
) -> None:
    """given [B, L * F] to gradient [B, 3], which is overwritten."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_slopes, workers, counter, make_scratch(workers), positions, table, given, levels, gradient, (0,) * features)


@inlined
def _steps(count: int, depth: int, width: int, apart: bool) -> tuple[int, int]:
    """Floats from a sample's features of a level to the next sample's, and to the next level's."""
    return (width, count * width) if apart else (depth * width, width)


@inlined
def _find(positions: Array, at: int, levels: Levels, level: int, buffer: int, indices: Array, weights: Array) -> None:
    """Corners and weights of sixteen samples into one of a worker's buffers."""
    rows = indices[BLOCK * buffer : BLOCK * (buffer + 1)]
    fractions = find_corners(positions, at, levels, level, rows)
    trilinear_weights(fractions, weights[BLOCK * buffer : BLOCK * (buffer + 1)])


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
    apart: bool,
    features: Any,
) -> None:
    """Chunks of samples: of each all levels, or level after level of all chunks if they are kept ``apart``."""
    indices, weights = scratch.indices[worker], scratch.weights[worker]
    count, depth = positions.size // 3, levels.scales.size
    step, level_step = _steps(count, depth, len(features), apart)
    chunks = chunk_count(count)
    while True:
        item = fetch_add(counter, 0)
        if item >= (chunks * depth if apart else chunks):
            break
        begin, end = chunk_bounds(item % chunks, count)
        lowest, highest = (item // chunks, item // chunks + 1) if apart else (0, depth)
        for level in range(lowest, highest):
            first, last = levels.firsts[level], (end + 15) // 16
            for group in range(begin // 16, last, BUFFERS):
                here = min(BUFFERS, last - group)
                for buffer in range(here):
                    at = block_start(group + buffer, count)
                    _find(positions, at, levels, level, buffer, indices, weights)
                for buffer in range(here):
                    place, from_ = block_start(group + buffer, count) * step + level * level_step, BLOCK * buffer
                    for lane in range(16):
                        blend_rows(table, first, indices, from_ + lane, weights, out, place + lane * step, features)


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
    apart: bool,
    features: Any,
) -> None:
    """Levels, the finest first because they take longest."""
    indices, weights = scratch.indices[worker], scratch.weights[worker]
    count, depth = positions.size // 3, levels.scales.size
    step, level_step = _steps(count, depth, len(features), apart)
    while True:
        level = depth - 1 - fetch_add(counter, 0)
        if level < 0:
            break
        first, last = levels.firsts[level], (count + 15) // 16
        gradient[first : first + levels.sizes[level] * len(features)] = np.float32(0.0)
        for group in range(0, last, BUFFERS):
            here = min(BUFFERS, last - group)
            for buffer in range(here):
                at = block_start(group + buffer, count)
                _find(positions, at, levels, level, buffer, indices, weights)
            for buffer in range(here):
                block, from_ = group + buffer, BLOCK * buffer
                at = block_start(block, count)
                place = at * step + level * level_step
                for lane in range(16 * block - at, 16):
                    add_to_rows(gradient, first, indices, from_ + lane, weights, given, place + lane * step, features)


@kernel
def _interleave(worker: int, workers: int, apart: Array, depth: int, out: Array, features: Any) -> None:
    """From [L, B, F] to [B, L, F]."""
    width = len(features)
    count = apart.size // (depth * width)
    first, end = worker * count // workers, (worker + 1) * count // workers
    for begin in range(first, end, _TURNED):
        for level in range(depth):
            for sample in range(begin, min(begin + _TURNED, end)):
                for f in range(width):
                    out[(sample * depth + level) * width + f] = apart[(level * count + sample) * width + f]


@kernel
def _separate(worker: int, workers: int, given: Array, depth: int, apart: Array, features: Any) -> None:
    """From [B, L, F] to [L, B, F]."""
    width = len(features)
    count = apart.size // (depth * width)
    first, end = worker * count // workers, (worker + 1) * count // workers
    for begin in range(first, end, _TURNED):
        for level in range(depth):
            for sample in range(begin, min(begin + _TURNED, end)):
                for f in range(width):
                    apart[(level * count + sample) * width + f] = given[(sample * depth + level) * width + f]


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
