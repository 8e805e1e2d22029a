"""Topology of the skin: a grid around the head with blocks cut out for eyes and mouth, refilled by concentric loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.heads.procedural.skull import SECTIONS, Array

Ints = NDArray[np.int64]

# Columns by their distance from the midline (mm) at the cheekbones, then by angle (degrees) round the back.
_FRONT_MM = (0, 1.5, 3.0, 4.5, 6.0, 7.6, 9.3, 11.1, 13, 15.5, 18.5, 22, 26, 30, 34, 38.5, 43.5, 49, 54.5)
_BACK_DEGREES = (62, 73, 84, 96, 108, 120, 132, 144, 156, 168, 180)
# Rows: into how many parts each interval between two sections is divided.
_ROWS = (2, 2, 3, 3, 3, 4, 8, 6, 9, 5, 5, 4, 3, 3, 3, 4, 4, 3)
MOUTH_COLUMNS, EYE_COLUMNS = (-16, 16), (7, 18)


@dataclass(frozen=True)
class Grid:
    """The grid before anything is cut: ``angle [C]`` of columns -H+1 .. H and ``level [R]`` of rows downwards."""

    angle: Array
    level: Array

    @property
    def half(self) -> int:
        return len(self.angle) // 2

    def row(self, level: float) -> int:
        """The row that lies on a section."""
        return int(np.argmin(np.abs(self.level - level)))

    def vertex(self, row: int | Ints, column: int | Ints) -> Ints:
        """Vertex index of a grid point; columns count from the midline and wrap round."""
        return np.asarray(row) * len(self.angle) + (np.asarray(column) + self.half - 1) % len(self.angle)

    def coordinates(self) -> tuple[Array, Array]:
        """(angle, level) of all grid vertices, in vertex order."""
        level, angle = np.meshgrid(self.level, self.angle, indexing="ij")
        return angle.ravel(), level.ravel()


def make_grid() -> Grid:
    """The grid of the head and neck (the shoulders are under the garment)."""
    width, power = SECTIONS[7, 6], SECTIONS[7, 7]
    front = np.arcsin((np.array(_FRONT_MM) / width) ** (power / 2))
    half = np.concatenate((front, np.radians(_BACK_DEGREES)))
    angle = np.concatenate((-half[-2:0:-1], half))
    level = np.concatenate([k + np.arange(n) / n for k, n in enumerate(_ROWS)] + [[float(len(_ROWS))]])
    return Grid(angle, level[1:])


@dataclass(frozen=True)
class Block:
    """A rectangle of cells cut out of the grid."""

    columns: tuple[int, int]
    rows: tuple[int, int]

    def loop(self, grid: Grid) -> Ints:
        """Its border vertices from the middle of the first column upwards and round, [2 (columns + rows)]."""
        (c0, c1), (r0, r1) = self.columns, self.rows
        step, middle = (1 if c1 > c0 else -1), (r0 + r1) // 2
        corners = [(r, c0) for r in range(middle, r0, -1)]
        corners += [(r0, c) for c in range(c0, c1, step)]
        corners += [(r, c1) for r in range(r0, r1)]
        corners += [(r1, c) for c in range(c1, c0, -step)]
        corners += [(r, c0) for r in range(r1, middle, -1)]
        rows, columns = np.array(corners).T
        return grid.vertex(rows, columns)

    def covers(self, row: Ints, column: Ints) -> NDArray[np.bool_]:
        """Which cells (by their upper row and lower column) are cut out."""
        low, high = min(self.columns), max(self.columns)
        return (column >= low) & (column < high) & (row >= self.rows[0]) & (row < self.rows[1])


def grid_quads(grid: Grid, blocks: list[Block]) -> Ints:
    """Quads [Q, 4] of the grid outside the blocks, counter-clockwise from outside."""
    rows, columns = np.meshgrid(np.arange(len(grid.level) - 1), np.arange(-grid.half + 1, grid.half + 1), indexing="ij")
    keep = ~np.any([block.covers(rows, columns) for block in blocks], axis=0)
    r, c = rows[keep], columns[keep]
    return np.stack(
        (grid.vertex(r, c), grid.vertex(r + 1, c), grid.vertex(r + 1, c + 1), grid.vertex(r, c + 1)), axis=-1
    )


def ring_quads(
    loops: Ints,  # [K, P] vertex indices of K loops, outermost first, clockwise from outside
) -> Ints:
    """Quads [(K - 1) * P, 4] between consecutive loops, counter-clockwise from outside."""
    outer, inner = loops[:-1], loops[1:]
    outer_next, inner_next = np.roll(outer, -1, axis=1), np.roll(inner, -1, axis=1)
    return np.stack((outer, inner, inner_next, outer_next), axis=-1).reshape(-1, 4)


def triangulate(
    quads: Ints,  # [Q, 4]
    vertices: Array,  # [V, 3]
) -> Ints:
    """Two triangles per quad [2 Q, 3], cut along one diagonal on the left and its mirror on the right."""
    a, b, c, d = quads.T
    left_side = (vertices[quads, 0].mean(1) > 0)[:, None]
    first = np.where(left_side, np.stack((a, b, c), -1), np.stack((a, b, d), -1))
    second = np.where(left_side, np.stack((a, c, d), -1), np.stack((b, c, d), -1))
    return np.stack((first, second), axis=1).reshape(-1, 3)
