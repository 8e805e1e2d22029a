"""Pieces of a mesh: a part with its own texture island, and the small topologies that parts are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.heads.procedural.layout import Ints
from studio.heads.procedural.skull import Array


@dataclass
class Part:
    """A connected piece of the head.

    Args:
        region: name of the part of the head.
        vertices: [V, 3] mm, head frame.
        faces: [F, 3], counter-clockwise from outside.
        uv: [V, 2] in 0..1 within the part's island of the texture, origin top left.
        jaw: [V] how far it follows the jaw (0 for all if None).
    """

    region: str
    vertices: Array
    faces: Ints
    uv: Array
    jaw: Array | None = None

    def mirrored(self, region: str) -> Part:
        """The same part on the other side."""
        return Part(region, self.vertices * (-1.0, 1.0, 1.0), self.faces[:, ::-1].copy(), self.uv, self.jaw)


def disk_faces(rings: int, spokes: int) -> Ints:
    """Triangles of a disk: vertex 0 in the middle, then ``rings`` circles of ``spokes`` vertices, counter-clockwise."""
    index = 1 + np.arange(rings * spokes).reshape(rings, spokes)
    following = np.roll(index, -1, axis=1)
    fan = np.stack((np.zeros(spokes, dtype=np.int64), index[0], following[0]), axis=-1)
    a, b, c, d = index[:-1], index[1:], following[1:], following[:-1]
    quads = np.stack((np.stack((a, b, c), -1), np.stack((a, c, d), -1)), axis=2).reshape(-1, 3)
    return np.concatenate((fan, quads))


def strip_faces(rows: int, columns: int) -> Ints:
    """Triangles of a grid of vertices [rows, columns]; seen from outside, rows go down and columns to the right."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    return np.stack((np.stack((a, b, c), -1), np.stack((a, c, d), -1)), axis=2).reshape(-1, 3)
