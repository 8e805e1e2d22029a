"""What a head model's motion does to the space round it, on a lattice: the prior of a driven radiance field."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree
from torch import Tensor

from studio.codes import Codes
from studio.heads.model import HeadModel

_SIDE = 64  # lattice points along each side of the box
_NEAREST, _BLUR = 4, 0.002  # vertices that a lattice point moves with; metres within which they count alike


class MeshWarp:
    """Displacements of the resting head in a box of the head frame, carried by the nearest vertices.

    What has no vertices, as hair, moves with the nearest.
    """

    def __init__(
        self,
        head: HeadModel,  # without identity parameters
        lower: Tensor,  # [3] metres, head frame
        upper: Tensor,  # [3]
    ) -> None:
        self.head, self.lower, self.upper = head, lower, upper

    @cached_property
    def _rest(self) -> Tensor:
        return self._vertices(Codes.neutral(self.head.space))

    def _vertices(self, codes: Codes) -> Tensor:
        return self.head.vertices_head(codes.expression.new_zeros(0), codes)

    @cached_property
    def _carriers(self) -> csr_matrix:
        """[N³, V]: shares of the vertices that each lattice point moves with."""
        places = torch.linspace(0.0, 1.0, _SIDE)
        points = self.lower + torch.cartesian_prod(places, places, places) * (self.upper - self.lower)
        distances, nearest = cKDTree(self._rest.double().numpy()).query(points.double().numpy(), k=_NEAREST)
        shares = 1.0 / (distances**2 + _BLUR**2)
        shares = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
        starts = np.arange(len(points) + 1) * _NEAREST
        return csr_matrix((shares.reshape(-1), nearest.reshape(-1), starts), (len(points), len(self._rest)))

    @torch.no_grad()
    def volumes(
        self,
        codes: Codes,  # batch [C]
    ) -> Tensor:
        """[C, N, N, N, 3] displacements, in sides of the box."""
        moved = (self._vertices(codes) - self._rest) / (self.upper - self.lower)  # [C, V, 3]
        count = len(moved)
        carried = torch.from_numpy(self._carriers @ moved.transpose(0, 1).flatten(1).numpy())  # [N³, 3 C]
        return carried.unflatten(1, (count, 3)).transpose(0, 1).reshape(count, _SIDE, _SIDE, _SIDE, 3).contiguous()
