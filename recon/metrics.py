"""Image quality figures: PSNR and SSIM of sRGB-encoded images, over a region or all of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

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


@dataclass
class ColorMatch:
    """The affine change of colour [3, 4] that brings renders of a camera closest to its photos, from sums alone."""

    products: np.ndarray = field(default_factory=lambda: np.zeros((7, 7)))

    def add(
        self,
        render: np.ndarray,  # [N, 3] 0..1
        truth: np.ndarray,  # [N, 3] 0..1
    ) -> None:
        """Take pixels into account."""
        rows = np.concatenate((render, np.ones((len(render), 1)), truth), axis=1)
        self.products += rows.T @ rows

    @property
    def pixels(self) -> int:
        return int(self.products[3, 3])

    @property
    def matrix(self) -> np.ndarray:
        """[3, 4]: gains, then offsets; the one of least change where the pixels leave a choice."""
        return np.asarray(np.linalg.lstsq(self.products[:4, :4], self.products[:4, 4:], rcond=1e-9)[0].T)

    def squared_error(self) -> float:
        """What remains, summed over pixels and channels."""
        change = np.concatenate((self.matrix, -np.eye(3)), axis=1)
        return float(np.einsum("ci,ij,cj->", change, self.products, change))
