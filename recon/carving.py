"""What is known to be empty before a scene is learned: what cameras look through to see points that are known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from capture.sparse_points import SparsePoints
from studio.cameras import Camera
from studio.kernels.march import OccupancyGrid

_NEAR = 0.7  # of the way to the nearest point that a camera sees nothing is looked for
_NEAREST = 0.02  # quantile of a camera's points that is its nearest one: single points may be wrong
_VIEWS = 2  # cameras that must see a cell
_CROSSED = 4  # sight lines that say that a cell is empty
_STEPS = 192  # along each sight line
_LINES = 40_000  # sight lines that are followed, at most


def carve(grid: OccupancyGrid, rig: Camera, sparse: SparsePoints) -> None:
    """Leave in ``grid.possible`` and ``occupied`` only what may hold something.

    Nothing is right in front of a camera, nothing where lines of sight to points pass, but near points; and what a
    single camera sees cannot be told from what is behind it.
    """
    seen, before = _in_view(grid, rig, _near_planes(rig, sparse))
    through = _looked_through(grid, rig, sparse) & ~_beside(grid, sparse)
    possible = (seen >= _VIEWS) & ~before & ~through
    grid.possible, grid.occupied = possible, possible.clone()


def _near_planes(rig: Camera, sparse: SparsePoints) -> Tensor:
    """[C] camera z up to which each camera sees nothing; 0 for those that saw no points."""
    depths = _depths(rig, sparse)
    near = [np.quantile(depths[sparse.views == view], _NEAREST) if (sparse.views == view).any() else 0.0
            for view in range(len(rig))]  # fmt: skip
    return _NEAR * torch.tensor(near).clamp(min=0.0)


def _depths(rig: Camera, sparse: SparsePoints) -> np.ndarray:
    """[N, 2] camera z of each point in its two cameras."""
    viewmats = rig.viewmats.double().numpy()[sparse.views]  # [N, 2, 4, 4]
    return np.einsum("nvi,ni->nv", viewmats[:, :, 2, :3], sparse.points) + viewmats[:, :, 2, 3]


def _in_view(grid: OccupancyGrid, rig: Camera, near: Tensor) -> tuple[Tensor, Tensor]:
    """[X, Y, Z]: how many cameras see a cell's middle (int64), and whether one sees it before its near plane (bool)."""
    shape = grid.values.shape
    axes = [lower + (torch.arange(count) + 0.5) / count * (upper - lower)
            for lower, upper, count in zip(grid.lower, grid.upper, shape)]  # fmt: skip
    centers = torch.cartesian_prod(*axes)
    count, before = torch.zeros(len(centers), dtype=torch.int64), torch.zeros(len(centers), dtype=torch.bool)
    for view in range(len(rig)):
        xy, depth = (value[0] for value in rig[view].project(centers))
        seen = ((xy >= 0) & (xy < torch.tensor((rig.width, rig.height)))).all(1) & (depth > 0)
        count += seen
        before |= seen & (depth < near[view])
    return count.reshape(shape), before.reshape(shape)


def _looked_through(grid: OccupancyGrid, rig: Camera, sparse: SparsePoints) -> Tensor:
    """[X, Y, Z] bool: cells that enough lines from cameras to the points they saw pass."""
    points = torch.from_numpy(sparse.points).float().repeat_interleave(2, dim=0)
    views = torch.from_numpy(sparse.views).reshape(-1)
    chosen = torch.linspace(0, len(views) - 1, min(_LINES, len(views))).long()
    begin, end = rig.centers[views[chosen]], points[chosen]
    passed = torch.zeros(grid.values.numel())
    before = torch.full((len(chosen),), -1)
    for step in range(_STEPS):
        cells = _cells(grid, begin + (step + 0.5) / _STEPS * (end - begin))
        new = (cells >= 0) & (cells != before)  # a line counts once in each cell
        passed.index_add_(0, cells[new], torch.ones(int(new.sum())))
        before = cells
    return (passed >= _CROSSED).reshape(grid.values.shape)


def _beside(grid: OccupancyGrid, sparse: SparsePoints) -> Tensor:
    """[X, Y, Z] bool: cells with points in them or in a neighbour."""
    cells = _cells(grid, torch.from_numpy(sparse.points).float())
    held = torch.zeros(grid.values.numel())
    held[cells[cells >= 0]] = 1.0
    return torch.nn.functional.max_pool3d(held.reshape(1, *grid.values.shape), 3, 1, 1)[0] > 0


def _cells(grid: OccupancyGrid, points: Tensor) -> Tensor:
    """[N] number of the cell that each point is in, -1 outside of the box."""
    shape = torch.tensor(grid.values.shape)
    index = ((points - grid.lower) / (grid.upper - grid.lower) * shape).floor().long()
    inside = ((index >= 0) & (index < shape)).all(1)
    x, y, z = index.unbind(1)
    return torch.where(inside, (x * shape[1] + y) * shape[2] + z, -1)
