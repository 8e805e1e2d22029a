"""The static background of a clip: what each pixel shows while the person is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from capture.zones import zones

_WORK_PIXELS = 192  # GrabCut's cost grows with pixels; its masks only choose samples here
_LABELS = np.array([cv2.GC_BGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD, cv2.GC_FGD], dtype=np.uint8)  # by zone
_MIN_SAMPLES = 2
_MOVES = 0.004  # of the picture's size: shift of background features from which the camera moves
_NOISE_FLOOR = 3.0  # levels


@dataclass(frozen=True)
class Background:
    """What is behind the person.

    Args:
        image: [S, S, 3] uint8; filled in smoothly where it was never seen.
        seen: [S, S] bool.
        noise: [S, S] float32 levels, standard deviation over time.
        static: False when the camera or the scene moves, so that the image means little.
    """

    image: np.ndarray
    seen: np.ndarray
    noise: np.ndarray
    static: bool

    def resized(self, size: int) -> Background:
        """The same for images of ``size`` pixels (smaller or equal)."""
        if size == len(self.image):
            return self
        image, noise = (
            cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA) for part in (self.image, self.noise)
        )
        seen = cv2.resize(self.seen.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
        return Background(image, seen, noise, self.static)


def rough_masks(images: Sequence[np.ndarray], points: np.ndarray) -> list[np.ndarray]:
    """Person masks [S, S] bool of a few key frames by GrabCut (Rother et al., 2004), begun from the face's zones.

    Args:
        images: [S, S, 3] uint8 each.
        points: [K, 478, 2 or 3] landmarks in pixels.
    """
    return [
        grab_cut(image, _LABELS[zones(landmarks, len(image))]) for image, landmarks in zip(images, points, strict=True)
    ]


def grab_cut(image: np.ndarray, labels: np.ndarray, rounds: int = 3) -> np.ndarray:
    """The person's mask [S, S] bool from first labels [S, S] in GrabCut's numbers."""
    size = len(image)
    work = (min(_WORK_PIXELS, size),) * 2
    small = cv2.resize(image, work, interpolation=cv2.INTER_AREA)
    labels = cv2.resize(labels, work, interpolation=cv2.INTER_NEAREST)
    colors = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(small, labels, (0, 0, 1, 1), colors[0], colors[1], rounds, cv2.GC_INIT_WITH_MASK)
    person = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(person, (size, size), interpolation=cv2.INTER_LINEAR)) > 0.5


def estimate_background(images: Sequence[np.ndarray], masks: Sequence[np.ndarray], margin: int) -> Background:
    """Median over time of what lies outside of the (dilated) masks.

    Args:
        images: [S, S, 3] uint8 each, spread over the clip.
        masks: [S, S] bool, the person in each.
        margin: pixels by which the masks are widened.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    outside = np.stack([cv2.dilate(mask.astype(np.uint8), kernel) == 0 for mask in masks])
    stack = np.stack(images)
    count = outside.sum(axis=0)
    seen = count >= min(_MIN_SAMPLES, len(stack))
    image = _median(stack, outside, count)
    noise = 1.48 * _median(cv2.absdiff(stack, np.broadcast_to(image, stack.shape)), outside, count).mean(axis=-1)
    noise = np.where(seen, np.maximum(noise, _NOISE_FLOOR), _NOISE_FLOOR).astype(np.float32)
    disputed = _disputed(stack, outside, image, noise).astype(np.uint8)
    seen &= cv2.medianBlur(disputed, 5) == 0
    filled = fill(image, seen)
    return Background(filled, seen, noise, not _moves(images, outside))


def _disputed(stack: np.ndarray, outside: np.ndarray, image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Pixels [S, S] that show the same where the masks say person as where they say background.

    There the masks of a few frames have missed a part of the person, such as clothes of the background's colour.
    """
    same = np.abs(stack.astype(np.int16) - image).max(axis=-1) < 4.0 * noise
    inside = ~outside
    count = inside.sum(axis=0)
    return (count > outside.sum(axis=0)) & ((same & inside).sum(axis=0) > 0.5 * count)


def _median(values: np.ndarray, chosen: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Median [S, S, 3] over time of the chosen values [K, S, S, 3]; 255 where none is chosen."""
    ordered = np.sort(np.where(chosen[..., None], values, np.uint8(255)), axis=0)  # those left out sort to the end
    middle = np.maximum(count - 1, 0) // 2
    return np.take_along_axis(ordered, middle[None, ..., None], axis=0)[0]


def fill(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Continue an image [S, S, 3] smoothly into what was not seen (pull-push over halving sizes)."""
    if seen.all() or not seen.any():
        return image
    levels = [(image.astype(np.float32) * seen[..., None], seen.astype(np.float32))]
    while levels[-1][1].min() == 0 and min(levels[-1][1].shape) > 1:
        size = tuple(max(extent // 2, 1) for extent in levels[-1][1].shape[::-1])
        color, weight = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in levels[-1])
        levels.append((color.astype(np.float32), weight.astype(np.float32)))
    color, weight = levels[-1]
    result = color / np.maximum(weight, 1e-6)[..., None]
    for color, weight in reversed(levels[:-1]):
        coarse = cv2.resize(result, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        result = color + (1 - np.minimum(weight, 1.0))[..., None] * coarse
    return np.where(seen[..., None], image, np.clip(np.rint(result), 0, 255).astype(np.uint8))


def _moves(images: Sequence[np.ndarray], outside: np.ndarray) -> bool:
    """Whether features of the background are displaced between the first frame and most others."""
    first = cv2.cvtColor(images[0], cv2.COLOR_RGB2GRAY)
    corners = cv2.goodFeaturesToTrack(first, 200, 0.02, 5, mask=outside[0].astype(np.uint8) * 255)
    if corners is None or len(corners) < 12:
        return False
    shifts = []
    for image, free in zip(images[1:], outside[1:], strict=True):
        found, good, _ = cv2.calcOpticalFlowPyrLK(
            first, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), corners, corners.copy()
        )
        cells = np.clip(np.rint(found[:, 0]).astype(int), 0, len(free) - 1)
        kept = (good[:, 0] > 0) & free[cells[:, 1], cells[:, 0]]
        if kept.sum() >= 8:
            shifts.append(float(np.median(np.linalg.norm(found[kept, 0] - corners[kept, 0], axis=-1))))
    return bool(shifts) and float(np.median(shifts)) > _MOVES * len(first)
