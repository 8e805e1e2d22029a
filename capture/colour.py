"""Colours of the cameras of a rig, made alike: maps in linear light, from what several cameras see or from a chart.

A map takes the light that a camera recorded to the light that it should have recorded. Pictures are decoded from sRGB
first and encoded again after (estimates in encoded values are wrong for every brightness but one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from studio.errors import StudioError

Kind = Literal["gain", "affine", "polynomial"]
_HOLD = {"gain": 0.0, "affine": 0.02, "polynomial": 0.05}  # how firmly a map is held near plain gains, see ``fit_map``
_ROUNDS = 12
_OUTLIER = 3.0  # deviations
_ENOUGH = 6  # samples of a camera


def to_linear(
    image: np.ndarray,  # [...] sRGB-encoded: uint8, or float 0..1
) -> np.ndarray:
    """Light [...] float64, 0..1 (IEC 61966-2-1)."""
    if image.dtype == np.uint8:
        return _DECODED[image]
    return np.where(image <= 0.04045, image / 12.92, ((np.maximum(image, 0) + 0.055) / 1.055) ** 2.4)


_DECODED = to_linear(np.arange(256) / 255.0)


def to_srgb(
    light: np.ndarray,  # [...]
) -> np.ndarray:
    """Encoded values [...] 0..1; what lies outside is clipped."""
    light = np.clip(light, 0.0, 1.0)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def terms(
    light: np.ndarray,  # [N, 3]
    kind: Kind,
) -> np.ndarray:
    """What a map is linear in, [N, K]: R, G, B for gains; a constant, too, for affine; and all products of two."""
    if kind == "gain":
        return light
    r, g, b = light.T
    constant = np.ones(len(light))
    if kind == "affine":
        return np.stack((r, g, b, constant), 1)
    return np.stack((r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, constant), 1)


@dataclass(frozen=True)
class ColourMap:
    """From a camera's light to the right light.

    Args:
        kind: "gain" (one factor for each channel), "affine" (3x3 and an offset) or "polynomial" (second order).
        matrix: [3, K] over ``terms``.
    """

    kind: Kind
    matrix: np.ndarray

    @staticmethod
    def identity(kind: Kind) -> ColourMap:
        return ColourMap(kind, np.eye(3, terms(np.zeros((1, 3)), kind).shape[1]))

    def on_light(
        self,
        light: np.ndarray,  # [..., 3]
    ) -> np.ndarray:
        """The right light [..., 3]."""
        flat = terms(light.reshape(-1, 3), self.kind) @ self.matrix.T
        return flat.reshape(light.shape)

    def on_image(
        self,
        image: np.ndarray,  # [H, W, 3] uint8 sRGB
    ) -> np.ndarray:
        """The corrected picture [H, W, 3] uint8. Channels that the sensor clipped stay white."""
        light = self.on_light(to_linear(image))
        clipped = (image == 255).all(-1, keepdims=True)
        return (np.where(clipped, 1.0, to_srgb(light)) * 255.0 + 0.5).astype(np.uint8)


def fit_map(
    seen: np.ndarray,  # [N, 3] light of the camera
    wanted: np.ndarray,  # [N, 3] right light
    kind: Kind,
    weight: np.ndarray | None = None,  # [N]
) -> ColourMap:
    """The map of the least relative errors, robust to outliers, held near plain gains where the samples say little.

    Skin alone spans hardly more than one colour: without the hold, a 3x3 matrix would be made up for all others.

    Raises:
        StudioError: too few samples.
    """
    if len(seen) < (3 if kind == "gain" else _ENOUGH):
        raise StudioError("too few samples for a colour map", got=len(seen), expected=f"at least {_ENOUGH}")
    weight = np.ones(len(seen)) if weight is None else weight
    scale = 1.0 / np.maximum(wanted, 0.02)  # errors count relative to the light, as eyes see them
    gains = _gains(seen, wanted, weight)
    if kind == "gain":
        return ColourMap(kind, np.diag(gains))
    inputs = terms(seen * gains, kind)
    start = np.eye(3, inputs.shape[1])
    matrix = start.copy()
    hold = np.sqrt(_HOLD[kind] * weight.sum()) * np.eye(inputs.shape[1])
    for _ in range(_ROUNDS):
        error = (inputs @ matrix.T - wanted) * scale
        size = np.linalg.norm(error, axis=1)
        spread = 1.4826 * np.median(size) + 1e-4
        trust = np.sqrt(weight / (1 + (size / (_OUTLIER * spread)) ** 2))
        for channel in range(3):
            rows = inputs * (scale[:, channel] * trust)[:, None]
            goal = (wanted - inputs @ start.T)[:, channel] * scale[:, channel] * trust
            change = np.linalg.lstsq(np.vstack((rows, hold)), np.r_[goal, np.zeros(len(hold))], rcond=None)[0]
            matrix[channel] = start[channel] + change
    return ColourMap(kind, matrix @ _expanded(gains, kind))


def _gains(seen: np.ndarray, wanted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[3] weighted median of the ratios."""
    ratio = np.maximum(wanted, 1e-4) / np.maximum(seen, 1e-4)
    order = np.argsort(ratio, axis=0)
    share = np.cumsum(weight[order], axis=0) / weight.sum()
    return np.array([ratio[order[np.searchsorted(share[:, c], 0.5), c], c] for c in range(3)])


def _expanded(gains: np.ndarray, kind: Kind) -> np.ndarray:
    """[K, K] what gains on the light do to its terms."""
    return np.diag(terms(gains[None], kind)[0])


def match_cameras(
    light: np.ndarray,  # [C, P, 3] of points that several cameras see, NaN where one does not
    kind: Kind,
    reference: int | None = None,
    trust: np.ndarray | None = None,  # [C, P]
) -> list[ColourMap | None]:
    """A map for each camera that makes them see the same points in the same colours.

    Args:
        light: samples.
        kind: of the maps.
        reference: index of a camera that is right; without, all move to their middle.
        trust: weights of the samples.

    Returns:
        None for cameras with too few samples.
    """
    known = np.isfinite(light).all(-1) & (light > 1e-3).all(-1)
    trust = np.where(known, 1.0 if trust is None else trust, 0.0)
    stops = np.log2(np.where(known[..., None], light, 1.0))
    level, own = _levels(stops, trust, reference)
    middle = 2.0**level
    maps: list[ColourMap | None] = []
    for camera in range(len(light)):
        used = (trust[camera] > 0) & np.isfinite(middle).all(-1)
        if used.sum() < _ENOUGH or not np.isfinite(own[camera]).all():
            maps.append(None)
        elif camera == reference:
            maps.append(ColourMap.identity(kind))
        else:
            maps.append(fit_map(light[camera][used], middle[used], kind, trust[camera][used]))
    return maps


def _levels(stops: np.ndarray, trust: np.ndarray, reference: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Colour [P, 3] of each point and offset [C, 3] of each camera, in stops, such that stops = colour + offset."""
    count = len(stops)
    offset = np.zeros((count, 3))
    shared = (trust > 0).sum(0) >= 2
    weight = np.where(shared, trust, 0.0)
    for _ in range(_ROUNDS * 2):
        level = medians(np.where(weight[..., None] > 0, stops - offset[:, None], np.nan), 0)
        offset = medians(np.where(weight[..., None] > 0, stops - level[None], np.nan), 1)
        offset -= offset[reference] if reference is not None else medians(offset[None], 1)[0]
        filled = np.nan_to_num(offset)
        offset = np.where(np.isfinite(offset), filled, np.nan)
    return level, offset


def medians(values: np.ndarray, axis: int) -> np.ndarray:
    """Median of what is known; NaN where nothing is."""
    ordered = np.sort(values, axis=axis)  # NaN goes to the end
    count = np.isfinite(values).sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0), axis)
    high = np.take_along_axis(ordered, np.maximum(count // 2, 0).clip(max=values.shape[axis] - 1), axis)
    return np.where(count > 0, 0.5 * (low + np.where(count % 2 == 0, high, low)), np.nan).squeeze(axis)


def camera_offsets(light: np.ndarray, trust: np.ndarray | None = None) -> np.ndarray:
    """[C, 3] by how many stops each camera is brighter than the middle of all; NaN for cameras with too few samples.

    Args:
        light: as for ``match_cameras``.
        trust: as there.
    """
    known = np.isfinite(light).all(-1) & (light > 1e-3).all(-1)
    trust = np.where(known, 1.0 if trust is None else trust, 0.0)
    _, offset = _levels(np.log2(np.where(known[..., None], light, 1.0)), trust, None)
    few = ((trust > 0) & ((trust > 0).sum(0) >= 2)).sum(1) < _ENOUGH
    return np.where(few[:, None], np.nan, offset)


# The 24 patches of the classic chart (ColorChecker, sRGB values as published), row by row from "dark skin".
CHART = np.array(
    [
        *((115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170)),
        *((214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46)),
        *((56, 61, 150), (70, 148, 73), (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161)),
        *((243, 243, 242), (200, 200, 200), (160, 160, 160), (122, 122, 121), (85, 85, 85), (52, 52, 52)),
    ],
    dtype=np.uint8,
)
_COLUMNS, _ROWS = 6, 4
_PATCH = 0.5  # of a patch's side that is sampled


def read_chart(
    image: np.ndarray,  # [H, W, 3] uint8 sRGB
    corners: Sequence[Sequence[float]],  # [4, 2] pixels: the outer corners of the patches at dark skin, bluish green,
    # black and white, in this order (clockwise in a picture that is not mirrored)
) -> np.ndarray:
    """Light [24, 3] of the patches, medians.

    Raises:
        StudioError: corners outside of the picture, or patches smaller than a few pixels.
    """
    import cv2

    quad = np.asarray(corners, np.float32)
    if quad.shape != (4, 2) or not np.isfinite(quad).all():
        raise StudioError("corners of a chart", got=f"shape {quad.shape}", expected="four points x, y")
    if (quad < 0).any() or (quad > (image.shape[1], image.shape[0])).any():
        raise StudioError("the chart leaves the picture", got=quad.tolist(), expected="all corners within it")
    cell = 32
    whole = np.array([(0, 0), (_COLUMNS * cell, 0), (_COLUMNS * cell, _ROWS * cell), (0, _ROWS * cell)], np.float32)
    sides = np.linalg.norm(quad - np.roll(quad, 1, axis=0), axis=1)
    if sides.min() < 4 * _ROWS:
        raise StudioError(
            "the chart is too small in the picture", got=f"{sides.min():.0f} pixels", expected="16 or more"
        )
    flat = cv2.warpPerspective(image, cv2.getPerspectiveTransform(quad, whole), (_COLUMNS * cell, _ROWS * cell))
    light = to_linear(flat).reshape(_ROWS, cell, _COLUMNS, cell, 3).transpose(0, 2, 1, 3, 4)
    inner = slice(round(cell * (1 - _PATCH) / 2), round(cell * (1 + _PATCH) / 2))
    return np.median(light[:, :, inner, inner].reshape(24, -1, 3), axis=1)


def chart_map(patches: np.ndarray, kind: Kind) -> ColourMap:
    """The map from measured patches [24, 3] (light) to the chart's own colours, clipped patches left out.

    Raises:
        StudioError: too few patches are usable, or they are not those of a chart in this order.
    """
    usable = (patches > 2e-3).all(1) & (patches < 0.98).all(1)
    found = fit_map(patches[usable], to_linear(CHART)[usable], kind)
    left = np.abs(to_srgb(found.on_light(patches[usable])) * 255 - CHART[usable]).mean()
    if left > 25:
        raise StudioError(
            "these are not the patches of a chart",
            got=f"{left:.0f} levels of error after correction",
            expected="corners from dark skin over bluish green and black to white",
        )
    return found
