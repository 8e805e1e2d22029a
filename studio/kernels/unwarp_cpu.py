"""Undoing a warp that is given on a lattice, on the CPU; one point at a time."""

from __future__ import annotations

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array
from studio.kernels.simd_memory import fetch_add
from studio.kernels.workers import run, worker_count

_CHUNK = 2048  # points taken by a worker at a time


def unwarp(points: np.ndarray, index: np.ndarray, volumes: np.ndarray, rounds: int, out: np.ndarray) -> None:
    """points [S * 3] in 0..1, index [S] int64, volumes [C, N, N, N, 3], in the same units, to out [S * 3]."""
    run(_unwarp, worker_count(), np.zeros(1, np.int64), points, index, volumes, rounds, out)


@inlined
def _cell(value: float, side: int) -> tuple[int, float]:
    """The cell of a lattice with ``side`` points that a coordinate is in, and where in it; the outermost go on."""
    place = min(max(np.float64(value), 0.0), 1.0) * (side - 1)
    low = min(np.int64(place), side - 2)
    return low, place - low


@kernel
def _unwarp(
    worker: int, workers: int, counter: Array, points: Array, index: Array, volumes: Array, rounds: int, out: Array
) -> None:
    side, count = volumes.shape[1], index.size
    while True:
        first = fetch_add(counter, 0) * _CHUNK
        if first >= count:
            break
        for s in range(first, min(first + _CHUNK, count)):
            x, y, z = points[3 * s], points[3 * s + 1], points[3 * s + 2]
            px, py, pz = np.float64(x), np.float64(y), np.float64(z)
            for _ in range(rounds):
                i, fx = _cell(px, side)
                j, fy = _cell(py, side)
                k, fz = _cell(pz, side)
                dx, dy, dz = 0.0, 0.0, 0.0
                for corner in range(8):
                    a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
                    share = (fx if a else 1.0 - fx) * (fy if b else 1.0 - fy) * (fz if c else 1.0 - fz)
                    dx += share * volumes[index[s], i + a, j + b, k + c, 0]
                    dy += share * volumes[index[s], i + a, j + b, k + c, 1]
                    dz += share * volumes[index[s], i + a, j + b, k + c, 2]
                px, py, pz = x - dx, y - dy, z - dz
            out[3 * s], out[3 * s + 1], out[3 * s + 2] = np.float32(px), np.float32(py), np.float32(pz)
