"""Which triangle each texel of the atlas shows, so that a texture can be painted by position on the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.heads.procedural.layout import Ints


@dataclass(frozen=True)
class Texels:
    """The covered texels of a texture.

    Args:
        index: [N] flat indices into the [size * size] texture.
        face: [N] triangle shown there.
        bary: [N, 3] where in the triangle.
    """

    index: Ints
    face: Ints
    bary: NDArray[np.float32]

    def interpolate(
        self,
        values: NDArray[np.floating],  # [V] or [V, D]
        faces: Ints,  # [F, 3] indices into values
    ) -> NDArray[np.float32]:
        """Values at the texels [N] or [N, D]."""
        corners = np.asarray(values, np.float32)[faces[self.face]]
        return np.einsum("nk...,nk->n...", corners, self.bary)


def rasterize_uv(
    uvs: NDArray[np.floating],  # [U, 2] in 0..1, origin top left
    faces_uv: Ints,  # [F, 3]
    size: int,
) -> Texels:
    """Texels whose centres the triangles of a texture atlas cover. Where triangles overlap the last one wins."""
    corners = (uvs[faces_uv] * size - 0.5).astype(np.float32)  # [F, 3, 2], texel centres at integers
    low = np.clip(np.ceil(corners.min(1)), 0, size - 1).astype(np.int64)
    high = np.clip(np.floor(corners.max(1)), -1, size - 1).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    counts = extent[:, 0] * extent[:, 1]
    face = np.repeat(np.arange(len(faces_uv)), counts)
    order = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    x = low[face, 0] + order % extent[face, 0]
    y = low[face, 1] + order // extent[face, 0]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    inverse = 1.0 / np.where(np.abs(area) < 1e-9, np.inf, area)

    def weight(p: NDArray[np.float32], q: NDArray[np.float32]) -> NDArray[np.float32]:
        px, py, qx, qy = p[face, 0], p[face, 1], q[face, 0], q[face, 1]
        return ((qx - px) * (y - py) - (qy - py) * (x - px)) * inverse[face]

    first, second = weight(b, c), weight(c, a)
    bary = np.stack((first, second, 1.0 - first - second), axis=-1).astype(np.float32)
    inside = (bary >= -1e-4).all(1) & (area[face] != 0)
    return Texels((y * size + x)[inside], face[inside], bary[inside])
