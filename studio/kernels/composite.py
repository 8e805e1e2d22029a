"""Premultiplied renders over a background in one pass, rounded to 8 bits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.buffers import borrow
from studio.kernels.compiled import kernel
from studio.kernels.simd import Array, broadcast, maximum, minimum
from studio.kernels.simd_memory import load, load3, store3_bytes
from studio.kernels.splat_project import first_of_block
from studio.kernels.workers import run, worker_count

_LEAST = 16  # pixels that the kernel takes at a time; smaller images go through plain torch


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


def _check(alpha: Tensor, background: Tensor) -> None:
    views, height, width = alpha.shape
    if tuple(background.shape) not in ((3,), (height, width, 3), (views, height, width, 3)):
        raise StudioError(
            "background", got=tuple(background.shape), expected=f"[3], [{height}, {width}, 3] or one for each view"
        )


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
