"""Image quality figures: PSNR and SSIM of sRGB-encoded images, over a region or all of it."""

from __future__ import annotations

import math

from torch import Tensor


def psnr(
    image: Tensor,  # [..., H, W, 3] 0..1
    truth: Tensor,  # [..., H, W, 3] 0..1
    mask: Tensor | None = None,  # [..., H, W] bool: the pixels that count
) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1; infinite for equal images, NaN for an empty mask."""
    error = (image - truth).square()
    mse = float((error if mask is None else error[mask]).mean())
    return math.inf if mse == 0 else -10 * math.log10(mse)
