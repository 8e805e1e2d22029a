"""What is learned, as tensors by name: copies, a running mean, and the best of those seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Modules = Mapping[str, nn.Module]
Tensors = dict[str, Tensor]


def state_of(modules: Modules) -> Tensors:
    """Every parameter and buffer, as <module>/<name>; not copied."""
    return {f"{m}/{n}": value for m, module in modules.items() for n, value in module.state_dict().items()}


def copy_of(modules: Modules) -> Tensors:
    """A copy of ``state_of``."""
    return {name: value.detach().clone() for name, value in state_of(modules).items()}


def load_state(modules: Modules, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of ``state_of``."""
    for name, module in modules.items():
        module.load_state_dict(under(name, tensors))


def named(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors with ``prefix``/ before their names."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Inverse of ``named``; tensors of other names are left out."""
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def rows_at(values: Tensor, places: Sequence[int]) -> Tensor:
    """Rows of a parameter [N, …] as [B, …], or […] where there is a single place."""
    return values[places[0]] if len(places) == 1 else values[torch.tensor(places).to(values.device)]


@torch.no_grad()
def move_towards(mean: Mapping[str, Tensor], modules: Modules, pace: float) -> None:
    """Update a running mean, in place, by a share ``pace`` of the way."""
    for name, value in state_of(modules).items():
        mean[name].lerp_(value.detach(), pace)


@dataclass
class Best:
    """The best state seen.

    Args:
        score: of it, the higher the better.
        step: when it was.
        stale: scores since that were no better.
        tensors: the state; empty before the first score.
    """

    score: float = -math.inf
    step: int = 0
    stale: int = 0
    tensors: Tensors = field(default_factory=dict)

    def offer(self, score: float, step: int, modules: Modules) -> None:
        """Take note of the present state."""
        self.stale += 1
        if score > self.score:
            self.score, self.step, self.stale, self.tensors = score, step, 0, copy_of(modules)

    def numbers(self) -> dict[str, Any]:
        """All but the tensors, as JSON data."""
        return {"best_psnr": self.score if self.tensors else None, "best_step": self.step, "stale": self.stale}

    @classmethod
    def of(cls, numbers: Mapping[str, Any], tensors: Tensors) -> Best:
        """Inverse of ``numbers``."""
        score = -math.inf if numbers["best_psnr"] is None else float(numbers["best_psnr"])
        return cls(score, int(numbers["best_step"]), int(numbers["stale"]), tensors)
