"""Windowed frequency encoding and screw motions of many points on the CPU, over flat arrays; one point at a time.

All sines of a point come from three, by doubling the angle; motions are computed in float64, where no term cancels.
"""

from __future__ import annotations

import math

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array
from studio.kernels.simd_memory import fetch_add
from studio.kernels.workers import run, worker_count

_CHUNK = 2048  # points taken by a worker at a time
_SMALL = 1e-2  # squared angle below which the coefficients of a rotation are taken from their series


def encode(points: np.ndarray, codes: np.ndarray, index: np.ndarray, window: np.ndarray, out: np.ndarray) -> None:
    """points [S * 3], codes [C, D], index [S] int64 and window [K] to out [S, W], W at least 3 + 6 K + D."""
    run(_encode, worker_count(), np.zeros(1, np.int64), points, codes, index, window, out)


def move(points: np.ndarray, screws: np.ndarray, out: np.ndarray) -> None:
    """points [S * 3] moved by screws [S, W], of whose rows the first six count, to out [S * 3]."""
    run(_move, worker_count(), np.zeros(1, np.int64), points, screws, out)


def move_backward(
    points: np.ndarray, screws: np.ndarray, given: np.ndarray, by_points: np.ndarray, by_screws: np.ndarray
) -> None:
    """Fill the gradients [S * 3] and [S, W]."""
    run(_move_backward, worker_count(), np.zeros(1, np.int64), points, screws, given, by_points, by_screws)


@kernel
def _encode(
    worker: int, workers: int, counter: Array, points: Array, codes: Array, index: Array, window: Array, out: Array
) -> None:
    count, width, bands, size = out.shape[0], out.shape[1], window.size, codes.shape[1]
    while True:
        first = fetch_add(counter, 0) * _CHUNK
        if first >= count:
            break
        for s in range(first, min(first + _CHUNK, count)):
            for axis in range(3):
                value = points[3 * s + axis]
                out[s, axis] = value
                angle = math.pi * np.float64(value)
                sine, cosine = np.float32(math.sin(angle)), np.float32(math.cos(angle))
                for band in range(bands):
                    place = 3 + 6 * band + axis
                    out[s, place], out[s, place + 3] = window[band] * sine, window[band] * cosine
                    sine, cosine = np.float32(2.0) * sine * cosine, cosine * cosine - sine * sine
            start, code = 3 + 6 * bands, index[s]
            for column in range(size):
                out[s, start + column] = codes[code, column]
            for column in range(start + size, width):
                out[s, column] = np.float32(0.0)


@inlined
def _coefficients(square: float) -> tuple[float, float, float, float, float, float]:
    """sin θ / θ, (1 - cos θ) / θ², (θ - sin θ) / θ³ and their derivatives to θ²."""
    if square < _SMALL:
        a = 1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0))
        b = 0.5 - square / 24.0 * (1.0 - square / 30.0 * (1.0 - square / 56.0))
        c = 1.0 / 6.0 - square / 120.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0))
        da = -1.0 / 6.0 + square / 60.0 - square * square / 1680.0
        db = -1.0 / 24.0 + square / 360.0 - square * square / 13440.0
        dc = -1.0 / 120.0 + square / 2520.0 - square * square / 120960.0
    else:
        angle = math.sqrt(square)
        sine, cosine = math.sin(angle), math.cos(angle)
        a, b = sine / angle, (1.0 - cosine) / square
        c = (1.0 - a) / square
        da, db = (cosine - a) / (2.0 * square), (0.5 * a - b) / square
        dc = (-da - c) / square
    return a, b, c, da, db, dc


@inlined
def _cross(ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> tuple[float, float, float]:
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@kernel
def _move(worker: int, workers: int, counter: Array, points: Array, screws: Array, out: Array) -> None:
    """x + v + w × (a x + b v) + w × (w × (b x + c v))."""
    count = screws.shape[0]
    while True:
        first = fetch_add(counter, 0) * _CHUNK
        if first >= count:
            break
        for s in range(first, min(first + _CHUNK, count)):
            x, y, z = np.float64(points[3 * s]), np.float64(points[3 * s + 1]), np.float64(points[3 * s + 2])
            wx, wy, wz = np.float64(screws[s, 0]), np.float64(screws[s, 1]), np.float64(screws[s, 2])
            vx, vy, vz = np.float64(screws[s, 3]), np.float64(screws[s, 4]), np.float64(screws[s, 5])
            a, b, c, _, _, _ = _coefficients(wx * wx + wy * wy + wz * wz)
            qx, qy, qz = _cross(wx, wy, wz, b * x + c * vx, b * y + c * vy, b * z + c * vz)
            px, py, pz = a * x + b * vx + qx, a * y + b * vy + qy, a * z + b * vz + qz
            tx, ty, tz = _cross(wx, wy, wz, px, py, pz)
            out[3 * s] = np.float32(x + vx + tx)
            out[3 * s + 1] = np.float32(y + vy + ty)
            out[3 * s + 2] = np.float32(z + vz + tz)


@kernel
def _move_backward(
    worker: int,
    workers: int,
    counter: Array,
    points: Array,
    screws: Array,
    given: Array,
    by_points: Array,
    by_screws: Array,
) -> None:
    count, width = screws.shape
    while True:
        first = fetch_add(counter, 0) * _CHUNK
        if first >= count:
            break
        for s in range(first, min(first + _CHUNK, count)):
            x, y, z = np.float64(points[3 * s]), np.float64(points[3 * s + 1]), np.float64(points[3 * s + 2])
            gx, gy, gz = np.float64(given[3 * s]), np.float64(given[3 * s + 1]), np.float64(given[3 * s + 2])
            wx, wy, wz = np.float64(screws[s, 0]), np.float64(screws[s, 1]), np.float64(screws[s, 2])
            vx, vy, vz = np.float64(screws[s, 3]), np.float64(screws[s, 4]), np.float64(screws[s, 5])
            a, b, c, da, db, dc = _coefficients(wx * wx + wy * wy + wz * wz)
            px, py, pz = a * x + b * vx, a * y + b * vy, a * z + b * vz
            qx, qy, qz = b * x + c * vx, b * y + c * vy, b * z + c * vz
            ux, uy, uz = _cross(wx, wy, wz, qx, qy, qz)
            hx, hy, hz = _cross(gx, gy, gz, wx, wy, wz)  # gradient to p
            kx, ky, kz = _cross(hx, hy, hz, wx, wy, wz)  # gradient to q
            by_a = hx * x + hy * y + hz * z
            by_b = hx * vx + hy * vy + hz * vz + kx * x + ky * y + kz * z
            by_c = kx * vx + ky * vy + kz * vz
            slope = 2.0 * (by_a * da + by_b * db + by_c * dc)
            ax, ay, az = _cross(px + ux, py + uy, pz + uz, gx, gy, gz)
            ex, ey, ez = _cross(qx, qy, qz, hx, hy, hz)
            by_points[3 * s] = np.float32(gx + a * hx + b * kx)
            by_points[3 * s + 1] = np.float32(gy + a * hy + b * ky)
            by_points[3 * s + 2] = np.float32(gz + a * hz + b * kz)
            by_screws[s, 0] = np.float32(ax + ex + slope * wx)
            by_screws[s, 1] = np.float32(ay + ey + slope * wy)
            by_screws[s, 2] = np.float32(az + ez + slope * wz)
            by_screws[s, 3] = np.float32(gx + b * hx + c * kx)
            by_screws[s, 4] = np.float32(gy + b * hy + c * ky)
            by_screws[s, 5] = np.float32(gz + b * hz + c * kz)
            for column in range(6, width):
                by_screws[s, column] = np.float32(0.0)
