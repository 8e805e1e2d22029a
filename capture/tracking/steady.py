"""Calming noise without slowing motion: averages over time only where the face holds still."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST = 40  # one value in so many decides


def steady(
    values: Tensor,  # [T, C]
    shapes: Tensor,  # [T, D] what the values look like, in units of its noise
    reach: int,
) -> Tensor:
    """Bilateral filter over time [T, C]: neighbours count as far as they look the same (Tomasi & Manduchi 1998).

    A blink or the closing of lips is much larger than the noise, so its frames keep their own values.

    Args:
        values: what is filtered.
        shapes: decides how alike two frames are by where they differ most: a difference of 1 is noise.
        reach: how many frames back and forth.
    """
    total, weight = values.clone(), torch.ones(len(values), 1)
    for step in range(1, min(reach, len(values) - 1) + 1):
        squared = (shapes[step:] - shapes[:-step]).square()
        most = max(squared.shape[-1] // _MOST, 1)  # lips are a small part of a face, and must not be averaged away
        difference = squared.topk(most, dim=-1).values.mean(-1, keepdim=True)
        alike = torch.exp(-0.5 * difference) * torch.exp(torch.tensor(-0.5 * (step / max(reach, 1)) ** 2))
        total[step:] += alike * values[:-step]
        total[:-step] += alike * values[step:]
        weight[step:] += alike
        weight[:-step] += alike
    return total / weight
