"""Ray marching and compositing on CUDA by nerfacc, called so that it means what our CPU kernels mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.march import Composite, OccupancyGrid, Samples, mean_distance


def march_nerfacc(
    origins: Tensor,
    directions: Tensor,
    grid: OccupancyGrid,
    step: float,
    near: float,
    far: float,
    jitter: Tensor,
) -> Samples:
    """See ``studio.kernels.march.march_rays``."""
    _, nerfacc_grid = _nerfacc()
    intervals, found, _ = nerfacc_grid.traverse_grids(
        origins.contiguous(),
        directions.contiguous(),
        grid.occupied[None].contiguous(),
        torch.cat((grid.lower, grid.upper))[None].float(),
        near_planes=near + jitter * step,
        far_planes=torch.full_like(jitter, far),
        step_size=step,
        cone_angle=0.0,
    )
    starts, ends = intervals.vals[intervals.is_left], intervals.vals[intervals.is_right]
    offsets = torch.nn.functional.pad(found.packed_info[:, 1].cumsum(0), (1, 0))
    return Samples(starts, ends, found.ray_indices.long(), offsets)


def composite_nerfacc(densities: Tensor, rgb: Tensor, samples: Samples) -> Composite:
    """See ``studio.kernels.march.composite``."""
    nerfacc, _ = _nerfacc()
    rays = len(samples.offsets) - 1
    weights, _, _ = nerfacc.render_weight_from_density(
        samples.starts, samples.ends, densities, ray_indices=samples.rays, n_rays=rays
    )
    color, alpha, distance = (
        nerfacc.accumulate_along_rays(weights, values=values, ray_indices=samples.rays, n_rays=rays)
        for values in (rgb, None, samples.middles[:, None])
    )
    return Composite(color, alpha[:, 0], mean_distance(distance[:, 0], alpha[:, 0]), weights)


def _nerfacc() -> tuple[Any, Any]:
    try:
        import nerfacc
        from nerfacc import grid
    except ImportError as error:
        raise StudioError("kernels=cuda", got=str(error), expected="nerfacc", next="pip install nerfacc") from error
    return nerfacc, grid
