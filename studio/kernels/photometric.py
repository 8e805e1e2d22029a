"""The training loss of images, L1 and SSIM with their analytic gradient, and SSIM maps for evaluation.

SSIM as in the splatting literature (Wang et al., 2004): an 11 × 11 Gaussian window with σ = 1.5 pixels, zeros outside
the image, C₁ = 0.01², C₂ = 0.03², each channel by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.buffers import borrow
from studio.kernels.photometric_cpu import LEAST_WIDTH, Found, Images, Terms, compare
from studio.kernels.photometric_simd import RADIUS, WINDOW
from studio.kernels.tensors import flat

_NONE, _NO_BYTES = np.empty(0, np.float32), np.empty(0, np.uint8)


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
        images = _images(a, b, None)
        similarity = np.empty(images.rgb.size, np.float32)
        compare(images, Terms(0.0, 0.0, 0.0, 0.0, 0), _found(images, similarity=similarity))
        return torch.from_numpy(similarity.reshape(*a.shape[:2], images.width, 3)[:, :, : a.shape[2]].copy())


def ssim_reference(
    a: Tensor,  # [B, H, W, 3]
    b: Tensor,  # [B, H, W, 3]
) -> Tensor:
    """The same map in plain torch, of any float type and device, differentiable."""
    window = torch.as_tensor(WINDOW, dtype=a.dtype, device=a.device)
    planes = torch.cat((a, b, a * a + b * b, a * b), dim=-1).permute(0, 3, 1, 2)
    count, one = planes.shape[1], window.expand(planes.shape[1], 1, 1, -1)
    filtered = torch.nn.functional.conv2d(planes, one.mT, padding=(RADIUS, 0), groups=count)
    filtered = torch.nn.functional.conv2d(filtered, one, padding=(0, RADIUS), groups=count)
    mean_a, mean_b, squares, product = filtered.permute(0, 2, 3, 1).split(3, dim=-1)
    numerator = (2 * mean_a * mean_b + 1e-4) * (2 * (product - mean_a * mean_b) + 9e-4)
    energy = mean_a**2 + mean_b**2
    return numerator / ((energy + 1e-4) * (squares - energy + 9e-4))


def photometric_errors(
    render: Tensor,  # [B, H, W, 3]
    target: Tensor,  # [B, H, W, 3]
    ssim_weight: float,
) -> Tensor:
    """What every pixel [B, H, W] adds to the loss, in plain torch."""
    error = (1 - ssim_weight) * (render - target).abs() + ssim_weight * (1 - ssim_reference(render, target))
    return error.mean(dim=-1)


def photometric_reference(render: Tensor, target: Tensor, weight: Tensor | None, ssim_weight: float) -> Tensor:
    """The loss in plain torch."""
    error = photometric_errors(render, target, ssim_weight)
    return error.mean() if weight is None else (error * weight).sum() / weight.sum().clamp(min=1e-12)


class _Photometric(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, render: Tensor, target: Tensor, weight: Tensor | None, ssim_weight: float) -> Tensor:
        images = _images(render, target, weight)
        pixels = images.rgb.size // 3
        total = float(pixels if images.weight.size == 1 else images.weight.sum())
        terms = terms_of(total, ssim_weight)
        v_render = borrow("v_compared", images.rgb.size if ctx.needs_input_grad[0] else 0)
        found = _found(images, v_rgb=v_render)
        compare(images, terms, found)
        if v_render.size > 0:
            gradient = torch.from_numpy(v_render.reshape(-1, images.width, 3))
            ctx.gradient = gradient[:, : render.shape[2]].reshape(render.shape)
        return torch.tensor(photometric_sum(found, terms, total), dtype=torch.float32)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        return (ctx.gradient if float(cotangent) == 1.0 else ctx.gradient * cotangent), None, None, None


def terms_of(total: float, ssim_weight: float, emphasis: float = 0.0, matte: float = 0.0, unsure: int = 0) -> Terms:
    """Terms of a loss that is a mean; ``total`` is the sum of the weights of all pixels."""
    scale = 1.0 / (3.0 * total) if total > 0 else 0.0
    return Terms((1 - ssim_weight) * scale, ssim_weight * scale, emphasis, matte, unsure)


def photometric_sum(found: Found, terms: Terms, total: float) -> float:
    """The photometric part of the loss."""
    difference, similarity = found.sums[:, 0].sum(), found.sums[:, 1].sum()
    return float(terms.difference * difference + terms.dissimilarity * (3.0 * total - similarity))


def _check(render: Tensor, target: Tensor, weight: Tensor | None) -> None:
    fits = render.ndim == 4 and render.shape[-1] == 3 and render.shape == target.shape
    if not fits or (weight is not None and weight.shape != render.shape[:-1]):
        shapes = [tuple(value.shape) for value in (render, target, weight) if value is not None]
        raise StudioError(
            "images do not fit together", got=shapes, expected="render and target [B, H, W, 3], weight [B, H, W]"
        )


def _images(render: Tensor, target: Tensor, weight: Tensor | None) -> Images:
    """Narrow ones get columns of weight 0."""
    height, width = render.shape[1:3]
    missing = LEAST_WIDTH - width
    if missing > 0:
        weight = render.new_ones(render.shape[:3]) if weight is None else weight
        weight = torch.nn.functional.pad(weight, (0, missing))
        render, target = (torch.nn.functional.pad(image, (0, 0, 0, missing)) for image in (render, target))
    return Images(
        rgb=flat(render.float()),
        alpha=_NONE,
        background=_NONE,
        target=flat(target.float()),
        photo=_NO_BYTES,
        weight=np.ones(1, np.float32) if weight is None else flat(weight.float()),
        marked=_NO_BYTES,
        matte=_NO_BYTES,
        height=height,
        width=max(width, LEAST_WIDTH),
    )


def _found(images: Images, similarity: np.ndarray = _NONE, v_rgb: np.ndarray = _NONE) -> Found:
    rows = images.rgb.size // (3 * images.width)
    return Found(np.empty((rows, 3), np.float64), similarity, v_rgb, _NONE, _NONE)
