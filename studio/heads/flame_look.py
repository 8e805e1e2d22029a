"""A plain look for FLAME, whose files have no texture: skin, eyes that look, and teeth."""

from __future__ import annotations

import numpy as np

SIZE = 256
_SKIN_PART = 0.75  # upper part of the texture; eyes and teeth lie below, side by side
_SKIN, _WHITE, _IRIS, _PUPIL, _TOOTH = (214, 166, 140), (238, 234, 230), (96, 70, 52), (18, 16, 16), (232, 224, 208)
_EYE_RADIUS = 0.013  # metres that the eyes' tile spans from its middle
_IRIS_RADIUS, _PUPIL_RADIUS = 0.0062, 0.0026


def atlas(
    vertices: np.ndarray,  # [V, 3] head frame
    faces: np.ndarray,  # [F, 3]
    region: np.ndarray,  # [F] 0 skin, 1 and 2 eyes
    eyes: np.ndarray,  # [2, 3] left and right
) -> np.ndarray:
    """Texture coordinates [F, 3, 2] of every corner: the skin unrolled round the vertical, eyes from the front."""
    corners = vertices[faces]
    around = np.arctan2(corners[..., 0], corners[..., 2] + 0.08) / (2 * np.pi)
    around = around[:, :1] + (around - around[:, :1] + 0.5) % 1.0 - 0.5  # no triangle across the seam
    low, high = vertices[:, 1].min(), vertices[:, 1].max()
    down = (high - corners[..., 1]) / (high - low)
    uvs = np.stack(((0.5 + around).clip(0.0, 1.0), 0.98 * _SKIN_PART * down), axis=-1)
    for number, center in enumerate(eyes, start=1):
        ball = region == number
        flat = (corners[ball][..., :2] - center[:2]) / _EYE_RADIUS * (0.12, -0.12)
        uvs[ball] = np.array((0.25, 0.5 * (1 + _SKIN_PART))) + flat.clip(-0.12, 0.12)
    return uvs


def paint() -> np.ndarray:
    """[256, 256, 3] uint8."""
    texture = np.empty((SIZE, SIZE, 3), np.uint8)
    texture[:] = _SKIN
    first = int(_SKIN_PART * SIZE)
    texture[first:, : SIZE // 2], texture[first:, SIZE // 2 :] = _WHITE, _TOOTH
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
    away = np.hypot(x - 0.25, y - 0.5 * (1 + _SKIN_PART)) / 0.12 * _EYE_RADIUS
    eye = (y > _SKIN_PART) & (x < 0.5)
    texture[eye & (away < _IRIS_RADIUS)], texture[eye & (away < _PUPIL_RADIUS)] = _IRIS, _PUPIL
    return texture
