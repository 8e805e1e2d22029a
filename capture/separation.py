"""Person and background of a whole clip: key frames, the background behind them, then a matte for every frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from capture.background import Background, estimate_background, rough_masks
from capture.landmarks import Landmarks
from capture.matte import ColorModel, person_alpha
from capture.zones import FaceFrame
from studio.logs import say

_KEY_FRAMES, _SAMPLES = 16, 60
_SURE_ALPHA = 20  # of 255: what is above may be the person when the background is sampled
_MARGIN = 0.025  # of the face's height, by which masks are widened there


@dataclass(frozen=True)
class Separation:
    """Models of person and background; ``alphas`` applies them."""

    background: Background
    colors: ColorModel


def learn_separation(read: Callable[[int], np.ndarray], landmarks: Landmarks) -> Separation:
    """Learn what person and background look like in a clip.

    Args:
        read: gives frame t as [S, S, 3] uint8.
        landmarks: in pixels of these frames.
    """
    valid = np.flatnonzero(landmarks.valid)
    keys = spread_frames(landmarks, valid, _KEY_FRAMES)
    images = [read(int(key)) for key in keys]
    margin = max(round(_MARGIN * FaceFrame.of(landmarks.points[keys[0]]).height), 1)
    masks = rough_masks(images, landmarks.points[keys])
    first = Separation(estimate_background(images, masks, margin), ColorModel.learn(images, masks))
    samples = np.union1d(keys, valid[np.linspace(0, len(valid) - 1, min(_SAMPLES, len(valid))).round().astype(int)])
    images = [read(int(sample)) for sample in samples]
    masks = [
        person_alpha(image, points, first.colors, first.background) > _SURE_ALPHA
        for image, points in zip(images, landmarks.points[samples], strict=True)
    ]
    background = estimate_background(images, masks, margin)
    if not background.static:
        say("warning: the camera moves; mattes come from colours alone and there is no still background")
    return Separation(background, ColorModel.learn(images, masks))


def spread_frames(landmarks: Landmarks, valid: np.ndarray, count: int) -> np.ndarray:
    """Half of the frames evenly in time, half where the head is farthest from where it was chosen before."""
    even = valid[np.linspace(0, len(valid) - 1, min(count // 2, len(valid))).round().astype(int)]
    chosen = list(dict.fromkeys(even.tolist()))
    places = landmarks.points[..., :2].mean(axis=1)
    while len(chosen) < min(count, len(valid)):
        distance = np.linalg.norm(places[valid, None] - places[None, chosen], axis=-1).min(axis=1)
        distance[np.isin(valid, chosen)] = -1.0
        chosen.append(int(valid[distance.argmax()]))
    return np.array(sorted(chosen))


def alphas(read: Callable[[int], np.ndarray], landmarks: Landmarks, separation: Separation) -> Iterator[np.ndarray]:
    """Mattes [S, S] uint8 of all frames in order; empty where there is no face."""

    def one(frame: int) -> np.ndarray:
        image = read(frame)
        if not landmarks.valid[frame]:
            return np.zeros(image.shape[:2], dtype=np.uint8)
        return person_alpha(image, landmarks.points[frame], separation.colors, separation.background)

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for begin in range(0, len(landmarks), 8 * workers):
            yield from pool.map(one, range(begin, min(begin + 8 * workers, len(landmarks))))
