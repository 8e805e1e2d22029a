"""What training minimises for one view, in one differentiable operation: image, background, matte and emphasis.

A render over its background is compared with a photo (L1 and SSIM, see ``photometric``; marked pixels count more), and
its coverage with a matte where that is sure. As separate tensor operations the small steps between those (blending,
conversion of the photo, masks and the same backwards) take longer than the comparison itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.buffers import borrow
from studio.kernels.photometric import photometric_errors, photometric_sum, terms_of
from studio.kernels.photometric_cpu import COLOR, LEAST_WIDTH, Found, Images, compare
from studio.kernels.tensors import flat

_NONE, _NO_BYTES, _ONE = np.empty(0, np.float32), np.empty(0, np.uint8), np.ones(1, np.float32)


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
    """What renders are compared with; a single view may come without its first dimension.

    Args:
        image: [B, H, W, 3] uint8, or float32 0..1.
        marked: [B, H, W] uint8, 0 or 1.
        matte: [B, H, W] uint8, or None.
    """

    image: Tensor
    marked: Tensor
    matte: Tensor | None


def view_loss(
    rgb: Tensor,  # [B, H, W, 3] premultiplied
    alpha: Tensor,  # [B, H, W]
    background: Tensor,  # [3] or [H, W, 3], or one for each view: [B, 1, 1, 3] or [B, H, W, 3]
    target: Target,
    weights: Weights,
) -> Tensor:
    """Loss of ``rgb + (1 - alpha) * background``, its mean over the views; gradients flow to those three.

    photometric (see ``photometric_loss``, weight 1 + emphasis where marked) + matte · mean |alpha - matte| over all
    pixels, those that the matte is unsure of counting 0. With a matte a background learns where that says nobody: a
    soft silhouette would otherwise leave its outline on the wall behind. On the CPU a single view goes through our
    kernels.

    Raises:
        StudioError: shapes do not fit together.
    """
    views, height, width = alpha.shape
    seen = (views, height, width) if target.marked.ndim == 3 or views > 1 else (height, width)
    sizes = tuple(rgb.shape), tuple(target.image.shape), tuple(target.marked.shape)
    backgrounds = ((3,), (height, width, 3), (views, 1, 1, 3), (views, height, width, 3))
    if sizes != ((*alpha.shape, 3), (*seen, 3), seen) or tuple(background.shape) not in backgrounds:
        got = [tuple(v.shape) for v in (rgb, alpha, background, target.image, target.marked)]
        raise StudioError("images do not fit together", got=got, expected="views and a photo of each")
    plain = views > 1 or width < LEAST_WIDTH or background.ndim == 4
    plain = plain or (background.ndim == 1 and background.requires_grad)
    plain = plain or alpha.device.type != "cpu" or alpha.dtype != torch.float32
    return (view_loss_reference if plain else _ViewLoss.apply)(rgb, alpha, background, target, weights)


def view_loss_reference(rgb: Tensor, alpha: Tensor, background: Tensor, target: Target, weights: Weights) -> Tensor:
    """The same in plain torch, of any float type and device."""
    image = (target.image.to(rgb) / 255 if target.image.dtype == torch.uint8 else target.image.to(rgb)).view_as(rgb)
    matte, behind = None if target.matte is None else target.matte.view_as(alpha), background
    if matte is not None and background.shape[-3:-1] == alpha.shape[1:]:
        behind = torch.where(matte[..., None] == 0, background, background.detach())
    shown = rgb + (1 - alpha)[..., None] * behind
    weight = 1 + weights.emphasis * target.marked.to(rgb).view_as(alpha)
    errors = (photometric_errors(shown, image, weights.ssim) * weight).sum(dim=(1, 2))
    loss = (errors / weight.sum(dim=(1, 2)).clamp(min=1e-12)).mean()
    if matte is None or weights.matte == 0:
        return loss
    sure = ((matte <= weights.unsure) | (matte >= 255 - weights.unsure)).to(rgb)
    return loss + weights.matte * ((alpha - (matte > 127).to(rgb)).abs() * sure).mean()


class _ViewLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rgb: Tensor, alpha: Tensor, background: Tensor, target: Target, weights: Weights) -> Tensor:
        images = _images(rgb, alpha, background, target)
        count = images.alpha.size
        total = count + weights.emphasis * np.count_nonzero(images.marked.view(np.bool_))
        terms = terms_of(total, weights.ssim, weights.emphasis, weights.matte / count, weights.unsure)
        wanted = {"v_rgb": 3 * count, "v_alpha": count, "v_background": 3 * count if ctx.needs_input_grad[2] else 0}
        gradients = {name: borrow(name, size) for name, size in wanted.items()}
        found = Found(sums=np.empty((images.height, 3), np.float64), similarity=_NONE, **gradients)
        compare(images, terms, found)
        ctx.gradients = found.v_rgb.reshape(rgb.shape), found.v_alpha.reshape(alpha.shape), found.v_background
        loss = photometric_sum(found, terms, total) + terms.matte * found.sums[:, 2].sum()
        return torch.tensor(loss, dtype=torch.float32)

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


def _images(rgb: Tensor, alpha: Tensor, background: Tensor, target: Target) -> Images:
    as_bytes = target.image.dtype == torch.uint8
    return Images(
        rgb=flat(rgb),
        alpha=flat(alpha),
        background=flat(background) if background.ndim > 1 else np.tile(flat(background), COLOR // 3),
        target=_NONE if as_bytes else flat(target.image),
        photo=flat(target.image) if as_bytes else _NO_BYTES,
        weight=_ONE,
        marked=flat(target.marked),
        matte=_NO_BYTES if target.matte is None else flat(target.matte),
        height=alpha.shape[1],
        width=alpha.shape[2],
    )
