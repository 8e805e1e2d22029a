"""From driving codes to what a radiance field is told of a moment: blending weights and a code of the deformation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FIRST = 0.05  # size of the last layer at first, against its usual


class CodeNetwork(nn.Module):
    """Two hidden layers. What it sees is bounded (``CodeStatistics.components``), so that what it says is."""

    def __init__(self, components: int, residual: int, hidden: int, tables: int, told: int) -> None:
        """Args: components and residual: numbers it sees; tables and told: numbers it gives."""
        super().__init__()
        self._tables = tables
        self.layers = nn.Sequential(
            nn.Linear(components + residual, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, tables + told),
        )

    def reset(self, generator: torch.Generator) -> CodeNetwork:
        """Random weights; the last layer's are small, so that at first all moments look alike."""
        for index, layer in enumerate(self.layers):
            if isinstance(layer, nn.Linear):
                bound = (3.0 / layer.in_features) ** 0.5 * (_FIRST if index == len(self.layers) - 1 else 1.0)
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.zeros_(layer.bias)
        return self

    def forward(
        self,
        components: Tensor,  # [C, D]
        residual: Tensor,  # [C, R]
    ) -> tuple[Tensor, Tensor]:
        """Weights [C, H], about one for the first table and zero for the others at first, and codes [C, T]."""
        out = self.layers(torch.cat((components, residual), dim=1))
        first = torch.zeros(self._tables)
        first[0] = 1.0
        return out[:, : self._tables] + first, out[:, self._tables :]
