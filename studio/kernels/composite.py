"""Premultiplied renders over a background in one pass: rounded to 8 bits, or differentiable for training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.buffers import borrow
from studio.kernels.compiled import kernel
from studio.kernels.simd import Array, broadcast, maximum, minimum
from studio.kernels.simd_memory import load, load3, store, store3, store3_bytes
from studio.kernels.splat_project import first_of_block
from studio.kernels.workers import run, worker_count

_LEAST = 16  # pixels that the kernel takes at a time; smaller images go through plain torch
_LARGE = 1 << 17  # pixels; for fewer another thread is not worth waking


def composite_uint8(
    rgb: Tensor,  # [C, H, W, 3] premultiplied, 0..1
    alpha: Tensor,  # [C, H, W]
    background: Tensor,  # [3], [H, W, 3] or [C, H, W, 3], 0..1
) -> np.ndarray:
    """``rgb + (1 - alpha) * background`` as [C, H, W, 3] uint8, on the CPU whatever the device of the images.

    Raises:
        StudioError: the background does not fit the images.
    """
    _check(alpha, background)
    views, height, width = alpha.shape
    background = background.to(rgb)
    if rgb.device.type != "cpu" or height * width < _LEAST:
        blended = rgb + (1 - alpha)[..., None] * background
        return (blended.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy()
    image = borrow("pixels", (views, height, width, 3), np.uint8)
    flat = [value.detach().contiguous().numpy().reshape(-1) for value in (rgb, alpha, background)]
    run(_composite_bytes, worker_count(), views, *flat, image.reshape(-1))
    return image


def composite(
    rgb: Tensor,  # [C, H, W, 3] premultiplied
    alpha: Tensor,  # [C, H, W]
    background: Tensor,  # [3], [H, W, 3] or [C, H, W, 3]
) -> Tensor:
    """``rgb + (1 - alpha) * background`` [C, H, W, 3]; gradients flow to all three.

    Raises:
        StudioError: the background does not fit the images.
    """
    _check(alpha, background)
    tensors = (rgb, alpha, background)
    plain = alpha[0].numel() < _LEAST or any(t.device.type != "cpu" or t.dtype != torch.float32 for t in tensors)
    if plain:
        return rgb + (1 - alpha)[..., None] * background
    return _Composite.apply(rgb, alpha, background)


def _check(alpha: Tensor, background: Tensor) -> None:
    views, height, width = alpha.shape
    if tuple(background.shape) not in ((3,), (height, width, 3), (views, height, width, 3)):
        raise StudioError(
            "background", got=tuple(background.shape), expected=f"[3], [{height}, {width}, 3] or one for each view"
        )


def _workers(alpha: Tensor) -> int:
    return worker_count() if alpha.numel() >= _LARGE else 1


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rgb: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
        ctx.save_for_backward(alpha, background)
        image = torch.from_numpy(borrow("composite", tuple(rgb.shape)))
        flat = [value.detach().contiguous().numpy().reshape(-1) for value in (rgb, alpha, background, image)]
        run(_composite_forward, _workers(alpha), len(alpha), *flat)
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v_image: Tensor) -> tuple[Tensor | None, ...]:
        alpha, background = ctx.saved_tensors
        v_alpha = torch.from_numpy(borrow("v_composite_alpha", tuple(alpha.shape)))
        v_behind = torch.from_numpy(borrow("v_behind", tuple(v_image.shape) if ctx.needs_input_grad[2] else 0))
        flat = [value.contiguous().numpy().reshape(-1) for value in (v_image, alpha, background, v_alpha, v_behind)]
        run(_composite_backward, _workers(alpha), len(alpha), *flat)
        if not ctx.needs_input_grad[2]:
            return v_image, v_alpha, None
        if background.ndim == 4 or (background.ndim == 3 and len(alpha) == 1):
            return v_image, v_alpha, v_behind.view_as(background)
        return v_image, v_alpha, v_behind.sum_to_size(background.shape)


@kernel
def _composite_forward(
    worker: int, workers: int, views: int, rgb: Array, alpha: Array, background: Array, image: Array
) -> None:
    """``background`` is one colour [3], one image, or an image for each view."""
    pixels = alpha.size // views
    blocks = (pixels + 15) // 16
    red, green, blue = broadcast(background[0]), broadcast(background[1]), broadcast(background[2])
    for item in range(worker * views * blocks // workers, (worker + 1) * views * blocks // workers):
        view = item // blocks
        first = first_of_block(item - view * blocks, pixels)
        p = view * pixels + first
        if background.size > 3:
            red, green, blue = load3(background, 3 * (p if background.size == rgb.size else first))
        r, g, b = load3(rgb, 3 * p)
        through = 1.0 - load(alpha, p)
        store3(image, 3 * p, r + through * red, g + through * green, b + through * blue)


@kernel
def _composite_backward(
    worker: int,
    workers: int,
    views: int,
    v_image: Array,
    alpha: Array,
    background: Array,
    v_alpha: Array,
    v_behind: Array,
) -> None:
    """Fill ``v_alpha`` and, unless it is empty, ``v_behind``: the gradient of each view's own background image."""
    pixels = alpha.size // views
    blocks = (pixels + 15) // 16
    red, green, blue = broadcast(background[0]), broadcast(background[1]), broadcast(background[2])
    for item in range(worker * views * blocks // workers, (worker + 1) * views * blocks // workers):
        view = item // blocks
        first = first_of_block(item - view * blocks, pixels)
        p = view * pixels + first
        if background.size > 3:
            red, green, blue = load3(background, 3 * (p if background.size == v_image.size else first))
        r, g, b = load3(v_image, 3 * p)
        store(v_alpha, p, -(r * red + g * green + b * blue))
        if v_behind.size > 0:
            through = 1.0 - load(alpha, p)
            store3(v_behind, 3 * p, through * r, through * g, through * b)


@kernel
def _composite_bytes(
    worker: int, workers: int, views: int, rgb: Array, alpha: Array, background: Array, image: Array
) -> None:
    """``background`` is one colour [3], one image, or an image for each view."""
    pixels = alpha.size // views
    blocks = (pixels + 15) // 16
    red, green, blue = broadcast(background[0]), broadcast(background[1]), broadcast(background[2])
    for item in range(worker * views * blocks // workers, (worker + 1) * views * blocks // workers):
        view = item // blocks
        first = first_of_block(item - view * blocks, pixels)
        p = view * pixels + first
        if background.size > 3:
            red, green, blue = load3(background, 3 * (p if background.size == rgb.size else first))
        r, g, b = load3(rgb, 3 * p)
        through = 1.0 - load(alpha, p)
        r, g, b = r + through * red, g + through * green, b + through * blue
        r, g, b = minimum(maximum(r, 0.0), 1.0), minimum(maximum(g, 0.0), 1.0), minimum(maximum(b, 0.0), 1.0)
        store3_bytes(image, 3 * p, r * 255.0 + 0.5, g * 255.0 + 0.5, b * 255.0 + 0.5)
