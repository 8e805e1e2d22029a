"""What the torch side of our CPU kernels shares: memory as flat arrays, gradients that can be differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def flat(value: Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU, copied only if it is not contiguous."""
    return value.detach().contiguous().numpy().reshape(-1)


def gradients_by_reference(
    reference: Callable[..., Tensor], inputs: Sequence[Tensor], given: Tensor, needed: Sequence[bool]
) -> list[Tensor | None]:
    """Gradients of ``reference(*inputs)`` where they are needed, with a graph of their own; None elsewhere."""
    wanted = [value for value, need in zip(inputs, needed) if need]
    found = iter(torch.autograd.grad(reference(*inputs), wanted, given, create_graph=True))
    return [next(found) if need else None for _, need in zip(inputs, needed)]
