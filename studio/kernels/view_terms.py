"""What a training photo says beside its colours: where nobody is, where somebody is, and which pixels count more."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.kernels.buffers import borrow
from studio.kernels.compiled import kernel
from studio.kernels.simd import Array, absolute, lane_sum, select
from studio.kernels.simd_memory import load, store
from studio.kernels.tensors import flat

_UNSURE = 2.0  # in the scratch of ``_matte``: a pixel that may be either


def emphasised(
    marked: Tensor,  # [H, W] uint8, 0 or 1
    gain: float,
) -> Tensor:
    """[H, W] weights: 1, and 1 + gain where a pixel is marked."""
    if marked.device.type != "cpu":
        return 1.0 + gain * marked.float()
    weights = borrow("emphasis", tuple(marked.shape))
    np.take(np.array((1.0, 1.0 + gain), np.float32), marked.numpy(), out=weights, mode="clip")
    return torch.from_numpy(weights)


def matte_loss(
    alpha: Tensor,  # [H, W] coverage, 0..1
    matte: Tensor,  # [H, W] uint8
    unsure: int,  # levels beyond this from 0 and 255 decide nothing
) -> Tensor:
    """Mean |alpha - matte| over the pixels, those that the matte is unsure of counting 0; a scalar."""
    if alpha.device.type != "cpu" or alpha.numel() < 16:
        wanted = (matte > 127).float()
        sure = ((matte <= unsure) | (matte >= 255 - unsure)).float()
        return ((alpha - wanted).abs() * sure).mean()
    return _Matte.apply(alpha, matte, unsure)


class _Matte(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, alpha: Tensor, matte: Tensor, unsure: int) -> Tensor:
        ctx.gradient = torch.from_numpy(borrow("matte_gradient", tuple(alpha.shape)))
        total = _matte(flat(alpha), flat(matte), unsure, ctx.gradient.numpy().reshape(-1))
        return torch.tensor(total / alpha.numel(), dtype=torch.float32)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient * given, None, None


@kernel
def _matte(alpha: Array, matte: Array, unsure: int, gradient: Array) -> float:
    """The sum of all errors; ``gradient`` receives that of their mean. ``matte`` is uint8; at least 16 pixels."""
    for i in range(matte.size):
        wanted = np.float32(0.0) if matte[i] <= unsure else np.float32(_UNSURE)
        gradient[i] = np.float32(1.0) if matte[i] >= 255 - unsure else wanted
    share, total = np.float32(1.0 / alpha.size), np.float64(0.0)
    for i in range(0, alpha.size - 15, 16):
        wanted_here, shown = load(gradient, i), load(alpha, i)
        sure = wanted_here < np.float32(_UNSURE)
        total += lane_sum(select(sure, absolute(shown - wanted_here), 0.0))
        sign = select(shown > wanted_here, share, 0.0) - select(shown < wanted_here, share, 0.0)
        store(gradient, i, select(sure, sign, 0.0))
    for i in range(alpha.size // 16 * 16, alpha.size):
        difference = alpha[i] - gradient[i] if gradient[i] < np.float32(_UNSURE) else np.float32(0.0)
        total += abs(difference)
        gradient[i] = share * np.float32(np.sign(difference))
    return total
