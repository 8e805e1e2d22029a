"""Where MediaPipe's 478 face points lie on the built-in head.

The table holds texture coordinates, so that it outlives small changes of the mesh. It was measured by detecting points
on renders of many identities, expressions and sides (``python -m capture.synthetic.correspondences procedural``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studio.heads.procedural.landmark_table import LANDMARK_UV
from studio.heads.procedural.layout import Ints
from studio.heads.procedural.mesh import REGIONS, Mesh
from studio.heads.procedural.skull import Array

_NEAREST = 48
_CARRIERS = ("face", "scalp", "neck", "eye_left", "eye_right")


def locate(
    uv: Array,  # [N, 2]
    uvs: Array,  # [U, 2]
    faces_uv: Ints,  # [F, 3]
) -> tuple[Ints, Array]:
    """Triangles [N] of a texture atlas that hold the points, or are nearest, and barycentric coordinates [N, 3].

    Only the ``_NEAREST`` triangles whose middles are nearest to a point are tried.
    """
    middle = uvs[faces_uv].mean(1)
    squared = (middle**2).sum(-1) - 2.0 * uv @ middle.T
    near = np.argpartition(squared, _NEAREST, axis=1)[:, :_NEAREST]  # [N, K]
    corners = uvs[faces_uv[near]]  # [N, K, 3, 2]
    first, second = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    offset = uv[:, None] - corners[..., 0, :]
    area = _cross(first, second)
    area = np.where(np.abs(area) < 1e-14, np.inf, area)
    v, w = _cross(offset, second) / area, _cross(first, offset) / area
    bary = np.clip(np.stack((1.0 - v - w, v, w), axis=-1), 0.0, None)
    bary /= bary.sum(-1, keepdims=True)
    reached = np.einsum("nkc,nkcd->nkd", bary, corners)
    best = np.linalg.norm(reached - uv[:, None], axis=-1).argmin(1)
    rows = np.arange(len(uv))
    return near[rows, best], bary[rows, best]


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def landmarks(mesh: Mesh) -> tuple[Ints, Array]:
    """Triangle [478] and barycentric coordinates [478, 3] of every MediaPipe point."""
    carriers = np.flatnonzero(np.isin(mesh.face_region, [REGIONS.index(name) for name in _CARRIERS]))
    faces, bary = locate(np.array(LANDMARK_UV), mesh.uvs, mesh.faces_uv[carriers])
    return carriers[faces], bary


def write_table(
    mesh: Mesh,
    faces: Ints,  # [478]
    bary: Array,  # [478, 3]
) -> None:
    """Store measured correspondences as ``landmark_table.py`` beside this module."""
    uv = (mesh.uvs[mesh.faces_uv[faces]] * bary[..., None]).sum(1)
    rows = [", ".join(f"({u:.5f}, {v:.5f})" for u, v in uv[start : start + 5]) for start in range(0, len(uv), 5)]
    lines = [
        '"""MediaPipe\'s 478 points as texture coordinates of the built-in head (see landmarks.py)."""\n',
        "# fmt: off",
        "LANDMARK_UV: tuple[tuple[float, float], ...] = (",
        *(f"    {row}," for row in rows),
        ")\n",
    ]
    Path(__file__).with_name("landmark_table.py").write_text("\n".join(lines))
