"""The exposure of each photo of a still object, learned along with it: cameras choose it anew for every photo."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recon.checkpoints import optimizer_tensors, restore_optimizer

_RATE = 2e-3


class Exposures:
    """A gain (as a logarithm) and an offset for each of some photos: ``values`` [C, 2]."""

    def __init__(self, photos: int) -> None:
        self.values = torch.nn.Parameter(torch.zeros(photos, 2))
        self._optimizer = torch.optim.Adam([self.values], lr=_RATE, fused=True)

    def __call__(
        self,
        colors: Tensor,  # [..., 3] of the scene
        photos: Tensor | int,  # [...] int64: which photo each is seen in; one for all
    ) -> Tensor:
        """The colours [..., 3] as the photos show them."""
        gain, offset = self.values[photos].unbind(-1)
        return colors * gain.exp()[..., None] + offset[..., None]

    def zero_grad(self) -> None:
        """Before a step's gradients are found."""
        self._optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step; the scene stays as bright as the photos are on average."""
        self._optimizer.step()
        self.values.sub_(self.values.mean(0))

    def tensors(self) -> dict[str, Tensor]:
        """What the next step depends on."""
        momenta = {f"exposure_{name}": value for name, value in optimizer_tensors(self._optimizer).items()}
        return {"exposures": self.values, **momenta}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of ``tensors``; those of other names are not looked at."""
        with torch.no_grad():
            self.values.copy_(tensors["exposures"])
        momenta = {name.removeprefix("exposure_"): tensors[name] for name in tensors if name.startswith("exposure_")}
        restore_optimizer(self._optimizer, momenta)
