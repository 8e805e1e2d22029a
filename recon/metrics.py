"""Image quality figures: PSNR and SSIM of sRGB-encoded images, over a region or all of it."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from studio.media.images import to_uint8


def psnr(
    image: Tensor,  # [..., H, W, 3] 0..1
    truth: Tensor,  # [..., H, W, 3] 0..1
    mask: Tensor | None = None,  # [..., H, W] bool: the pixels that count
) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1; infinite for equal images, NaN for an empty mask."""
    error = (image - truth).square()
    mse = float((error if mask is None else error[mask]).mean())
    return math.inf if mse == 0 else -10 * math.log10(mse)


def match_exposure(
    image: np.ndarray,  # [H, W, 3] uint8
    truth: np.ndarray,  # [H, W, 3] uint8
) -> np.ndarray:
    """The image [H, W, 3] uint8 with the one gain and offset that bring it closest to the truth (least squares).

    Cameras choose their exposure anew for every photo, and no reconstruction can know that of a held-out one.
    """
    x, y = image.astype(np.float64), truth.astype(np.float64)
    spread = x.var()
    gain = ((x - x.mean()) * (y - y.mean())).mean() / spread if spread > 0 else 1.0
    return to_uint8((y.mean() + gain * (x - x.mean())) / 255)
