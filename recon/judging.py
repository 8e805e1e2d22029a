"""Figures of a comparison, frame by frame: pooled over regions, with confidence intervals of resampled blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recon.metrics import ColorMatch
from studio.cameras import Camera
from studio.codes import Codes
from studio.heads.model import HeadModel

BLOCK = 10  # consecutive frames that are drawn together: neighbours are no independent observations
_RESAMPLES, _LEAST_BLOCKS = 2000, 4
_CHIN, _FOREHEAD = 152, 10  # MediaPipe's points
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of MS-SSIM's scales, finest first
_C1, _C2 = 0.01**2, 0.03**2
_LUMINANCE, _ADAPTED = 100.0, 5.0  # cd/m² of a white screen, and what the eye adds to a dark place
_THRESHOLD = 0.01  # contrast of a change that is just seen


@dataclass(frozen=True)
class Judged:
    """One frame: region -> (squared error summed over pixels, SSIM summed, pixels), and MS-SSIM of the whole."""

    timestep: int
    camera: int
    regions: Mapping[str, tuple[float, float, int]]
    ms_ssim: float | None


@dataclass
class Frames:
    """All frames of a comparison, in the order in which they were judged."""

    judged: list[Judged] = field(default_factory=list)

    def regions(self) -> list[str]:
        """Names, in the order in which they came."""
        return list(dict.fromkeys(name for frame in self.judged for name in frame.regions))

    def sums(self, region: str) -> np.ndarray:
        """[N, 3] squared error, similarity and pixels of each frame, 0 where the region was not seen."""
        return np.array([frame.regions.get(region, (0.0, 0.0, 0)) for frame in self.judged], np.float64).reshape(-1, 3)

    def figures(self) -> dict[str, dict[str, Any]]:
        """PSNR (of the mean squared error over all pixels) and mean SSIM by region, with 95 % intervals."""
        blocks = self._blocks()
        found = {}
        for name in self.regions():
            sums = self.sums(name)
            found[name] = pooled(sums)
            if found[name]["pixels"]:
                found[name] |= {f"{key}_95": value for key, value in intervals(sums, blocks).items()}
        return found

    def ms_ssim(self) -> dict[str, Any] | str:
        """Mean over frames with its interval."""
        values = [frame.ms_ssim for frame in self.judged if frame.ms_ssim is not None]
        if not values:
            return "not measured: images smaller than 176 pixels"
        sums = np.stack((np.zeros(len(values)), values, np.ones(len(values))), 1)
        told = intervals(sums, self._blocks())["ssim"] if len(values) == len(self.judged) else None
        return {"mean": round(float(np.mean(values)), 5), "95": told}

    def series(self, region: str) -> np.ndarray:
        """[N] PSNR of each frame, NaN where the region was not seen."""
        sums = self.sums(region)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(
                -10 * np.log10(np.maximum(sums[:, 0], 1e-12) / np.where(sums[:, 2] > 0, sums[:, 2], np.nan))
            )

    def _blocks(self) -> list[np.ndarray]:
        """Indices of consecutive frames of one camera, at most ``BLOCK`` of them."""
        blocks: list[list[int]] = []
        for index, frame in enumerate(self.judged):
            before = self.judged[index - 1] if index else None
            follows = before is not None and (before.timestep + 1, before.camera) == (frame.timestep, frame.camera)
            if follows and len(blocks[-1]) < BLOCK:
                blocks[-1].append(index)
            else:
                blocks.append([index])
        return [np.array(block) for block in blocks]


def pooled(
    sums: np.ndarray,  # [N, 3]
) -> dict[str, Any]:
    """PSNR in dB (peak 1) and SSIM over all frames; None where nothing was seen."""
    squared, similarity, pixels = sums.sum(0)
    if not pixels:
        return {"psnr": None, "ssim": None, "pixels": 0}
    psnr = None if squared == 0 else round(-10 * math.log10(squared / pixels), 3)
    return {"psnr": psnr, "ssim": round(similarity / pixels, 5), "pixels": int(pixels)}


def intervals(
    sums: np.ndarray,  # [N, 3]
    blocks: Sequence[np.ndarray],
) -> dict[str, list[float] | None]:
    """95 % intervals of PSNR and SSIM: percentiles over resampled blocks (Künsch 1989); None for too few blocks."""
    if len(blocks) < _LEAST_BLOCKS:
        return {"psnr": None, "ssim": None}
    totals = np.stack([sums[block].sum(0) for block in blocks])
    picks = np.random.default_rng(0).integers(len(blocks), size=(_RESAMPLES, len(blocks)))
    drawn = totals[picks].sum(1)
    drawn = drawn[drawn[:, 2] > 0]
    psnr = -10 * np.log10(np.maximum(drawn[:, 0], 1e-12) / drawn[:, 2])
    ssim = drawn[:, 1] / drawn[:, 2]
    ends = [2.5, 97.5]
    return {
        "psnr": [round(float(value), 3) for value in np.percentile(psnr, ends)],
        "ssim": [round(float(value), 5) for value in np.percentile(ssim, ends)],
    }


def ms_ssim(
    a: Tensor,  # [1, H, W, 3] 0..1
    b: Tensor,
) -> float | None:
    """Multi-scale SSIM (Wang, Simoncelli and Bovik 2003): 5 scales, 11 x 11 Gaussian window, places where it fits.

    None for images whose shorter side is below 176 pixels: the coarsest scale would hold no window.
    """
    if min(a.shape[1:3]) < 11 * 2 ** (len(_SCALES) - 1):
        return None
    x, y = (image.movedim(-1, 1).float() for image in (a, b))
    taps = torch.exp(-0.5 * ((torch.arange(11) - 5) / 1.5) ** 2)
    taps = taps / taps.sum()
    result = 1.0
    for scale, weight in enumerate(_SCALES):
        luminance, structure = _ssim_parts(x, y, taps)
        last = scale == len(_SCALES) - 1
        result *= max(float((luminance * structure if last else structure).mean()), 0.0) ** weight
        x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
    return result


def _ssim_parts(x: Tensor, y: Tensor, taps: Tensor) -> tuple[Tensor, Tensor]:
    def smooth(image: Tensor) -> Tensor:
        kernel = taps.expand(3, 1, -1)
        rows = functional.conv2d(image, kernel[..., None, :], groups=3)
        return functional.conv2d(rows, kernel[..., :, None], groups=3)

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
    return (2 * mx * my + _C1) / (mx * mx + my * my + _C1), (2 * cov + _C2) / (vx + vy + _C2)


def body_regions(
    head: HeadModel,
    codes: Codes,
    camera: Camera,
    face: np.ndarray,  # [H, W] bool
    person: np.ndarray,  # [H, W] bool
) -> dict[str, np.ndarray]:
    """ "hair" and "torso" [H, W]: what of the person is outside of the face, above and below the chin.

    The line through the chin is square to the line from chin to forehead as the picture shows it; ears are hair.
    """
    points = head.landmarks(head.vertices(codes.expression.new_zeros(0), codes))[[_CHIN, _FOREHEAD]]
    chin, forehead = camera.project(points)[0][0].numpy()
    up = forehead - chin
    if not np.isfinite(up).all() or float(np.linalg.norm(up)) < 1:
        return {}
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    above = (columns - chin[0]) * up[0] + (rows - chin[1]) * up[1] > 0
    return {"hair": person & ~face & above, "torso": person & ~face & ~above}


@dataclass
class Temporal:
    """How changes from frame to frame differ between render and photo, over the person.

    ``rms``: grey levels of 255. ``visible``: the same of luminance, blurred as the eye does at 60 pixels a degree, in
    units of the contrast that is just seen in a change (1 %): a figure like a JOD's, without network or calibration.
    """

    squared: float = 0.0
    seen: float = 0.0
    pixels: int = 0
    _before: np.ndarray | None = None

    def cut(self) -> None:
        """The next frame does not follow on the last one."""
        self._before = None

    def add(
        self,
        truth: np.ndarray,  # [H, W, 3] uint8
        render: np.ndarray,
        person: np.ndarray,  # [H, W] bool
    ) -> None:
        """Take the next frame into account."""
        grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (truth, render)]).astype(np.float32)
        if self._before is not None:
            change = (grey[1] - self._before[1]) - (grey[0] - self._before[0])
            self.squared += float(np.square(change[person], dtype=np.float64).sum())
            light = (
                _LUMINANCE * (np.stack((grey[0], grey[1], self._before[0], self._before[1])) / 255) ** 2.2 + _ADAPTED
            )
            change = cv2.GaussianBlur((light[1] - light[3]) - (light[0] - light[2]), (0, 0), 2.0)
            contrast = change / cv2.GaussianBlur(light[0], (0, 0), 2.0) / _THRESHOLD
            self.seen += float(np.square(contrast[person], dtype=np.float64).sum())
            self.pixels += int(person.sum())
        self._before = grey

    def figures(self) -> dict[str, Any] | str:
        if not self.pixels:
            return "not measured: no two frames follow on each other"
        rms, seen = (round(math.sqrt(value / self.pixels), 3) for value in (self.squared, self.seen))
        return {"rms": rms, "visible": seen, "pixels": self.pixels}


def matched_psnr(colors: Mapping[int, ColorMatch]) -> dict[str, Any] | None:
    """PSNR after one affine change of colour for each camera; None where there is none."""
    pixels = sum(match.pixels for match in colors.values())
    if not pixels:
        return None
    mse = sum(match.squared_error() for match in colors.values()) / (3 * pixels)
    return {"psnr": round(-10 * math.log10(max(mse, 1e-12)), 3), "pixels": pixels}
