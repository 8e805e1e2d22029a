"""Ray marching and volume rendering on the CPU, over flat arrays; a ray's samples stand one after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.march_simd import (
    lane,
    load3_head,
    load_head,
    remaining_sum,
    running_sum,
    shift,
    shift_back,
    store3_head,
    store_head,
)
from studio.kernels.simd import Array, Vector, broadcast, exp2, fma, lane_sum, lane_sums, minimum, select
from studio.kernels.simd_memory import fetch_add
from studio.kernels.workers import run, worker_count

_RAYS = 64  # taken by a worker at a time
_LOG2_E, _LN_2 = 1.4426950408889634, 0.6931471805599453
_FARTHEST = 125.0  # doublings: beyond, 2^-x is as good as nothing


class Box(NamedTuple):
    """The occupancy grid and the step."""

    occupied: Array  # [X * Y * Z] bool, z fastest
    cells: Array  # [3] int64
    lower: Array  # [3] float64
    upper: Array  # [3] float64
    step: float
    near: float
    far: float


class Volume(NamedTuple):
    """Samples in order of their rays."""

    offsets: Array  # [R + 1] int64
    starts: Array  # [S]
    ends: Array  # [S]
    densities: Array  # [S]
    rgb: Array  # [S * 3]


class Rendered(NamedTuple):
    """What the forward pass leaves."""

    rgb: Array  # [R * 3]
    alpha: Array  # [R]
    distance: Array  # [R] Σ w t
    weights: Array  # [S]
    after: Array  # [S] transmittance behind each sample


class Cotangents(NamedTuple):
    """Gradients to what was rendered."""

    rgb: Array  # [R * 3]
    alpha: Array  # [R]
    distance: Array  # [R]
    weights: Array  # [S], or empty


def march(origins: np.ndarray, directions: np.ndarray, jitter: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Offsets [R + 1] of the rays' samples and each sample's number [S] in its ray's sequence of steps."""
    workers, rays = worker_count(), len(jitter)
    offsets, nothing = np.zeros(rays + 1, np.int64), np.zeros(0, np.int32)
    run(_march, workers, np.zeros(1, np.int64), origins, directions, jitter, box, offsets, nothing, False)
    np.cumsum(offsets, out=offsets)
    numbers = np.empty(offsets[-1], np.int32)
    run(_march, workers, np.zeros(1, np.int64), origins, directions, jitter, box, offsets, numbers, True)
    return offsets, numbers


def render(volume: Volume, rendered: Rendered) -> None:
    """Fill ``rendered``."""
    run(_render, worker_count(), np.zeros(1, np.int64), volume, rendered)


def render_backward(
    volume: Volume, rendered: Rendered, given: Cotangents, by_densities: np.ndarray, by_rgb: np.ndarray
) -> None:
    """Fill the gradients to densities [S] and colours [S * 3]."""
    run(_render_backward, worker_count(), np.zeros(1, np.int64), volume, rendered, given, by_densities, by_rgb)


@inlined
def _span(origins: Array, directions: Array, ray: int, box: Box) -> tuple[float, float]:
    """Where a ray is inside the box and between near and far; empty if the second is not larger."""
    enter, leave = box.near, box.far
    for axis in range(3):
        o, d = np.float64(origins[3 * ray + axis]), np.float64(directions[3 * ray + axis])
        if d != 0.0:
            a, b = (box.lower[axis] - o) / d, (box.upper[axis] - o) / d
            enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
        elif not (box.lower[axis] <= o < box.upper[axis]):
            leave = enter
    return enter, leave


@inlined
def _cell_and_exit(origins: Array, directions: Array, ray: int, t: float, box: Box) -> tuple[int, float]:
    """The cell that a ray is in at t, and where it leaves that cell."""
    index, leave = 0, np.inf
    for axis in range(3):
        o, d = np.float64(origins[3 * ray + axis]), np.float64(directions[3 * ray + axis])
        size = (box.upper[axis] - box.lower[axis]) / box.cells[axis]
        cell = np.int64(np.floor((o + t * d - box.lower[axis]) / size))
        cell = min(max(cell, 0), box.cells[axis] - 1)
        index = index * box.cells[axis] + cell
        if d != 0.0:
            face = box.lower[axis] + size * (cell + (1 if d > 0.0 else 0))
            leave = min(leave, (face - o) / d)
    return index, leave


@kernel
def _march(
    worker: int,
    workers: int,
    counter: Array,
    origins: Array,
    directions: Array,
    jitter: Array,
    box: Box,
    offsets: Array,
    numbers: Array,
    fill: bool,
) -> None:
    """Count the samples of ray r in offsets[r + 1], or write their numbers from offsets[r]."""
    while True:
        first = fetch_add(counter, 0) * _RAYS
        if first >= jitter.size:
            break
        for ray in range(first, min(first + _RAYS, jitter.size)):
            enter, leave = _span(origins, directions, ray, box)
            start = box.near + box.step * np.float64(jitter[ray])
            number, found, place = np.int64(max(np.ceil((enter - start) / box.step - 0.5), 0.0)), 0, offsets[ray]
            while True:
                t = start + (number + 0.5) * box.step
                if not t < leave:
                    break
                cell, out = _cell_and_exit(origins, directions, ray, t, box)
                if box.occupied[cell]:
                    if fill:
                        numbers[place + found] = number
                    found += 1
                    number += 1
                else:  # a little early rather than late: each sample's own cell decides
                    number = max(number + 1, np.int64(np.ceil((min(out, leave) - start) / box.step - 0.5 - 1e-6)))
            if not fill:
                offsets[ray + 1] = found


@inlined
def _optical_depth(volume: Volume, at: int, count: int) -> Vector:
    """Density times length, in doublings."""
    length = load_head(volume.ends, at, count) - load_head(volume.starts, at, count)
    return load_head(volume.densities, at, count) * length * _LOG2_E


@inlined
def _opacity(depth: Vector) -> Vector:
    """1 - 2^-depth; for small depths by the series of 1 - exp(-x), because the difference would lose their digits."""
    x = depth * _LN_2
    series = x * fma(x, fma(x, fma(x, -1.0 / 24.0, 1.0 / 6.0), -0.5), 1.0)
    return select(x < 0.05, series, 1.0 - exp2(-minimum(depth, _FARTHEST)))


@kernel
def _render(worker: int, workers: int, counter: Array, volume: Volume, rendered: Rendered) -> None:
    rays = volume.offsets.size - 1
    while True:
        first = fetch_add(counter, 0) * _RAYS
        if first >= rays:
            break
        for ray in range(first, min(first + _RAYS, rays)):
            zero = broadcast(np.float32(0.0))
            before, red, green, blue, alpha, distance = np.float32(0.0), zero, zero, zero, zero, zero
            for at in range(volume.offsets[ray], volume.offsets[ray + 1], 16):
                count = volume.offsets[ray + 1] - at
                depth = _optical_depth(volume, at, count)
                total = running_sum(depth)
                reached = exp2(-minimum(shift(total) + before, _FARTHEST))
                weight = reached * _opacity(depth)
                store_head(rendered.weights, at, count, weight)
                store_head(rendered.after, at, count, exp2(-minimum(total + before, _FARTHEST)))
                r, g, b = load3_head(volume.rgb, 3 * at, count)
                middle = 0.5 * (load_head(volume.starts, at, count) + load_head(volume.ends, at, count))
                red, green, blue = fma(weight, r, red), fma(weight, g, green), fma(weight, b, blue)
                alpha, distance = alpha + weight, fma(weight, middle, distance)
                before = before + lane(total, 15)
            sums = lane_sums((red, green, blue, alpha, distance))
            rendered.rgb[3 * ray], rendered.rgb[3 * ray + 1] = lane(sums, 0), lane(sums, 1)
            rendered.rgb[3 * ray + 2], rendered.alpha[ray] = lane(sums, 2), lane(sums, 3)
            rendered.distance[ray] = lane(sums, 4)


@kernel
def _render_backward(
    worker: int,
    workers: int,
    counter: Array,
    volume: Volume,
    rendered: Rendered,
    given: Cotangents,
    by_densities: Array,
    by_rgb: Array,
) -> None:
    """Back to front: a sample's density lets less through to all that is behind it."""
    rays = volume.offsets.size - 1
    while True:
        first = fetch_add(counter, 0) * _RAYS
        if first >= rays:
            break
        for ray in range(first, min(first + _RAYS, rays)):
            begin, end = volume.offsets[ray], volume.offsets[ray + 1]
            g_red, g_green, g_blue = given.rgb[3 * ray], given.rgb[3 * ray + 1], given.rgb[3 * ray + 2]
            behind = np.float32(0.0)
            for back in range(0, end - begin, 16):
                at = begin + (end - begin - 1) // 16 * 16 - back
                count = end - at
                starts, ends = load_head(volume.starts, at, count), load_head(volume.ends, at, count)
                r, g, b = load3_head(volume.rgb, 3 * at, count)
                weight = load_head(rendered.weights, at, count)
                slope = fma(g_red, r, fma(g_green, g, fma(g_blue, b, broadcast(given.alpha[ray]))))
                slope = fma(given.distance[ray], 0.5 * (starts + ends), slope)
                if given.weights.size > 0:
                    slope = slope + load_head(given.weights, at, count)
                share = weight * slope
                hidden = shift_back(remaining_sum(share)) + behind
                after = load_head(rendered.after, at, count)
                store_head(by_densities, at, count, (ends - starts) * fma(slope, after, -hidden))
                store3_head(by_rgb, 3 * at, count, g_red * weight, g_green * weight, g_blue * weight)
                behind = behind + lane_sum(share)
