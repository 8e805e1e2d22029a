"""Where MediaPipe's 478 face points lie on the built-in head.

The table was fitted by rendering the head from many sides, detecting the points, and casting them back onto the surface;
points of lids and lips were then put onto the mesh's own contours, and left and right made symmetric.
"""

from __future__ import annotations

import numpy as np

from studio.heads.procedural.landmark_table import LANDMARK_UV
from studio.heads.procedural.layout import Ints
from studio.heads.procedural.mesh import REGIONS, Mesh
from studio.heads.procedural.skull import Array

_CARRIERS = ("face", "scalp", "neck", "eye_left", "eye_right")


def locate(
    uv: Array,  # [N, 2]
    uvs: Array,  # [U, 2]
    faces_uv: Ints,  # [F, 3]
) -> tuple[Ints, Array]:
    """Triangles [N] of a texture atlas that hold the points, or are nearest, and barycentric coordinates [N, 3]."""
    a, b, c = (uvs[faces_uv[:, k]] for k in range(3))
    first, second = b - a, c - a
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    area = np.where(np.abs(area) < 1e-14, np.inf, area)
    offset = uv[:, None] - a
    v = (offset[..., 0] * second[:, 1] - offset[..., 1] * second[:, 0]) / area
    w = (first[:, 0] * offset[..., 1] - first[:, 1] * offset[..., 0]) / area
    bary = np.stack((1.0 - v - w, v, w), axis=-1)
    clipped = np.clip(bary, 0.0, None)
    clipped = clipped / clipped.sum(-1, keepdims=True)
    reached = np.einsum("nfk,fkd->nfd", clipped, uvs[faces_uv])
    miss = np.linalg.norm(reached - uv[:, None], axis=-1) + np.where(np.isinf(area), 1.0, 0.0)
    face = miss.argmin(1)
    return face, clipped[np.arange(len(uv)), face]


def landmarks(mesh: Mesh) -> tuple[Ints, Array]:
    """Triangle [478] and barycentric coordinates [478, 3] of every MediaPipe point."""
    carriers = np.flatnonzero(np.isin(mesh.face_region, [REGIONS.index(name) for name in _CARRIERS]))
    table = np.array(LANDMARK_UV)
    faces, bary = np.zeros(len(table), np.int64), np.zeros((len(table), 3))
    for start in range(0, len(table), 64):
        chunk = slice(start, start + 64)
        found, bary[chunk] = locate(table[chunk], mesh.uvs, mesh.faces_uv[carriers])
        faces[chunk] = carriers[found]
    return faces, bary
