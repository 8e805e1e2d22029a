"""The gradient of the bases that Gaussians are corrected by, as the factors it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from studio.kernels.drive_carry import CHANNELS


@dataclass
class BasisGradient:
    """The gradient of bases [K, N * CHANNELS] as products that nobody multiplies out.

    Args:
        products: weights [P, K], parts [N] and gradients of corrections [N * CHANNELS]; see ``carry_splats``.
    """

    products: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def dense(self) -> Tensor:
        """[K, N * CHANNELS] the sum of the products."""
        return torch.stack(
            [weights.T[:, parts].repeat_interleave(CHANNELS, dim=1) * v for weights, parts, v in self.products]
        ).sum(0)
