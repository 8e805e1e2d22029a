"""From a posed head back to the resting one, where displacements of the resting one are known on a lattice."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels import unwarp_cpu
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow
from studio.kernels.tensors import flat


def unwarp_points(
    points: Tensor,  # [S, 3], 0..1: where they are seen
    index: Tensor,  # [S] int64 in 0..C - 1: the lattice of each
    volumes: Tensor,  # [C, N, N, N, 3] displacements of lattice points over the unit cube, in its units
    rounds: int,
    *,
    kernels: str = "auto",
) -> Tensor:
    """[S, 3] the points y of which y + d(y) = x, by ``rounds`` of y ← x - d(y), d interpolated linearly.

    This finds them where neighbours move alike (d varies less than the points do). Without gradients.

    Raises:
        StudioError: shapes do not fit, or ``kernels`` is not available.
    """
    side = volumes.shape[1] if volumes.ndim == 5 else 0
    fits = side >= 2 and volumes.shape[2:] == (side, side, 3)
    if not fits or points.ndim != 2 or points.shape[1] != 3 or index.shape != points.shape[:1]:
        got = [tuple(value.shape) for value in (points, index, volumes)]
        raise StudioError("points to unwarp", got=got, expected="points [S, 3], index [S], volumes [C, N, N, N, 3]")
    if choose_kernels(kernels, points.device) == "cuda":
        return unwarp_points_reference(points, index, volumes, rounds)
    out = torch.from_numpy(borrow("unwarped", tuple(points.shape)))
    unwarp_cpu.unwarp(flat(points), flat(index), volumes.detach().contiguous().numpy(), rounds, flat(out))
    return out


@torch.no_grad()
def unwarp_points_reference(points: Tensor, index: Tensor, volumes: Tensor, rounds: int) -> Tensor:
    """The same in plain torch, of any float type and device."""
    side, found = volumes.shape[1], points
    corners = torch.cartesian_prod(*[torch.arange(2, device=points.device)] * 3)  # [8, 3]
    for _ in range(rounds):
        place = found.clamp(0.0, 1.0) * (side - 1)
        low = place.long().clamp(max=side - 2)
        share = torch.where(corners == 1, (place - low)[:, None], 1.0 - (place - low)[:, None]).prod(-1)  # [S, 8]
        i, j, k = (low[:, None] + corners).unbind(-1)
        found = points - (share[..., None] * volumes[index[:, None], i, j, k]).sum(1)
    return found
