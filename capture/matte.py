"""Alpha mattes without a network: background difference, colour models, and the face's place.

A pixel is weighed between the colours of the person (a histogram over the clip) and those of the background at that
very pixel; on the edge, alpha is where its colour lies between the local colour of the person and the known background
(difference matting: Qian & Sezan, 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from capture.background import Background, grab_cut
from capture.zones import LIKELY, NEVER, SURE, UNLIKELY, FaceFrame, zones

_BINS = 24
_WORK_PIXELS = 256  # colours are weighed at this size, edges drawn at full size
_ZONE_ODDS = {NEVER: -20.0, UNLIKELY: -1.5, LIKELY: 1.5, SURE: 20.0}  # log odds of being the person
_SURE = 6.0  # log odds that are not questioned again
_LIMIT = 8.0  # log odds that one pixel's colour may contribute
_UNLIKE_ANY = 0.02  # share of background pixels that look unlike their background (shadows, flicker)
_BAND = 0.035  # half width of the soft edge, in heights of the face
_CONTRAST = 35.0  # levels between person and background at which a colour tells alpha half reliably
_HOLE = 0.02  # area, in squared face heights, up to which a hole in the person is closed


@dataclass(frozen=True)
class ColorModel:
    """Smoothed colour histograms [24, 24, 24] of the person and of everything else, as log probabilities."""

    person: np.ndarray
    other: np.ndarray

    @staticmethod
    def learn(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> ColorModel:
        """From images [S, S, 3] uint8 and the person's masks [S, S] bool in them."""
        counts = [np.zeros(_BINS**3), np.zeros(_BINS**3)]
        for image, mask in zip(images, masks, strict=True):
            cells = _cells(image)
            for count, chosen in zip(counts, (mask, ~mask), strict=True):
                count += np.bincount(cells[chosen], minlength=_BINS**3)
        return ColorModel(*(_log_density(count) for count in counts))


def _cells(image: np.ndarray) -> np.ndarray:
    levels = (image.astype(np.int32) * _BINS) >> 8
    return (levels[..., 0] * _BINS + levels[..., 1]) * _BINS + levels[..., 2]


def _log_density(count: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(count.reshape((_BINS,) * 3), 0.8).ravel() + 1e-3
    return np.log(smooth / smooth.sum() * (_BINS / 256) ** 3).astype(np.float32)


def person_alpha(
    image: np.ndarray,  # [S, S, 3] uint8
    points: np.ndarray,  # [478, 2 or 3] pixels
    colors: ColorModel,
    background: Background,
) -> np.ndarray:
    """The matte [S, S] uint8 of one frame."""
    face = FaceFrame.of(points)
    size = len(image)
    scale = min(_WORK_PIXELS / size, 1.0)
    work = round(size * scale)
    small = cv2.resize(image, (work, work), interpolation=cv2.INTER_AREA) if scale < 1 else image
    odds = _odds(small, zones(points * scale, work), colors, background.resized(work))
    smooth = cv2.GaussianBlur(odds, (0, 0), max(0.012 * face.height * scale, 0.6))
    core = _cleaned(_cut(small, smooth), points * scale, scale * face.height)
    if scale < 1:
        core = cv2.resize(core.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR) > 0.5
    return _soft_edge(image, core, background, max(round(_BAND * face.height), 1))


def _odds(image: np.ndarray, zone: np.ndarray, colors: ColorModel, background: Background) -> np.ndarray:
    """Log odds [S, S] that a pixel shows the person."""
    cells = _cells(image)
    person, other = colors.person[cells], colors.other[cells]
    if background.static:
        difference = image.astype(np.float32) - background.image.astype(np.float32)
        variance = (2.0 * background.noise) ** 2
        like_background = -0.5 * (difference**2).sum(-1) / variance - 1.5 * np.log(2 * np.pi * variance)
        own = np.logaddexp(like_background, np.log(_UNLIKE_ANY) + other)
        other = np.where(background.seen, own, other)
    color = np.clip(person - other, -_LIMIT, _LIMIT)
    prior = np.array([_ZONE_ODDS[label] for label in (NEVER, UNLIKELY, LIKELY, SURE)], np.float32)
    return (color + prior[zone]).astype(np.float32)


def _cut(image: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """The person's mask [S, S] bool: what is sure by its odds, and between that a cut along the image's edges."""
    labels = np.where(odds > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels = np.where(odds > _SURE, cv2.GC_FGD, np.where(odds < -_SURE, cv2.GC_BGD, labels))
    return grab_cut(image, labels.astype(np.uint8), rounds=1)


def _cleaned(mask: np.ndarray, points: np.ndarray, face_height: float) -> np.ndarray:
    """The part that hangs together with the face, with small holes closed."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    middle = np.clip(np.round(points[:, :2].mean(axis=0)).astype(int), 0, len(mask) - 1)
    person = labels == labels[middle[1], middle[0]] if mask[middle[1], middle[0]] else mask
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~person).astype(np.uint8))
    small = np.flatnonzero(stats[:count, cv2.CC_STAT_AREA] < _HOLE * face_height**2)
    return person | np.isin(labels, small[small > 0])


def _soft_edge(image: np.ndarray, person: np.ndarray, background: Background, band: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    mask = person.astype(np.uint8)
    # The picture's edge is no edge of the person.
    inner = cv2.erode(mask, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    outer = cv2.dilate(mask, kernel, borderType=cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.3 * band, 0.6), borderType=cv2.BORDER_REPLICATE)
    if background.static:
        pixels = image.astype(np.float32)
        spread = (4 * band + 1, 4 * band + 1)
        own = cv2.blur(pixels * inner[..., None], spread) / np.maximum(cv2.blur(inner, spread), 1e-3)[..., None]
        behind = background.image.astype(np.float32)
        axis = own - behind
        length = (axis**2).sum(-1)
        measured = np.clip(((pixels - behind) * axis).sum(-1) / np.maximum(length, 1.0), 0.0, 1.0)
        trust = length / (length + _CONTRAST**2) * background.seen
        soft = soft + trust * (cv2.GaussianBlur(measured, (3, 3), 0.6) - soft)
    alpha = np.where(inner > 0, 1.0, np.where(outer > 0, soft, 0.0))
    return np.rint(255.0 * alpha).astype(np.uint8)


_PLATE_SURE, _PLATE_DOUBT = 8.0, 3.5  # times the noise: differences that are the person, and that touch it
_PLATE_NOISE = 3.0  # levels at least
_PLATE_BAND = 0.006  # of the picture's longer side: half width of the soft edge


def plate_alpha(
    image: np.ndarray,  # [H, W, 3] uint8
    plate: np.ndarray,  # [H, W, 3] uint8: what the camera sees without the person
) -> np.ndarray:
    """The matte [H, W] uint8 of a picture whose background is known; no face is needed.

    Differences beyond the noise are the person, with weaker ones that hang together with them (hysteresis); the plate's
    brightness is matched to the picture first, because lamps and exposure drift.
    """
    matched = _matched_plate(image, plate)
    difference = np.abs(image.astype(np.float32) - matched).max(-1)
    difference = cv2.GaussianBlur(difference, (0, 0), max(len(image) / 512, 0.6))
    quiet = difference[difference <= np.quantile(difference, 0.4)]
    noise = max(2.0 * float(np.median(quiet)), _PLATE_NOISE)
    person = _hanging_together(difference > _PLATE_DOUBT * noise, difference > _PLATE_SURE * noise)
    seen = np.ones(person.shape, bool)
    behind = Background(np.clip(np.rint(matched), 0, 255).astype(np.uint8), seen, np.full(person.shape, noise), True)
    return _soft_edge(image, person, behind, max(round(_PLATE_BAND * max(image.shape[:2])), 1))


def _matched_plate(image: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """The plate [H, W, 3] float32 with the brightness of the picture, told from where they are most alike."""
    levels = plate.astype(np.float32)
    gains = np.ones(3, np.float32)
    for _ in range(3):
        off = np.abs(image - gains * levels).max(-1)
        alike = (off <= np.quantile(off, 0.4)) & (plate.min(-1) > 16) & (image.max(-1) < 250)
        if alike.sum() < 64:
            break
        gains = np.median(image[alike] / levels[alike], axis=0).clip(0.7, 1.4).astype(np.float32)
    return gains * levels


def _hanging_together(doubtful: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Parts of a mask that hold something sure and are not small, with holes that are small closed."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(doubtful.astype(np.uint8))
    area = stats[:count, cv2.CC_STAT_AREA]
    kept = np.unique(labels[sure & doubtful])
    kept = kept[(kept > 0) & (area[kept] > 0.05 * area[1:].max(initial=0))]
    person = np.isin(labels, kept)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~person).astype(np.uint8))
    small = np.flatnonzero(stats[:count, cv2.CC_STAT_AREA] < 0.02 * max(person.sum(), 1))
    return np.asarray(person | np.isin(labels, small[small > 0]))
