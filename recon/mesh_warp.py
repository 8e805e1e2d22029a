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
        """Boxes [P, 2, 3] of the torn parts and heights [P, M, M, M] over the tears, in sides of the whole box."""
        corners = np.array([(tear.lower, tear.upper) for tear in self._tears]).reshape(-1, 2, 3)
        heights = np.array([tear.heights for tear in self._tears]).reshape(-1, _FINE, _FINE, _FINE)
        boxes = (torch.from_numpy(corners).float() - self.lower) / (self.upper - self.lower)
        return boxes, torch.from_numpy(heights).float() / self._size

    @torch.no_grad()
    def volumes(
        self,
        codes: Codes,  # batch [C]
    ) -> Warps:
        """Displacements in sides of the box."""
        moved = (self._vertices(codes) - self._rest) / (self.upper - self.lower)  # [C, V, 3]
        count, parts = len(moved), len(self._tears)
        carried = torch.from_numpy(self._carriers @ moved.transpose(0, 1).flatten(1).numpy())  # [N³ + 2 P M³, 3 C]
        by_code = carried.unflatten(1, (count, 3)).transpose(0, 1)
        whole = by_code[:, : _SIDE**3].reshape(count, _SIDE, _SIDE, _SIDE, 3).contiguous()
        halves = by_code[:, _SIDE**3 :].reshape(count, parts, 2, _FINE, _FINE, _FINE, 3).contiguous()
        boxes, heights = self._torn
        return Warps(whole, halves, heights, boxes)
