"""Undoing a warp that is given on lattices, on the CPU; one point at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array
from studio.kernels.simd_memory import fetch_add
from studio.kernels.workers import run, worker_count

_CHUNK = 1024  # points taken by a worker at a time


class Limits(NamedTuple):
    """See the constants of ``studio.kernels.unwarp``."""

    rounds: int
    near: float
    slack: float
    steep: float


class Volumes(NamedTuple):
    """See ``studio.kernels.unwarp.Warps``."""

    whole: Array  # [C, N, N, N, 3]
    halves: Array  # [C, P, 2, M, M, M, 3]
    depths: Array  # [P, 2, M, M, M]
    boxes: Array  # [P, 2, 3]
    starts: Array  # [C, G, G, G, 3]
    half_starts: Array  # [C, P, 2, K, K, K, 3]


def unwarp(
    points: np.ndarray,  # [S * 3] in 0..1
    index: np.ndarray,  # [S] int64
    volumes: Volumes,
    limits: Limits,
    out: np.ndarray,  # [S * 3]
    there: np.ndarray,  # [S] bool
) -> None:
    """Where the points come from, and whether they come from anywhere; see ``studio.kernels.unwarp``."""
    counter = np.zeros(1, np.int64)
    run(_unwarp, worker_count(), counter, points, index, volumes, limits, out, there)


@inlined
def _cell(value: float, low: float, scale: float, side: int) -> tuple[int, float, float]:
    """The cell of a lattice with ``side`` points that a coordinate is in, where in it, and the slope of that."""
    place = (value - low) * scale
    slope = scale if 0.0 <= place <= side - 1 else 0.0
    place = min(max(place, 0.0), float(side - 1))
    cell = min(np.int64(place), side - 2)
    return cell, place - cell, slope


@kernel
def _depth(depths: Array, lower: Array, upper: Array, x: float, y: float, z: float) -> float:
    """Interpolated over a box."""
    side = depths.shape[0]
    i, fx, _ = _cell(x, lower[0], (side - 1) / (upper[0] - lower[0]), side)
    j, fy, _ = _cell(y, lower[1], (side - 1) / (upper[1] - lower[1]), side)
    k, fz, _ = _cell(z, lower[2], (side - 1) / (upper[2] - lower[2]), side)
    total = 0.0
    for a in range(2):
        for b in range(2):
            near = depths[i + a, j + b, k] + fz * (depths[i + a, j + b, k + 1] - depths[i + a, j + b, k])
            total += (fx if a else 1.0 - fx) * (fy if b else 1.0 - fy) * near
    return total


@kernel
def _solve(
    x: float, y: float, z: float, volume: Array, starts: Array, lower: Array, upper: Array, limits: Limits
) -> tuple[float, float, float, float]:
    """Where a point comes from, and by how much that misses."""
    side = volume.shape[0]
    scale_x = (side - 1) / (upper[0] - lower[0])
    scale_y = (side - 1) / (upper[1] - lower[1])
    scale_z = (side - 1) / (upper[2] - lower[2])
    cells = starts.shape[0]
    i = min(max(np.int64((x - lower[0]) / (upper[0] - lower[0]) * cells), 0), cells - 1)
    j = min(max(np.int64((y - lower[1]) / (upper[1] - lower[1]) * cells), 0), cells - 1)
    k = min(max(np.int64((z - lower[2]) / (upper[2] - lower[2]) * cells), 0), cells - 1)
    px, py, pz = x - starts[i, j, k, 0], y - starts[i, j, k, 1], z - starts[i, j, k, 2]
    best_x, best_y, best_z, least = px, py, pz, np.inf
    for _ in range(limits.rounds + 1):
        i, fx, sx = _cell(px, lower[0], scale_x, side)
        j, fy, sy = _cell(py, lower[1], scale_y, side)
        k, fz, sz = _cell(pz, lower[2], scale_z, side)
        d0, d1, d2 = 0.0, 0.0, 0.0
        j00, j01, j02, j10, j11, j12, j20, j21, j22 = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0
        for corner in range(8):
            a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
            wx, wy, wz = fx if a else 1.0 - fx, fy if b else 1.0 - fy, fz if c else 1.0 - fz
            v0 = volume[i + a, j + b, k + c, 0]
            v1 = volume[i + a, j + b, k + c, 1]
            v2 = volume[i + a, j + b, k + c, 2]
            w = wx * wy * wz
            d0, d1, d2 = d0 + w * v0, d1 + w * v1, d2 + w * v2
            ux = (sx if a else -sx) * wy * wz
            uy = (sy if b else -sy) * wx * wz
            uz = (sz if c else -sz) * wx * wy
            j00, j01, j02 = j00 + ux * v0, j01 + uy * v0, j02 + uz * v0
            j10, j11, j12 = j10 + ux * v1, j11 + uy * v1, j12 + uz * v1
            j20, j21, j22 = j20 + ux * v2, j21 + uy * v2, j22 + uz * v2
        rx, ry, rz = px + d0 - x, py + d1 - y, pz + d2 - z
        far = max(abs(rx), abs(ry), abs(rz))
        if far < least:
            best_x, best_y, best_z, least = px, py, pz, far
        if least <= limits.near:
            break
        c0, c1, c2 = j11 * j22 - j12 * j21, j12 * j20 - j10 * j22, j10 * j21 - j11 * j20
        det = j00 * c0 + j01 * c1 + j02 * c2
        if det >= limits.steep:
            inverse = 1.0 / det
            e0, e1, e2 = j02 * j21 - j01 * j22, j00 * j22 - j02 * j20, j01 * j20 - j00 * j21
            g0, g1, g2 = j01 * j12 - j02 * j11, j02 * j10 - j00 * j12, j00 * j11 - j01 * j10
            px -= inverse * (c0 * rx + e0 * ry + g0 * rz)
            py -= inverse * (c1 * rx + e1 * ry + g1 * rz)
            pz -= inverse * (c2 * rx + e2 * ry + g2 * rz)
        else:
            px, py, pz = px - rx, py - ry, pz - rz
    return best_x, best_y, best_z, least


@inlined
def _part(boxes: Array, x: float, y: float, z: float) -> int:
    """The first of the boxes that a point is in, or -1."""
    for p in range(boxes.shape[0]):
        low, high = boxes[p, 0], boxes[p, 1]
        if low[0] <= x <= high[0] and low[1] <= y <= high[1] and low[2] <= z <= high[2]:
            return p
    return -1


@kernel
def _unwarp(
    worker: int,
    workers: int,
    counter: Array,
    points: Array,
    index: Array,
    volumes: Volumes,
    limits: Limits,
    out: Array,
    there: Array,
) -> None:
    count, zeros, ones = index.size, np.zeros(3, np.float32), np.ones(3, np.float32)
    boxes, depths, halves, half_starts = volumes.boxes, volumes.depths, volumes.halves, volumes.half_starts
    while True:
        first = fetch_add(counter, 0) * _CHUNK
        if first >= count:
            break
        for s in range(first, min(first + _CHUNK, count)):
            x, y, z = np.float64(points[3 * s]), np.float64(points[3 * s + 1]), np.float64(points[3 * s + 2])
            part = _part(boxes, x, y, z)
            code, there[s] = index[s], True
            if part < 0:
                px, py, pz, _ = _solve(x, y, z, volumes.whole[code], volumes.starts[code], zeros, ones, limits)
            else:
                low, high = boxes[part, 0], boxes[part, 1]
                own, starts = halves[code, part], half_starts[code, part]
                px, py, pz, missed = _solve(x, y, z, own[0], starts[0], low, high, limits)
                depth = _depth(depths[part, 0], low, high, px, py, pz) if missed <= limits.slack else -np.inf
                qx, qy, qz, missed = _solve(x, y, z, own[1], starts[1], low, high, limits)
                other = _depth(depths[part, 1], low, high, qx, qy, qz) if missed <= limits.slack else -np.inf
                if other > depth:
                    px, py, pz, depth = qx, qy, qz, other
                there[s] = depth >= -limits.slack
            out[3 * s], out[3 * s + 1], out[3 * s + 2] = np.float32(px), np.float32(py), np.float32(pz)
