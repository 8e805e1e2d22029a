"""What the painters of the texture share: the texels of one kind of surface, noise, and ways to mix colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studio.heads.procedural.appearance import Appearance, Color
from studio.heads.procedural.atlas import ISLANDS
from studio.heads.procedural.layout import Ints
from studio.heads.procedural.mesh import REGIONS, Mesh
from studio.heads.procedural.skull import Array
from studio.heads.procedural.uvmap import Texels


@dataclass(frozen=True)
class Canvas:
    """N texels to be painted.

    Args:
        mesh: the neutral head.
        texels: which texels.
        look: the subject.
        grain: [N] fine noise of unit variance.
        rng: source of everything random.
    """

    mesh: Mesh
    texels: Texels
    look: Appearance
    grain: Array
    rng: np.random.Generator

    @cached_property
    def points(self) -> Array:
        """Where the texels lie on the neutral head: [N, 3] mm."""
        return self.texels.interpolate(self.mesh.vertices, self.mesh.faces)

    def field(self, values: Array) -> Array:
        """Values [V] of the vertices at the texels: [N]."""
        return self.texels.interpolate(values, self.mesh.faces)

    def uv(self, island: str) -> Array:
        """Coordinates [N, 2] within an island."""
        left, top, width, height = ISLANDS[island]
        return (self.texels.interpolate(self.mesh.uvs, self.mesh.faces_uv) - [left, top]) / [width, height]

    def polar(self, island: str) -> tuple[Array, Array]:
        """Radius [N] (1 at the rim) and angle [N] in a round island."""
        x, y = (2.0 * self.uv(island) - 1.0).T
        return np.hypot(x, y), np.arctan2(-y, x)

    def shows(self, *regions: str) -> Array:
        """[N] bool: texels of the named regions."""
        return np.isin(self.mesh.face_region[self.texels.face], [REGIONS.index(name) for name in regions])

    def part(self, chosen: Array) -> Canvas:
        """The canvas of some of the texels, [N] bool."""
        texels = Texels(self.texels.index[chosen], self.texels.face[chosen], self.texels.bary[chosen])
        return Canvas(self.mesh, texels, self.look, self.grain[chosen], self.rng)

    def waves(self, wavelength: float, count: int = 10) -> Array:
        """Smooth noise [N] of about unit variance over space (mm): a sum of plane waves of random direction."""
        points = self.points
        direction = self.rng.standard_normal((count, 3))
        pitch = self.rng.uniform(0.6, 1.4, (count, 1)) * 2 * np.pi / wavelength
        direction *= pitch / np.linalg.norm(direction, axis=1, keepdims=True)
        phase = self.rng.uniform(0, 2 * np.pi, count)
        total = np.zeros(len(points), np.float32)
        for k in range(count):
            total += np.sin(points @ direction[k].astype(np.float32) + np.float32(phase[k]))
        return total * np.sqrt(2.0 / count)


def mix(color: Array, other: Array | Color, amount: Array) -> Array:
    """Colours [N, 3] moved towards others by an amount [N] in 0..1."""
    return color + np.asarray(amount)[:, None] * (np.asarray(other) - color)


def shade(color: Array, amount: Array, tint: Color = (1.0, 1.0, 1.0)) -> Array:
    """Colours [N, 3] darkened by an amount [N], more in the channels where ``tint`` is larger."""
    return color * (1.0 - np.asarray(amount)[:, None] * np.asarray(tint))


def loop_field(mesh: Mesh, rings: tuple[Ints, ...], first: int, ramp: tuple[float, ...]) -> Array:
    """A field [V] over concentric loops: the values of ``ramp`` from loop ``first`` on, then its last one; else 0."""
    field = np.zeros(len(mesh.vertices))
    for loops in rings:
        for k in range(first, len(loops)):
            field[loops[k]] = ramp[min(k - first, len(ramp) - 1)]
    return field
