"""What training minimises for one view, in one differentiable operation: image, background, matte and emphasis.

A render over its background is compared with a photo (L1 and SSIM, see ``photometric``; marked pixels count more), and
its coverage with a matte where that is sure. As separate tensor operations the small steps between those (blending,
conversion of the photo, masks and the same backwards) take longer than the comparison itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.buffers import borrow, borrow_together
from studio.kernels.compiled import inlined, kernel
from studio.kernels.photometric import LEAST_WIDTH, loss_and_gradient, photometric_reference, problem_of
from studio.kernels.simd import Array, Vectors, absolute, broadcast, fma, lane_numbers, lane_sum, select
from studio.kernels.simd_memory import load, load3, load_bytes, store, store3
from studio.kernels.splat_project import first_of_block
from studio.kernels.tensors import flat
from studio.kernels.workers import run, worker_count

_CHUNK = 256  # blocks of 16 pixels whose matte errors are added up at a time, so that sums repeat bit by bit


@dataclass(frozen=True)
class Weights:
    """How the terms are weighted.

    Args:
        ssim: share of 1 - SSIM in the photometric term (the rest is L1).
        emphasis: how much more a marked pixel counts.
        matte: of the mean error of coverage.
        unsure: levels beyond which from 0 and 255 a matte decides nothing.
    """

    ssim: float
    emphasis: float
    matte: float
    unsure: int


@dataclass(frozen=True)
class Target:
    """What a render is compared with.

    Args:
        image: [H, W, 3] uint8, or float32 0..1.
        marked: [H, W] uint8, 0 or 1.
        matte: [H, W] uint8, or None.
    """

    image: Tensor
    marked: Tensor
    matte: Tensor | None


class _Pixels(NamedTuple):
    """Flat arrays of one image of P >= 16 pixels."""

    rgb: np.ndarray  # [P * 3] float32 premultiplied
    alpha: np.ndarray  # [P]
    background: np.ndarray  # [P * 3], or [3]: one colour
    photo: np.ndarray  # [P * 3] uint8, or empty: there is a target as float32
    marked: np.ndarray  # [P] uint8
    matte: np.ndarray  # [P] uint8, or empty


def view_loss(
    rgb: Tensor,  # [1, H, W, 3] premultiplied
    alpha: Tensor,  # [1, H, W]
    background: Tensor,  # [3] or [H, W, 3]
    target: Target,
    weights: Weights,
) -> Tensor:
    """Loss of ``rgb + (1 - alpha) * background``, a scalar; gradients flow to those three.

    photometric (see ``photometric_loss``, weight 1 + emphasis where marked) + matte · mean |alpha - matte| over all
    pixels, those that the matte is unsure of counting 0. With a matte a background learns where that says nobody: a
    soft silhouette would otherwise leave its outline on the wall behind.

    Raises:
        StudioError: shapes do not fit together.
    """
    _, height, width = alpha.shape
    sizes = (rgb.shape[:3], target.image.shape[:2], target.marked.shape)
    expected = ((1, height, width), (height, width), (height, width))
    if sizes != expected or tuple(background.shape) not in ((3,), (height, width, 3)):
        got = [tuple(v.shape) for v in (rgb, alpha, background, target.image, target.marked)]
        raise StudioError("images do not fit together", got=got, expected="one view and a photo of it")
    small = width < LEAST_WIDTH or (background.ndim == 1 and background.requires_grad)
    plain = small or alpha.device.type != "cpu" or alpha.dtype != torch.float32
    return (view_loss_reference if plain else _ViewLoss.apply)(rgb, alpha, background, target, weights)


def view_loss_reference(rgb: Tensor, alpha: Tensor, background: Tensor, target: Target, weights: Weights) -> Tensor:
    """The same in plain torch, of any float type and device."""
    image = target.image.to(rgb) / 255 if target.image.dtype == torch.uint8 else target.image.to(rgb)
    behind = background if background.ndim == 3 else background.expand_as(image)
    if target.matte is not None and background.ndim == 3:
        behind = torch.where(target.matte[..., None] == 0, background, background.detach())
    shown = rgb + (1 - alpha)[..., None] * behind
    weight = 1 + weights.emphasis * target.marked.to(rgb)
    loss = photometric_reference(shown, image[None], weight[None], weights.ssim)
    if target.matte is None or weights.matte == 0:
        return loss
    sure = ((target.matte <= weights.unsure) | (target.matte >= 255 - weights.unsure)).to(rgb)
    return loss + weights.matte * ((alpha[0] - (target.matte > 127).to(rgb)).abs() * sure).mean()


class _ViewLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rgb: Tensor, alpha: Tensor, background: Tensor, target: Target, weights: Weights) -> Tensor:
        height, width = alpha.shape[1:]
        count, as_bytes, nothing = height * width, target.image.dtype == torch.uint8, np.empty(0, np.uint8)
        pixels = _Pixels(
            rgb=flat(rgb),
            alpha=flat(alpha),
            background=flat(background),
            photo=flat(target.image) if as_bytes else nothing,
            marked=flat(target.marked),
            matte=nothing if target.matte is None else flat(target.matte),
        )
        shapes = {"shown": (3 * count, np.float32), "weight": (count, np.float32)}
        planes = borrow_together("view_loss", {**shapes, "target": (3 * count if as_bytes else 0, np.float32)})
        wanted = planes["target"] if as_bytes else flat(target.image)
        run(_blend, worker_count(), pixels, weights.emphasis, planes["shown"], planes["weight"], wanted)
        problem = problem_of(planes["shown"], wanted, planes["weight"], height, width)
        total = count + weights.emphasis * np.count_nonzero(pixels.marked.view(np.bool_))
        loss, v_shown = loss_and_gradient(problem, total, weights.ssim, differentiable=True)
        assert v_shown is not None
        v_alpha = borrow("v_view_alpha", count)
        v_behind = borrow("v_behind", 3 * count if ctx.needs_input_grad[2] else 0)
        errors = np.empty(-(-count // (16 * _CHUNK)), np.float64)
        run(_share, worker_count(), pixels, weights.unsure, weights.matte / count, v_shown, v_alpha, v_behind, errors)
        ctx.gradients = v_shown.reshape(1, height, width, 3), v_alpha.reshape(1, height, width), v_behind
        return torch.tensor(loss + weights.matte * errors.sum() / count, dtype=torch.float32)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise StudioError("view_loss", got="a second backward pass", expected="one")
        v_rgb, v_alpha, v_behind = (torch.from_numpy(value) for value in ctx.gradients)
        ctx.gradients = None  # torch may take the memory for its own
        if (factor := float(cotangent)) != 1.0:
            v_rgb, v_alpha, v_behind = v_rgb * factor, v_alpha * factor, v_behind * factor
        return v_rgb, v_alpha, v_behind.view_as(v_rgb[0]) if ctx.needs_input_grad[2] else None, None, None


@inlined
def _behind(pixels: _Pixels, p: int) -> Vectors:
    if pixels.background.size > 3:
        red, green, blue = load3(pixels.background, 3 * p)
    else:
        red, green, blue = (
            broadcast(pixels.background[0]),
            broadcast(pixels.background[1]),
            broadcast(pixels.background[2]),
        )
    return red, green, blue


@kernel
def _blend(
    worker: int, workers: int, pixels: _Pixels, emphasis: float, shown: Array, weight: Array, target: Array
) -> None:
    """Fill ``shown`` [P * 3], ``weight`` [P] and, where there is a photo, ``target`` [P * 3]."""
    count = pixels.alpha.size
    blocks = (count + 15) // 16
    for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
        p = first_of_block(block, count)
        red, green, blue = _behind(pixels, p)
        r, g, b = load3(pixels.rgb, 3 * p)
        through = 1.0 - load(pixels.alpha, p)
        store3(shown, 3 * p, r + through * red, g + through * green, b + through * blue)
        store(weight, p, fma(load_bytes(pixels.marked, p), emphasis, 1.0))
        if pixels.photo.size > 0:
            for part in range(3):
                store(target, 3 * p + 16 * part, load_bytes(pixels.photo, 3 * p + 16 * part) / 255.0)


@kernel
def _share(
    worker: int,
    workers: int,
    pixels: _Pixels,
    unsure: int,
    scale: float,
    v_shown: Array,
    v_alpha: Array,
    v_behind: Array,
    errors: Array,
) -> None:
    """Carry the gradient of what is shown back to ``v_alpha`` [P] and, unless it is empty, ``v_behind`` [P * 3].

    With a matte ``v_alpha`` also gets ``scale`` times the gradient of its error, whose sums ``errors`` receives.
    """
    count, low, high = pixels.alpha.size, np.float32(unsure), np.float32(255 - unsure)
    blocks = (count + 15) // 16
    for chunk in range(worker * errors.size // workers, (worker + 1) * errors.size // workers):
        error = np.float64(0.0)
        for block in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, blocks)):
            p = first_of_block(block, count)
            red, green, blue = _behind(pixels, p)
            r, g, b = load3(v_shown, 3 * p)
            alpha = load(pixels.alpha, p)
            by_alpha, through = -(r * red + g * green + b * blue), 1.0 - alpha
            if pixels.matte.size > 0:
                matte = load_bytes(pixels.matte, p)
                sure = (matte <= low) | (matte >= high)
                off = select(sure, alpha - select(matte >= high, 1.0, 0.0), 0.0)
                fresh = lane_numbers() >= np.float32(16 * block - p)  # not already in the block before
                error += lane_sum(select(fresh, absolute(off), 0.0))
                by_alpha = by_alpha + scale * (select(off > 0.0, 1.0, 0.0) - select(off < 0.0, 1.0, 0.0))
                through = select(matte <= 0.0, through, 0.0)
            store(v_alpha, p, by_alpha)
            if v_behind.size > 0:
                store3(v_behind, 3 * p, through * r, through * g, through * b)
        errors[chunk] = error
