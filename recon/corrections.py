"""What the driving codes change beyond the mesh: reduced bases of corrections, weighted by a small network.

RGBAvatar (arXiv 2503.12886): every Gaussian owns K corrections of position, rotation and colour; a small network turns
the codes into K weights. Codes outside of what the training clip showed are brought back to its range first, so that a
foreign driver gets the mesh's motion with the nearest correction that was ever learned, never an extrapolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from studio.codes import Codes

_JOINT_FLOORS = (0.02,) * 3 + (0.02,) * 3 + (0.003,) * 3 + (0.03,) * 6  # jaw, neck, neck shift (metres), eyes
_EXPRESSION_FLOOR = 0.05  # a channel that moves less than this in the whole clip tells nothing
_KEPT_VARIANCE = 0.995


@dataclass(frozen=True)
class CodeStatistics:
    """The distribution of the training codes, as an affine map to a few decorrelated components of unit variance.

    Args:
        mean: [E + 15] of ``Codes.vector``.
        projection: [E + 15, D] from centred vectors to components.
        low, high: [D] range of each component in the training clip.
    """

    mean: Tensor
    projection: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def fit(
        codes: Codes,  # batch [T], the training frames
        most: int,
    ) -> CodeStatistics:
        """At most ``most`` principal components of the standardised codes."""
        vectors = codes.vector().double()
        expressions = len(codes.space)
        floors = torch.tensor([_EXPRESSION_FLOOR] * expressions + list(_JOINT_FLOORS), dtype=torch.float64)
        mean = vectors.mean(0)
        spread = vectors.std(0, unbiased=False)
        # Joints measure in radians and metres: dividing by the spread puts them beside the expression channels; the
        # floor keeps what hardly moves (and the tracker's noise in it) small.
        weights = 1.0 / torch.maximum(spread, floors)
        scaled = (vectors - mean) * weights
        _, singular, components = torch.linalg.svd(scaled, full_matrices=False)
        variance = singular.square() / len(vectors)
        share = variance.cumsum(0) / variance.sum().clamp(min=1e-12)
        kept = min(most, int((share < _KEPT_VARIANCE).sum()) + 1)
        projection = weights[:, None] * components[:kept].T / (variance[:kept] + 1e-3).sqrt()
        z = (vectors - mean) @ projection
        return CodeStatistics(*(part.float() for part in (mean, projection, z.amin(0), z.amax(0))))

    def components(
        self,
        codes: Codes,  # batch [...]
    ) -> Tensor:
        """[..., D] components, limited to the range of the training clip."""
        z = (codes.vector() - self.mean) @ self.projection
        return torch.minimum(torch.maximum(z, self.low), self.high)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by field name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class BasisWeights(nn.Module):
    """The network from code components to basis weights in -1..1."""

    def __init__(self, components: int, hidden: int, bases: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(components, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, bases)
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                bound = (3.0 / layer.in_features) ** 0.5
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        components: Tensor,  # [D]
    ) -> Tensor:
        """Weights [K]; bounded, so that the corrections are."""
        return torch.tanh(self.layers(components))
