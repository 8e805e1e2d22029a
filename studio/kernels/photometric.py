"""The training loss of images, L1 and SSIM in one pass with its analytic gradient, and SSIM maps for evaluation.

SSIM as in the splatting literature (Wang et al., 2004): an 11 × 11 Gaussian window with σ = 1.5 pixels, zeros outside
the image, C₁ = 0.01², C₂ = 0.03², each channel by itself. Images stay interleaved: in a row of 3 W floats the next
pixel's value is 3 further on. Each pass filters vertically into one row of scratch, and that row horizontally.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.buffers import borrow
from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array, Vector, absolute, broadcast, fma, lane_numbers, lane_sum, select
from studio.kernels.simd_memory import fetch_add, load, store, store3
from studio.kernels.workers import run, worker_count

RADIUS = 5
_BAND = 8  # image rows that a worker takes at a time
_PAD = 16  # zeros on both sides of a scratch row, at least 3 * RADIUS
LEAST_WIDTH = 16  # pixels; narrower images get columns of weight 0
_TAPS = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / 1.5) ** 2)
_WINDOW = (_TAPS / _TAPS.sum()).astype(np.float32)


class Problem(NamedTuple):
    """Flat float32 arrays of B images of H rows of 3 W values."""

    render: np.ndarray  # [B * H * W * 3]
    target: np.ndarray  # [B * H * W * 3]
    weight: np.ndarray  # [B * H * W], or a single number for all
    window: np.ndarray  # [11] sums to 1
    rows: int  # B * H
    height: int  # H
    width: int  # W, at least 16


def photometric_loss(
    render: Tensor,  # [B, H, W, 3]
    target: Tensor,  # [B, H, W, 3]
    weight: Tensor | None = None,  # [B, H, W] ≥ 0
    ssim_weight: float = 0.2,
) -> Tensor:
    """(1 − λ)·mean |render − target| + λ·(1 − mean SSIM), means weighted by pixel; λ is ``ssim_weight``.

    The gradient flows to ``render`` only. Weights say how much a pixel counts, not what its neighbours' windows see.
    Returns a scalar; 0 where all weights are.

    Raises:
        StudioError: shapes do not fit together.
    """
    _check(render, target, weight)
    if render.device.type != "cpu":
        return photometric_reference(render, target, weight, ssim_weight)
    return _Photometric.apply(render, target, weight, ssim_weight)


def ssim(
    a: Tensor,  # [B, H, W, 3]
    b: Tensor,  # [B, H, W, 3]
) -> Tensor:
    """SSIM of every pixel and channel [B, H, W, 3], without gradients; average it over any mask.

    Raises:
        StudioError: shapes do not fit together.
    """
    _check(a, b, None)
    with torch.no_grad():
        if a.device.type != "cpu":
            return ssim_reference(a, b)
        problem = _problem(a, b, None)
        maps, _ = _first_pass(problem, 0.0, gradient=False)
        return torch.from_numpy(maps[0].reshape(*a.shape[:2], problem.width, 3)[:, :, : a.shape[2]].copy())


def ssim_reference(
    a: Tensor,  # [B, H, W, 3]
    b: Tensor,  # [B, H, W, 3]
) -> Tensor:
    """The same map in plain torch, of any float type and device, differentiable."""
    window = torch.as_tensor(_TAPS / _TAPS.sum(), dtype=a.dtype, device=a.device)
    planes = torch.cat((a, b, a * a + b * b, a * b), dim=-1).permute(0, 3, 1, 2)
    kernel_2d = (window[:, None] * window)[None, None].expand(planes.shape[1], 1, -1, -1)
    filtered = torch.nn.functional.conv2d(planes, kernel_2d, padding=RADIUS, groups=planes.shape[1])
    mean_a, mean_b, squares, product = filtered.permute(0, 2, 3, 1).split(3, dim=-1)
    numerator = (2 * mean_a * mean_b + 1e-4) * (2 * (product - mean_a * mean_b) + 9e-4)
    energy = mean_a**2 + mean_b**2
    return numerator / ((energy + 1e-4) * (squares - energy + 9e-4))


def photometric_reference(render: Tensor, target: Tensor, weight: Tensor | None, ssim_weight: float) -> Tensor:
    """The loss in plain torch."""
    error = (1 - ssim_weight) * (render - target).abs() + ssim_weight * (1 - ssim_reference(render, target))
    if weight is None:
        return error.mean()
    return (error.mean(dim=-1) * weight).sum() / weight.sum().clamp(min=1e-12)


class _Photometric(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, render: Tensor, target: Tensor, weight: Tensor | None, ssim_weight: float) -> Tensor:
        problem = _problem(render, target, weight)
        uniform = problem.weight.size == 1
        total = float(problem.rows * problem.width if uniform else problem.weight.sum())
        loss, found = loss_and_gradient(problem, total, ssim_weight, ctx.needs_input_grad[0])
        if found is not None:
            gradient = torch.from_numpy(found.reshape(problem.rows, problem.width, 3))
            ctx.gradient = gradient[:, : render.shape[2]].reshape(render.shape)
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        return (ctx.gradient if float(cotangent) == 1.0 else ctx.gradient * cotangent), None, None, None


def loss_and_gradient(
    problem: Problem,
    total: float,  # sum of the weights of all pixels
    ssim_weight: float,
    differentiable: bool,
) -> tuple[float, np.ndarray | None]:
    """The loss and, if it is wanted, its gradient to the render [B * H * W * 3]."""
    scale, gradient = (1.0 / (3.0 * total) if total > 0 else 0.0), None
    maps, sums = _first_pass(problem, ssim_weight * scale, differentiable)
    if differentiable:
        gradient = borrow("loss_gradient", problem.render.size)
        _run_bands(_gradient_rows, problem, maps, np.float32((1 - ssim_weight) * scale), gradient)
    absolute_error, similarity = sums.sum(axis=0)
    loss = (1 - ssim_weight) * absolute_error * scale + ssim_weight * (3.0 * total * scale - similarity * scale)
    return float(loss), gradient


def _check(render: Tensor, target: Tensor, weight: Tensor | None) -> None:
    fits = render.ndim == 4 and render.shape[-1] == 3 and render.shape == target.shape
    if not fits or (weight is not None and weight.shape != render.shape[:-1]):
        shapes = [tuple(value.shape) for value in (render, target, weight) if value is not None]
        raise StudioError(
            "images do not fit together", got=shapes, expected="render and target [B, H, W, 3], weight [B, H, W]"
        )


def _problem(render: Tensor, target: Tensor, weight: Tensor | None) -> Problem:
    height, width = render.shape[1:3]
    missing = LEAST_WIDTH - width
    if missing > 0:
        weight = render.new_ones(render.shape[:3]) if weight is None else weight
        weight = torch.nn.functional.pad(weight, (0, missing))
        render, target = (torch.nn.functional.pad(image, (0, 0, 0, missing)) for image in (render, target))
    weights = np.ones(1, np.float32) if weight is None else _flat(weight)
    return problem_of(_flat(render), _flat(target), weights, height, max(width, LEAST_WIDTH))


def problem_of(render: np.ndarray, target: np.ndarray, weight: np.ndarray, height: int, width: int) -> Problem:
    """Flat images of ``height`` rows of ``width`` >= ``LEAST_WIDTH`` pixels."""
    return Problem(render, target, weight, _WINDOW, render.size // (3 * width), height, width)


def _flat(value: Tensor) -> np.ndarray:
    return value.detach().float().contiguous().numpy().reshape(-1)


def _first_pass(problem: Problem, scale: float, gradient: bool) -> tuple[np.ndarray, np.ndarray]:
    """Derivative maps [3, B * H * 3 W] (without gradient: the SSIM map) and each row's L1 and SSIM [B * H, 2]."""
    planes = borrow("ssim_maps", (3 if gradient else 1, problem.render.size))
    sums = np.empty((problem.rows, 2), np.float64)
    _run_bands(_moment_rows, problem, planes, np.float32(scale), gradient, sums)
    return planes, sums


def _run_bands(band_kernel: Any, problem: Problem, *args: Any) -> None:
    workers = worker_count()
    row = -(-3 * problem.width // 16) * 16 + 2 * _PAD
    scratch = borrow("ssim_rows", (workers, 5, row))
    scratch[:] = 0.0
    run(band_kernel, workers, np.zeros(1, np.int64), scratch, problem, *args)


@inlined
def _filter_row(row: Array, at: int, window: Array) -> Vector:
    """Horizontal filter of an interleaved scratch row at ``at``; the window is symmetric."""
    total = window[RADIUS] * load(row, at)
    for tap in range(RADIUS):
        distance = 3 * (RADIUS - tap)
        total = fma(window[tap], load(row, at - distance) + load(row, at + distance), total)
    return total


@inlined
def _block(index: int, length: int) -> int:
    """Blocks of 16 values; the last one overlaps its neighbour rather than reach past the end."""
    return min(16 * index, length - 16)


@inlined
def _spread_weights(problem: Problem, row: int, into: Array) -> None:
    """One row of weights, each three times."""
    if problem.weight.size == 1:
        for block in range((3 * problem.width + 15) // 16):
            store(into, _PAD + _block(block, 3 * problem.width), broadcast(problem.weight[0]))
    else:
        for block in range((problem.width + 15) // 16):
            x = _block(block, problem.width)
            w = load(problem.weight, row * problem.width + x)
            store3(into, _PAD + 3 * x, w, w, w)


@kernel
def _moment_rows(
    worker: int,
    workers: int,
    counter: Array,
    scratch: Array,
    problem: Problem,
    maps: Array,
    scale: float,
    gradient: bool,
    sums: Array,
) -> None:
    """SSIM of every row, and its weighted derivatives to the window's E[a], E[a² + b²] and E[ab] (a is the render)."""
    length, window = 3 * problem.width, problem.window
    row_a, row_b, row_s, row_p = scratch[worker, 0], scratch[worker, 1], scratch[worker, 2], scratch[worker, 3]
    weights, zero, lanes = scratch[worker, 4], broadcast(np.float32(0.0)), lane_numbers()
    while True:
        first = fetch_add(counter, 0) * _BAND
        if first >= problem.rows:
            break
        for row in range(first, min(first + _BAND, problem.rows)):
            y = row % problem.height
            for block in range((length + 15) // 16):
                at = _block(block, length)
                sum_a, sum_b, sum_s, sum_p = zero, zero, zero, zero
                for tap in range(max(-RADIUS, -y), min(RADIUS + 1, problem.height - y)):
                    a, b = (
                        load(problem.render, (row + tap) * length + at),
                        load(problem.target, (row + tap) * length + at),
                    )
                    wa, wb = window[tap + RADIUS] * a, window[tap + RADIUS] * b
                    sum_a, sum_b = sum_a + wa, sum_b + wb
                    sum_s, sum_p = fma(wa, a, fma(wb, b, sum_s)), fma(wa, b, sum_p)
                store(row_a, _PAD + at, sum_a)
                store(row_b, _PAD + at, sum_b)
                store(row_s, _PAD + at, sum_s)
                store(row_p, _PAD + at, sum_p)
            _spread_weights(problem, row, weights)
            error, similarity = zero, zero
            for block in range((length + 15) // 16):
                at = _block(block, length)
                k, out = _PAD + at, row * length + at
                a, b = _filter_row(row_a, k, window), _filter_row(row_b, k, window)
                energy, product = fma(a, a, b * b), a * b
                n1 = fma(2.0, product, 1e-4)
                n2 = fma(2.0, _filter_row(row_p, k, window) - product, 9e-4)
                d1, d2 = energy + 1e-4, _filter_row(row_s, k, window) - energy + 9e-4
                inverse = 1.0 / (d1 * d2)
                value, weight = n1 * n2 * inverse, load(weights, k)
                fresh = select(lanes + np.float32(at) >= np.float32(16 * block), weight, 0.0)
                similarity = fma(fresh, value, similarity)
                error = fma(fresh, absolute(load(problem.render, out) - load(problem.target, out)), error)
                if gradient:
                    by_product, by_squares = 2.0 * n1 * inverse, -(value / d2)
                    by_mean = 2.0 * (b * n2 * inverse - a * value / d1) - by_product * b - 2.0 * by_squares * a
                    amount = weight * (-scale)
                    store(maps[0], out, amount * by_mean)
                    store(maps[1], out, amount * by_squares)
                    store(maps[2], out, amount * by_product)
                else:
                    store(maps[0], out, value)
            sums[row, 0] = lane_sum(error)
            sums[row, 1] = lane_sum(similarity)


@kernel
def _gradient_rows(
    worker: int,
    workers: int,
    counter: Array,
    scratch: Array,
    problem: Problem,
    maps: Array,
    scale: float,
    gradient: Array,
) -> None:
    """Gradient to the render: the windows' transposes of the three maps, and the signs of the L1 error."""
    length, window = 3 * problem.width, problem.window
    row_m, row_s, row_p, weights = scratch[worker, 0], scratch[worker, 1], scratch[worker, 2], scratch[worker, 4]
    map_m, map_s, map_p, zero = maps[0], maps[1], maps[2], broadcast(np.float32(0.0))
    while True:
        first = fetch_add(counter, 0) * _BAND
        if first >= problem.rows:
            break
        for row in range(first, min(first + _BAND, problem.rows)):
            y = row % problem.height
            for block in range((length + 15) // 16):
                at = _block(block, length)
                sum_m, sum_s, sum_p = zero, zero, zero
                for tap in range(max(-RADIUS, -y), min(RADIUS + 1, problem.height - y)):
                    g, k = window[tap + RADIUS], (row + tap) * length + at
                    sum_m, sum_s = fma(g, load(map_m, k), sum_m), fma(g, load(map_s, k), sum_s)
                    sum_p = fma(g, load(map_p, k), sum_p)
                store(row_m, _PAD + at, sum_m)
                store(row_s, _PAD + at, sum_s)
                store(row_p, _PAD + at, sum_p)
            _spread_weights(problem, row, weights)
            for block in range((length + 15) // 16):
                at = _block(block, length)
                k, out = _PAD + at, row * length + at
                a, b = load(problem.render, out), load(problem.target, out)
                similarity = fma(b, _filter_row(row_p, k, window), _filter_row(row_m, k, window))
                similarity = fma(2.0 * a, _filter_row(row_s, k, window), similarity)
                sign = select(a > b, 1.0, 0.0) - select(a < b, 1.0, 0.0)
                store(gradient, out, fma(sign * scale, load(weights, k), similarity))
