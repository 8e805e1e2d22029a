"""Ensembles of hash grids on the CPU; the H tables' rows stand together, so that one look-up serves them all.

Either the tables are blended once, which streams through them, or every sample blends the rows that it meets. A row of
all tables has W = H · F floats, a multiple of 16; weights are given for every float of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from studio.kernels.buffers import borrow
from studio.kernels.compiled import inlined, kernel
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
from studio.kernels.hash_simd import spread, store_folded, stream
from studio.kernels.simd import Array, Vector, broadcast, fma, lane_numbers, lane_sum, select
from studio.kernels.simd_memory import fetch_add, load, load3, store, store3
from studio.kernels.workers import run, worker_count

_GROUPS = 64  # of rows, each with its own sum for the gradient to the weights


class Ensemble(NamedTuple):
    """What every kernel of the ensemble reads."""

    positions: Array  # [B * 3]
    tables: Array  # [rows * W]
    weights: Array  # [C * W]
    codes: Array  # [B] int64, which weights a sample has
    levels: Levels  # with the first row of each level in place of its first float


def blend(tables: np.ndarray, weights: np.ndarray, features: int, out: np.ndarray) -> None:
    """Σ over the tables of weight · row: tables [rows * W], weights [W], out [rows * F]."""
    run(_blend, worker_count(), np.zeros(1, np.int64), tables, weights, out, (0,) * features)


def blend_backward(
    tables: np.ndarray, weights: np.ndarray, given: np.ndarray, features: int, by_tables: np.ndarray
) -> np.ndarray:
    """given [rows * F] to by_tables [rows * W], overwritten and aligned to 64 bytes; returns by_weights [W]."""
    sums, counter = np.zeros((_GROUPS, weights.size), np.float32), np.zeros(1, np.int64)
    run(_blend_backward, worker_count(), counter, tables, weights, given, by_tables, sums, (0,) * features)
    return np.asarray(sums.sum(axis=0))


def encode(ensemble: Ensemble, features: int, out: np.ndarray) -> None:
    """Features [B, L * F]."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_encode, workers, counter, make_scratch(workers), ensemble, out, (0,) * features)


def table_gradient(ensemble: Ensemble, given: np.ndarray, features: int, gradient: np.ndarray) -> None:
    """given [B, L * F] to gradient [rows * W], which is overwritten."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    run(_scatter, workers, counter, make_scratch(workers), ensemble, given, gradient, (0,) * features)


def sample_gradients(
    ensemble: Ensemble, given: np.ndarray, features: int, by_weights: np.ndarray, by_positions: np.ndarray
) -> None:
    """given [B, L * F] to by_weights [B, W], for each sample by itself, and by_positions [B, 3]; both overwritten."""
    workers, counter = worker_count(), np.zeros(1, np.int64)
    mixed = borrow("ensemble_rows", (workers, ensemble.weights.size))
    run(
        _slopes, workers, counter, make_scratch(workers), mixed, ensemble, given, by_weights, by_positions,
        (0,) * features,
    )  # fmt: skip


@kernel
def _blend(worker: int, workers: int, counter: Array, tables: Array, weights: Array, out: Array, features: Any) -> None:
    width, rows = weights.size, tables.size // weights.size
    while True:
        group = fetch_add(counter, 0)
        if group >= _GROUPS:
            break
        for row in range(group * rows // _GROUPS, (group + 1) * rows // _GROUPS):
            total = broadcast(np.float32(0.0))
            for place in range(0, width, 16):
                total = fma(load(tables, row * width + place), load(weights, place), total)
            store_folded(out, row * len(features), total, features)


@kernel
def _blend_backward(
    worker: int,
    workers: int,
    counter: Array,
    tables: Array,
    weights: Array,
    given: Array,
    by_tables: Array,
    sums: Array,
    features: Any,
) -> None:
    width, rows = weights.size, tables.size // weights.size
    while True:
        group = fetch_add(counter, 0)
        if group >= _GROUPS:
            break
        own = sums[group]
        for row in range(group * rows // _GROUPS, (group + 1) * rows // _GROUPS):
            cotangent = spread(given, row * len(features), features)
            for place in range(0, width, 16):
                stream(by_tables, row * width + place, cotangent * load(weights, place))
                store(own, place, fma(cotangent, load(tables, row * width + place), load(own, place)))


@inlined
def _mixed(tables: Array, first: int, width: int, place: int, scratch: Scratch, worker: int, lane: int) -> Vector:
    """Sixteen floats of the rows of a sample's eight corners, interpolated."""
    indices, weights = scratch.indices[worker], scratch.weights[worker]
    total = broadcast(np.float32(0.0))
    for corner in range(0, 128, 16):
        row = first + np.int64(indices[corner + lane])
        total = fma(weights[corner + lane], load(tables, row * width + place), total)
    return total


@kernel
def _encode(
    worker: int, workers: int, counter: Array, scratch: Scratch, ensemble: Ensemble, out: Array, features: Any
) -> None:
    positions, levels, tables = ensemble.positions, ensemble.levels, ensemble.tables
    count, channels = positions.size // 3, len(features) * levels.scales.size
    width = tables.size // (levels.firsts[-1] + levels.sizes[-1])
    while True:
        begin, end = chunk_bounds(fetch_add(counter, 0), count)
        if begin >= end:
            break
        for level in range(levels.scales.size):
            first = levels.firsts[level]
            for block in range(begin // 16, (end + 15) // 16):
                at = block_start(block, count)
                trilinear_weights(
                    find_corners(positions, at, levels, level, scratch.indices[worker]), scratch.weights[worker]
                )
                for lane in range(16):
                    total, own = broadcast(np.float32(0.0)), ensemble.codes[at + lane] * width
                    for place in range(0, width, 16):
                        mixed = _mixed(tables, first, width, place, scratch, worker, lane)
                        total = fma(mixed, load(ensemble.weights, own + place), total)
                    store_folded(out, (at + lane) * channels + level * len(features), total, features)


@kernel
def _scatter(
    worker: int,
    workers: int,
    counter: Array,
    scratch: Scratch,
    ensemble: Ensemble,
    given: Array,
    gradient: Array,
    features: Any,
) -> None:
    """Levels, the finest first because they take longest."""
    indices, weights = scratch.indices[worker], scratch.weights[worker]
    positions, levels = ensemble.positions, ensemble.levels
    count, channels = positions.size // 3, len(features) * levels.scales.size
    width = gradient.size // (levels.firsts[-1] + levels.sizes[-1])
    while True:
        level = levels.scales.size - 1 - fetch_add(counter, 0)
        if level < 0:
            break
        first = levels.firsts[level]
        gradient[first * width : (first + levels.sizes[level]) * width] = np.float32(0.0)
        for block in range((count + 15) // 16):
            at = block_start(block, count)
            trilinear_weights(find_corners(positions, at, levels, level, indices), weights)
            for lane in range(16 * block - at, 16):
                cotangent = spread(given, (at + lane) * channels + level * len(features), features)
                own = ensemble.codes[at + lane] * width
                for corner in range(0, 128, 16):
                    row = (first + np.int64(indices[corner + lane])) * width
                    amount = cotangent * weights[corner + lane]
                    for place in range(0, width, 16):
                        share = fma(amount, load(ensemble.weights, own + place), load(gradient, row + place))
                        store(gradient, row + place, share)


@kernel
def _slopes(
    worker: int,
    workers: int,
    counter: Array,
    scratch: Scratch,
    mixed: Array,
    ensemble: Ensemble,
    given: Array,
    by_weights: Array,
    by_positions: Array,
    features: Any,
) -> None:
    """Chunks of samples, level by level."""
    indices, dots, pulled = scratch.indices[worker], scratch.dots[worker], mixed[worker]
    positions, levels, tables = ensemble.positions, ensemble.levels, ensemble.tables
    count, channels = positions.size // 3, len(features) * levels.scales.size
    width, lanes = by_weights.size // count, lane_numbers()
    while True:
        begin, end = chunk_bounds(fetch_add(counter, 0), count)
        if begin >= end:
            break
        by_weights[begin * width : end * width] = np.float32(0.0)
        by_positions[3 * begin : 3 * end] = np.float32(0.0)
        for level in range(levels.scales.size):
            first, scale = levels.firsts[level], broadcast(levels.scales[level])
            for block in range(begin // 16, (end + 15) // 16):
                at = block_start(block, count)
                skip = 16 * block - at
                fractions = find_corners(positions, at, levels, level, indices)
                trilinear_weights(fractions, scratch.weights[worker])
                for lane in range(16):
                    cotangent = spread(given, (at + lane) * channels + level * len(features), features)
                    own = ensemble.codes[at + lane] * width
                    for place in range(0, width, 16):
                        store(pulled, place, cotangent * load(ensemble.weights, own + place))
                        if lane >= skip:
                            slope = cotangent * _mixed(tables, first, width, place, scratch, worker, lane)
                            own_place = (at + lane) * width + place
                            store(by_weights, own_place, load(by_weights, own_place) + slope)
                    for corner in range(0, 128, 16):
                        row, total = first + np.int64(indices[corner + lane]), broadcast(np.float32(0.0))
                        for place in range(0, width, 16):
                            total = fma(load(tables, row * width + place), load(pulled, place), total)
                        dots[corner + lane] = lane_sum(total)
                x, y, z = weight_slopes(fractions, dots)
                fresh = select(lanes >= np.float32(skip), scale, 0.0)
                sum_x, sum_y, sum_z = load3(by_positions, 3 * at)
                store3(by_positions, 3 * at, fma(fresh, x, sum_x), fma(fresh, y, sum_y), fma(fresh, z, sum_z))
