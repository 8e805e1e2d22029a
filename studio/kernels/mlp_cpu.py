"""A small ReLU network on the CPU: all layers of a few hundred samples at a time, which never leave the cache.

Samples are turned feature-major on the way in, and back on the way out. Groups of chunks add up their own gradients to
the weights, which are then summed in order: the result does not depend on which worker did what.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.buffers import borrow
from studio.kernels.compiled import inlined, kernel
from studio.kernels.mlp_simd import (
    OUTER,
    outer_products,
    store_gated,
    store_rectified,
    store_tile,
    tile_products,
    transpose,
)
from studio.kernels.simd import Array, broadcast, lane_sum, lane_sums
from studio.kernels.simd_memory import fetch_add, load, store
from studio.kernels.workers import run, worker_count

CHUNK = 512  # samples
_STEP = CHUNK + 16  # floats from a feature to the next: a power of two would put them all in one set of the cache
_GROUPS = 16  # partial sums of the weights' gradients


class Network(NamedTuple):
    """Weights of K layers, each [out, in] and the biases, with every width a multiple of 16."""

    widths: Array  # [K + 1] int64
    starts: Array  # [K] int64, where a layer's matrix begins
    bias_starts: Array  # [K] int64
    weights: Array  # flat, row-major
    columns: Array  # flat, the same matrices column-major
    biases: Array  # flat
    zeros: Array  # as long as the widest layer


def make_network(widths: list[int], matrices: list[np.ndarray], biases: list[np.ndarray]) -> Network:
    """From matrices [out, in] and biases [out] of widths that are multiples of 16."""
    return Network(
        widths=np.array(widths, np.int64),
        starts=np.cumsum([0, *(matrix.size for matrix in matrices[:-1])]).astype(np.int64),
        bias_starts=np.cumsum([0, *widths[1:-1]]).astype(np.int64),
        weights=np.concatenate([matrix.reshape(-1) for matrix in matrices]),
        columns=np.concatenate([matrix.T.reshape(-1) for matrix in matrices]),
        biases=np.concatenate(biases),
        zeros=np.zeros(max(widths), np.float32),
    )


def forward(network: Network, inputs: np.ndarray, out: np.ndarray, keep: bool) -> np.ndarray:
    """inputs [B, in] to out [B, out], flat; returns the hidden activations if they are to be kept."""
    workers, hidden = worker_count(), int(network.widths[1:-1].sum())
    chunks = -(-(inputs.size // int(network.widths[0])) // CHUNK)
    name, rows = ("mlp_kept", chunks) if keep else ("mlp_passing", workers)
    activations = borrow(name, (rows, hidden * _STEP))
    ends = borrow("mlp_ends", (workers, 2, int(network.widths.max()) * _STEP))
    run(_forward, workers, np.zeros(1, np.int64), network, inputs, out, activations, keep, ends)
    return activations


def backward(
    network: Network,
    inputs: np.ndarray,  # [B, in] flat
    activations: np.ndarray,
    given: np.ndarray,  # [B, out] flat
    by_inputs: np.ndarray,  # [B, in] flat, overwritten
    with_biases: bool,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradients to the matrices and, if they are wanted, to the biases."""
    workers, widest = worker_count(), int(network.widths.max())
    buffers = borrow("mlp_gradients", (workers, 3, widest * _STEP))
    sums = np.zeros((_GROUPS, network.weights.size), np.float32)
    bias_sums = np.zeros((_GROUPS, network.biases.size if with_biases else 0), np.float32)
    counter = np.zeros(1, np.int64)
    run(_backward, workers, counter, network, inputs, activations, given, by_inputs, buffers, sums, bias_sums)
    layers = list(zip(network.widths[:-1], network.widths[1:]))
    matrices = []
    for (width, rows), part in zip(layers, np.split(sums.sum(axis=0), network.starts[1:])):
        tiles = part.reshape(rows // OUTER, width // OUTER, OUTER, OUTER)
        matrices.append(tiles.transpose(0, 2, 1, 3).reshape(rows, width))
    return matrices, np.split(bias_sums.sum(axis=0), network.bias_starts[1:]) if with_biases else []


@inlined
def _to_columns(rows: Array, width: int, first: int, count: int, columns: Array) -> None:
    """Samples first … first + count of [B, width] feature-major, then zeros up to a multiple of 32."""
    whole = count // 16 * 16
    for s in range(0, whole, 16):
        for feature in range(0, width, 16):
            transpose(rows, (first + s) * width + feature, width, columns, feature * _STEP + s, _STEP)
    for feature in range(width):
        for s in range(whole, (count + 31) // 32 * 32):
            inside = s < count
            columns[feature * _STEP + s] = rows[(first + s) * width + feature] if inside else np.float32(0.0)


@inlined
def _to_rows(columns: Array, width: int, first: int, count: int, rows: Array) -> None:
    """The way back."""
    whole = count // 16 * 16
    for s in range(0, whole, 16):
        for feature in range(0, width, 16):
            transpose(columns, feature * _STEP + s, _STEP, rows, (first + s) * width + feature, width)
    for s in range(whole, count):
        for feature in range(width):
            rows[(first + s) * width + feature] = columns[feature * _STEP + s]


@kernel
def _forward(
    worker: int,
    workers: int,
    counter: Array,
    network: Network,
    inputs: Array,
    out: Array,
    activations: Array,
    keep: bool,
    ends: Array,
) -> None:
    widths, layers = network.widths, network.starts.size
    total = inputs.size // widths[0]
    first_in, last_out = ends[worker, 0], ends[worker, 1]
    while True:
        chunk = fetch_add(counter, 0)
        first = chunk * CHUNK
        if first >= total:
            break
        count = min(CHUNK, total - first)
        hidden = activations[chunk if keep else worker]
        _to_columns(inputs, widths[0], first, count, first_in)
        source, read, write = first_in, 0, 0
        for layer in range(layers - 1):
            _apply(network, layer, source, read, hidden, write, count, True)
            source, read = hidden, write
            write += widths[layer + 1] * _STEP
        _apply(network, layers - 1, source, read, last_out, 0, count, False)
        _to_rows(last_out, widths[layers], first, count, out)


@inlined
def _apply(
    network: Network, layer: int, source: Array, read: int, target: Array, write: int, count: int, rectify: bool
) -> None:
    """One layer: features from source[read], to target[write]."""
    width, rows = network.widths[layer], network.widths[layer + 1]
    start, bias = network.starts[layer], network.bias_starts[layer]
    for s in range(0, count, 32):
        for row in range(0, rows, 8):
            tile = tile_products(
                network.biases, bias + row, network.columns, start + row, rows, source, read + s, _STEP, width
            )
            if rectify:
                store_rectified(target, write + row * _STEP + s, _STEP, tile)
            else:
                store_tile(target, write + row * _STEP + s, _STEP, tile)


@kernel
def _backward(
    worker: int,
    workers: int,
    counter: Array,
    network: Network,
    inputs: Array,
    activations: Array,
    given: Array,
    by_inputs: Array,
    buffers: Array,
    sums: Array,
    bias_sums: Array,
) -> None:
    widths, layers = network.widths, network.starts.size
    total = inputs.size // widths[0]
    chunks = (total + CHUNK - 1) // CHUNK
    first_in = buffers[worker, 2]
    while True:
        group = fetch_add(counter, 0)
        if group >= _GROUPS:
            break
        for chunk in range(group * chunks // _GROUPS, (group + 1) * chunks // _GROUPS):
            first = chunk * CHUNK
            count = min(CHUNK, total - first)
            hidden, here, below = activations[chunk], buffers[worker, 0], buffers[worker, 1]
            _to_columns(inputs, widths[0], first, count, first_in)
            _to_columns(given, widths[layers], first, count, here)
            read = hidden.size
            for layer in range(layers - 1, 0, -1):
                read -= widths[layer] * _STEP
                _add_weights(network, layer, here, hidden, read, count, sums[group], bias_sums[group])
                _pull_back(network, layer, here, hidden, read, below, count, True)
                here, below = below, here
            _add_weights(network, 0, here, first_in, 0, count, sums[group], bias_sums[group])
            _pull_back(network, 0, here, first_in, 0, below, count, False)
            _to_rows(below, widths[0], first, count, by_inputs)


@inlined
def _pull_back(
    network: Network, layer: int, given: Array, hidden: Array, read: int, below: Array, count: int, gated: bool
) -> None:
    """Gradient to a layer's outputs to that of its inputs, which were max(0, …) of what came before if ``gated``."""
    width, rows = network.widths[layer], network.widths[layer + 1]
    start = network.starts[layer]
    for s in range(0, count, 32):
        for row in range(0, width, 8):
            tile = tile_products(network.zeros, 0, network.weights, start + row, width, given, s, _STEP, rows)
            if gated:
                store_gated(below, row * _STEP + s, _STEP, tile, hidden, read + row * _STEP + s)
            else:
                store_tile(below, row * _STEP + s, _STEP, tile)


@inlined
def _add_weights(
    network: Network, layer: int, given: Array, source: Array, read: int, count: int, sums: Array, bias_sums: Array
) -> None:
    """Add a chunk's given · sourceᵀ to ``sums``, in tiles of 4 × 4, and ``given`` to ``bias_sums`` unless empty."""
    width, rows = network.widths[layer], network.widths[layer + 1]
    vectors, place = (count + 31) // 32 * 2, network.starts[layer]
    for row in range(0, rows, 4):
        for column in range(0, width, 4):
            products = outer_products(given, row * _STEP, source, read + column * _STEP, _STEP, vectors)
            store(sums, place, load(sums, place) + lane_sums(products))
            place += 16
    for row in range(rows if bias_sums.size > 0 else 0):
        total = broadcast(np.float32(0.0))
        for vector in range(vectors):
            total = total + load(given, row * _STEP + 16 * vector)
        bias_sums[network.bias_starts[layer] + row] += lane_sum(total)
