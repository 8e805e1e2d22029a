"""Windows of the images, reduced to their detail, that can be sampled with derivatives at any place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

_STEP = 0.75  # pixels, for derivatives
_UNIT = 64.0  # steps per level, so that 16 bits hold every difference of 8-bit values


@dataclass(frozen=True)
class Patches:
    """Detail of T images: brightness without its broad variation, so that changes of light matter little.

    Args:
        values: [T, B, B] int16, in 1/64 levels.
        corners: [T, 2] top left of each window, in pixels of the images.
    """

    values: Tensor
    corners: Tensor

    @staticmethod
    def cut(images: Iterable[np.ndarray], corners: np.ndarray, side: int, fine: float, broad: float) -> Patches:
        """Windows of grey images.

        Args:
            images: [H, W] each, 0..255.
            corners: [T, 2] whole pixels; windows may leave the images.
            side: B, pixels.
            fine: blur (standard deviation, pixels) that removes noise.
            broad: extent in pixels of the variation that is removed.
        """
        values = np.zeros((len(corners), side, side), dtype=np.int16)
        box = (2 * int(0.5 * broad) + 1,) * 2
        for index, image in enumerate(images):
            shift = np.array([[1, 0, -corners[index, 0]], [0, 1, -corners[index, 1]]])
            gray = image.astype(np.float32)
            patch = cv2.warpAffine(gray, shift, (side, side), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            detail = cv2.GaussianBlur(patch, (0, 0), max(fine, 0.5)) - cv2.blur(cv2.blur(patch, box), box)
            values[index] = np.rint(detail * _UNIT)
        return Patches(torch.from_numpy(values), torch.from_numpy(np.asarray(corners)).float())

    def values_at(
        self,
        frames: slice,
        pixels: Tensor,  # [t, P, 2] in the images
    ) -> tuple[Tensor, Tensor]:
        """Values [t, P] in levels, and whether inside [t, P]."""
        local, inside = self._local(frames, pixels)
        return self._interpolated(frames, local[:, None])[:, 0], inside

    def slopes_at(
        self,
        frames: slice,
        pixels: Tensor,  # [t, P, 2]
    ) -> Tensor:
        """Derivatives [t, P, 2] in levels per pixel."""
        local, _ = self._local(frames, pixels)
        offsets = _STEP * torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        seen = self._interpolated(frames, local[:, None] + offsets[:, None])
        return torch.stack((seen[:, 0] - seen[:, 1], seen[:, 2] - seen[:, 3]), dim=-1) / (2 * _STEP)

    def _local(self, frames: slice, pixels: Tensor) -> tuple[Tensor, Tensor]:
        local = pixels - self.corners[frames, None]
        return local, ((local > 1.0) & (local < self.values.shape[1] - 1.0)).all(-1)

    def _interpolated(self, frames: slice, local: Tensor) -> Tensor:
        """Values [t, n, P] at window pixels [t, n, P, 2]."""
        image = self.values[frames, None].float() / _UNIT
        grid = local * (2.0 / self.values.shape[1]) - 1.0
        return torch.nn.functional.grid_sample(image, grid, align_corners=False, padding_mode="border")[:, 0]
