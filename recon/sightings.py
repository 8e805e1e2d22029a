"""Pixels whose distance is known, from triangulated points: they tell a field where surfaces are (Deng et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from capture.sparse_points import SparsePoints
from studio.cameras import Camera
from studio.kernels.march import Composite, Samples

_ERROR = 1.0  # pixels, of a feature
_MOST = 0.05  # of the distance: what is known less well says nothing
_FLOOR = 0.1  # light that need not come from there: a wrong match pulls no harder than this


@dataclass(frozen=True)
class Sightings:
    """N pixels that show points.

    Args:
        pixels: [N, 3] int64: view, row, column.
        distances: [N] along the ray to the point, world.
        errors: [N] how well that is known: two deviations.
    """

    pixels: Tensor
    distances: Tensor
    errors: Tensor

    @classmethod
    def of(cls, sparse: SparsePoints, rig: Camera) -> Sightings:
        """Both sights of each point; those that are not known well are left out."""
        points, views = torch.from_numpy(sparse.points), torch.from_numpy(sparse.views)
        toward = points[:, None] - rig.centers.double()[views]  # [N, 2, 3]
        distances = toward.norm(dim=-1)
        across = torch.linalg.cross(toward[:, 0], toward[:, 1]).norm(dim=-1) / distances.prod(1)  # sine of the angle
        focal = rig.Ks[:, 0, 0].double()[views]
        errors = 2.0 * _ERROR * distances / focal / across[:, None]
        xy = torch.stack([_project(rig, views[:, side], points) for side in (0, 1)], dim=1)
        place = xy.floor().long()
        seen = ((place >= 0) & (place < torch.tensor((rig.width, rig.height)))).all(-1)
        kept = seen & (errors < _MOST * distances)
        pixels = torch.cat((views[..., None], place.flip(-1)), dim=-1)[kept]
        return cls(pixels, distances[kept].float(), errors[kept].float())

    def __len__(self) -> int:
        return len(self.pixels)

    def on(self, mattes: Tensor) -> Sightings:
        """Those on the object; mattes: [C, H, W] uint8."""
        kept = mattes[tuple(self.pixels.unbind(1))] > 127
        return Sightings(self.pixels[kept], self.distances[kept], self.errors[kept])

    def draw(self, count: int, generator: torch.Generator) -> Sightings:
        """So many of them at random; none if there are none."""
        chosen = torch.randint(max(len(self), 1), (count if len(self) else 0,), generator=generator)
        return Sightings(self.pixels[chosen], self.distances[chosen], self.errors[chosen])


def _project(rig: Camera, views: Tensor, points: Tensor) -> Tensor:
    """[N, 2] pixels of points [N, 3], each in a view of its own."""
    seen = (rig.viewmats.double()[views, :3, :3] @ points[..., None])[..., 0] + rig.viewmats.double()[views, :3, 3]
    image = (rig.Ks.double()[views] @ seen[..., None])[..., 0]
    return image[:, :2] / image[:, 2:]


def sighting_loss(
    seen: Composite,
    samples: Samples,
    known: Sightings,  # of the last K of the rays
) -> Tensor:
    """Mean of -log of the share of the light that comes from where it should."""
    if not len(known):
        return seen.weights.new_zeros(())
    first = len(samples.offsets) - 1 - len(known)
    told = samples.rays >= first
    which = samples.rays[told] - first
    reach = known.errors[which] + (samples.ends - samples.starts)[told]
    there = (samples.middles[told] - known.distances[which]).abs() <= reach
    share = torch.zeros_like(known.distances).index_add(0, which, seen.weights[told] * there)
    return -((share + _FLOOR) / (1.0 + _FLOOR)).log().mean()
