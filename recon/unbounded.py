"""What lies beyond a scene's box: space shrunk so that a box of finite size holds all of it (Barron et al. 2022).

With u the place in the box (-1..1 along each axis) and r its largest coordinate: inside nothing changes, beyond
u -> (2 - 1/r) u/r. Shells of equal r are nested boxes, on which rays are cut where 1/r falls evenly (Zhang et al.
2020): what is far away needs less detail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from studio.kernels.march import Samples

_LEAST = 1e-2  # 1/r of the farthest shell: a hundred times the box


@dataclass(frozen=True)
class Shells:
    """A box that is only the inner part of a scene.

    Args:
        lower: [3] its corner, world.
        upper: [3] the opposite one.
        count: samples of each ray beyond it.
    """

    lower: Tensor
    upper: Tensor
    count: int

    def shrink(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Places of points [S, 3] in a unit cube that holds all space, and what a length there is per length here [S].

        The second counts along the ray from the middle outwards, which is how most rays run out there.
        """
        centered = self._in_box(points)
        nearness = 1.0 / centered.abs().amax(1).clamp(min=1.0)
        return 0.5 + 0.25 * centered * ((2.0 - nearness) * nearness)[:, None], nearness.square()

    def extend(
        self,
        samples: Samples,  # inside
        origins: Tensor,  # [R, 3] world
        directions: Tensor,  # [R, 3] unit
        jitter: Tensor | None,  # [R] 0..1
    ) -> Samples:
        """The samples of the rays, followed by those beyond the box."""
        rays, count = len(origins), self.count
        shift = 0.0 if jitter is None else jitter[:, None] - 1.0  # the first one begins at the box
        nearness = 1.0 - (torch.arange(count + 1, device=origins.device) + shift) / count
        leaves = self.leave(origins, directions, 1.0 / nearness.clamp(_LEAST, 1.0)).clamp(min=0.0)
        far = torch.arange(rays, device=origins.device).repeat_interleave(count)
        outer = torch.arange(rays * count, device=origins.device) + samples.offsets[1:][far]
        inner = torch.arange(len(samples.starts), device=origins.device) + samples.rays * count
        starts, ends = (origins.new_empty(len(inner) + len(outer)) for _ in range(2))
        owners = samples.rays.new_empty(len(starts))
        for place, values in ((inner, (samples.starts, samples.ends, samples.rays)),
                              (outer, (leaves[:, :-1].reshape(-1), leaves[:, 1:].reshape(-1), far))):  # fmt: skip
            starts[place], ends[place], owners[place] = values
        steps = count * torch.arange(rays + 1, device=origins.device)
        return Samples(starts, ends, owners, samples.offsets + steps)

    def leave(
        self,
        origins: Tensor,  # [R, 3]
        directions: Tensor,  # [R, 3]
        sizes: Tensor,  # [R, K] of boxes, 1 for the box itself
    ) -> Tensor:
        """[R, K] where rays leave boxes of these sizes round the same middle."""
        half = 0.5 * (self.upper - self.lower)
        along = directions / half
        speed = torch.where(along.abs() < 1e-9, 1e-9, along.abs())
        against = self._in_box(origins) * along.sign()
        return ((sizes[..., None] - against[:, None]) / speed[:, None]).amin(-1)

    def measured(self, samples: Samples, origins: Tensor, directions: Tensor) -> Samples:
        """The samples with distances as long as they are in shrunk space, so that none is infinitely far away."""
        which = samples.rays
        edge = self.leave(origins, directions, origins.new_ones(len(origins), 1))[:, 0][which].clamp(min=0.0)
        half = 0.5 * float((self.upper - self.lower).max())

        def shrunk(distances: Tensor) -> Tensor:
            points = torch.addcmul(origins[which], directions[which], distances[:, None])
            nearness = 1.0 / self._in_box(points).abs().amax(1).clamp(min=1.0)
            return distances.minimum(edge) + half * (1.0 - nearness)

        return replace(samples, starts=shrunk(samples.starts), ends=shrunk(samples.ends))

    def _in_box(self, points: Tensor) -> Tensor:
        """[..., 3] -1..1 along each axis inside."""
        return (2.0 * points - self.lower - self.upper) / (self.upper - self.lower)
