"""What a head model's motion does to the space round it, on lattices: the prior of a driven radiance field."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from scipy.spatial import cKDTree
from torch import Tensor

from recon.mesh_tears import Tear, find_tears, lattice
from studio.codes import Codes
from studio.heads.model import HeadModel
from studio.kernels.unwarp import Warps

_SIDE, _FINE = 64, 36  # lattice points along each side of the box, and of each torn part of it
_CELLS, _FINE_CELLS = 32, 16  # cells that gather what has come to them, along the same sides
_SPREAD = 2  # how many cells further their means are used where nothing is
_NEAREST, _BLUR = 4, 0.002  # vertices that a lattice point moves with; metres within which they count alike


class MeshWarp:
    """Displacements of the resting head in a box of the head frame, carried by the nearest vertices.

    What has no vertices, as hair, moves with the nearest. Mouth and eyes have finer lattices of their own, one for each
    side of where they are torn.
    """

    def __init__(
        self,
        head: HeadModel,  # without identity parameters
        lower: Tensor,  # [3] metres, head frame
        upper: Tensor,  # [3]
    ) -> None:
        self.head, self.lower, self.upper = head, lower, upper
        self._size = float((upper - lower).mean())

    @cached_property
    def _rest(self) -> Tensor:
        return self._vertices(Codes.neutral(self.head.space))

    def _vertices(self, codes: Codes) -> Tensor:
        return self.head.vertices_head(codes.expression.new_zeros(0), codes)

    @cached_property
    def _tears(self) -> list[Tear]:
        return find_tears(self.head, _FINE)

    @cached_property
    def _carriers(self) -> csr_matrix:
        """[N³ + 2 P M³, V]: shares of the vertices that each lattice point moves with."""
        everywhere = lattice(self.lower.double().numpy(), self.upper.double().numpy(), _SIDE)
        parts = [self._shares(everywhere, np.ones(len(self._rest), bool))]
        for tear in self._tears:
            parts += [self._shares(tear.points(), own) for own in (tear.first, tear.second)]
        return vstack(parts, format="csr")

    def _shares(self, points: np.ndarray, own: np.ndarray) -> csr_matrix:
        """[len(points), V] of the nearest of the vertices [V] bool."""
        distances, nearest = cKDTree(self._rest[own].double().numpy()).query(points, k=_NEAREST)
        shares = 1.0 / (distances**2 + _BLUR**2)
        shares = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
        starts = np.arange(len(points) + 1) * _NEAREST
        columns = np.flatnonzero(own)[nearest.reshape(-1)]
        return csr_matrix((shares.reshape(-1), columns, starts), (len(points), len(self._rest)))

    @cached_property
    def _torn(self) -> tuple[Tensor, Tensor]:
        """Boxes [P, 2, 3] of the torn parts and depths [P, 2, M, M, M] in their sides, in sides of the whole box."""
        corners = np.array([(tear.lower, tear.upper) for tear in self._tears]).reshape(-1, 2, 3)
        depths = np.array([tear.depths for tear in self._tears]).reshape(-1, 2, _FINE, _FINE, _FINE)
        boxes = (torch.from_numpy(corners).float() - self.lower) / (self.upper - self.lower)
        return boxes, torch.from_numpy(depths).float() / self._size

    @torch.no_grad()
    def volumes(
        self,
        codes: Codes,  # batch [C]
    ) -> Warps:
        """Displacements in sides of the box."""
        posed = self._vertices(codes)
        moved = (posed - self._rest) / (self.upper - self.lower)  # [C, V, 3]
        count, parts = len(moved), len(self._tears)
        carried = torch.from_numpy(self._carriers @ moved.transpose(0, 1).flatten(1).numpy())  # [N³ + 2 P M³, 3 C]
        by_code = carried.unflatten(1, (count, 3)).transpose(0, 1)
        whole = by_code[:, : _SIDE**3].reshape(count, _SIDE, _SIDE, _SIDE, 3).contiguous()
        halves = by_code[:, _SIDE**3 :].reshape(count, parts, 2, _FINE, _FINE, _FINE, 3).contiguous()
        boxes, depths = self._torn
        starts = self._starts((posed - self.lower) / (self.upper - self.lower), moved)
        return Warps(whole, halves, depths, boxes, *starts)

    def _starts(
        self,
        posed: Tensor,  # [C, V, 3] where vertices are, in sides of the box
        moved: Tensor,  # [C, V, 3] how they came there
    ) -> tuple[Tensor, Tensor]:
        """Mean displacements of what has come to the cells of the box, and of either side's vertices in torn parts."""
        cube = torch.stack((torch.zeros(3), torch.ones(3)))
        starts = _gathered(posed, moved, cube, _CELLS)
        parts = [
            torch.stack([_gathered(posed[:, own], moved[:, own], box, _FINE_CELLS) for own in owners], dim=1)
            for owners, box in zip(self._owners, self._torn[0])
        ]
        empty = starts.new_zeros(len(posed), 0, 2, _FINE_CELLS, _FINE_CELLS, _FINE_CELLS, 3)
        return starts, torch.stack(parts, dim=1) if parts else empty

    @cached_property
    def _owners(self) -> list[tuple[Tensor, ...]]:
        """Vertices of both sides of each tear."""
        return [tuple(torch.from_numpy(np.flatnonzero(own)) for own in (t.first, t.second)) for t in self._tears]


def _gathered(
    points: Tensor,  # [C, V, 3]
    values: Tensor,  # [C, V, 3]
    box: Tensor,  # [2, 3]
    cells: int,
) -> Tensor:
    """[C, cells, cells, cells, 3] means of the values of the points in each cell, and round those where none is."""
    count = len(points)
    place = ((points - box[0]) / (box[1] - box[0]) * cells).floor().long()
    inside = ((place >= 0) & (place < cells)).all(-1)
    flat = ((torch.arange(count)[:, None] * cells + place[..., 0]) * cells + place[..., 1]) * cells + place[..., 2]
    told = torch.cat((values, torch.ones_like(values[..., :1])), dim=-1)[inside]  # [K, 4]
    sums = torch.zeros(count * cells**3, 4).index_add(0, flat[inside], told)
    grid = sums.reshape(count, cells, cells, cells, 4).movedim(-1, 1)
    for _ in range(_SPREAD):
        wider = torch.nn.functional.avg_pool3d(grid, 3, 1, 1)
        grid = torch.where(grid[:, 3:] > 0, grid, wider)
    return (grid[:, :3] / grid[:, 3:].clamp(min=1e-9)).movedim(1, -1).contiguous()
