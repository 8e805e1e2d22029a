"""Keeping a fixed budget of Gaussians useful: relocation, growth and exploration as Markov chain Monte Carlo.

Kheradmand et al. 2024, "3D Gaussian Splatting as Markov Chain Monte Carlo": Gaussians that have become transparent move
to where opaque ones are; a Gaussian that is split into n keeps the same rendered image (their equations 8 and 9); noise
along the covariance keeps nearly transparent ones exploring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.rotations import quat_to_matrix

_MAX_COPIES = 51
_DEAD = 0.005
_EXPLORING = 0.1  # above this opacity the noise is below 1e-4 of its full strength


@dataclass(frozen=True)
class McmcConfig:
    """The schedule of relocation and growth.

    Args:
        budget: the number of Gaussians is never larger.
        every: steps between two relocations.
        start: first step with relocation and growth, as a share of all steps.
        stop: last one, as a share of all steps.
        growth: factor by which the number grows at each relocation, up to the budget.
        noise: strength of the exploration, times the learning rate of the means.
    """

    budget: int = 60_000
    every: int = 100
    start: float = 0.05
    stop: float = 0.8
    growth: float = 1.05
    noise: float = 2.5e5


Parameters = dict[str, Tensor]  # raw: means, quats, log_scales, opacity_logits, and any others, all [N, ...]


def split_opacity_and_scale(
    opacities: Tensor,  # [M] in 0..1
    copies: Tensor,  # [M] int, how many Gaussians share the place of one
) -> tuple[Tensor, Tensor]:
    """New opacity [M] and factor on the scales [M] of each of the copies, so that the image stays the same (eq. 9)."""
    copies = copies.clamp(1, _MAX_COPIES)
    new = 1 - (1 - opacities) ** (1 / copies)
    denominator = torch.zeros_like(opacities)
    for i in range(1, int(copies.max()) + 1 if len(copies) else 1):
        terms = sum(math.comb(i - 1, k) * (-1) ** k / math.sqrt(k + 1) * new ** (k + 1) for k in range(i))
        denominator = denominator + torch.where(copies >= i, terms, torch.zeros_like(new))
    return new, opacities / denominator.clamp(min=1e-12)


@torch.no_grad()
def relocate(
    parameters: Parameters, optimizer: torch.optim.Adam, config: McmcConfig, generator: torch.Generator
) -> None:
    """Move transparent Gaussians onto opaque ones, and add new ones there until the budget is reached.

    Changes the parameters and the state of the optimiser (one group per parameter, named) in place.
    """
    opacities = parameters["opacity_logits"].sigmoid()
    dead = torch.nonzero(opacities <= _DEAD)[:, 0]
    count = len(opacities)
    added = max(0, min(config.budget, int(config.growth * count)) - count)
    weights = torch.where(opacities > _DEAD, opacities, torch.zeros_like(opacities))
    if len(dead) + added == 0 or weights.sum() == 0:
        return
    source = torch.multinomial(weights, len(dead) + added, replacement=True, generator=generator)
    copies = torch.bincount(source, minlength=count)[source] + 1
    new_opacity, factor = split_opacity_and_scale(opacities[source], copies)
    parameters["opacity_logits"][source] = torch.logit(new_opacity.clamp(_DEAD, 1 - 1e-6))
    parameters["log_scales"][source] = parameters["log_scales"][source] + factor.log()[:, None]
    target = torch.cat((dead, torch.arange(count, count + added)))
    _copy(parameters, optimizer, source, target)


def _copy(parameters: Parameters, optimizer: torch.optim.Adam, source: Tensor, target: Tensor) -> None:
    """Copy rows of all parameters, growing them where a target lies past the end; forget the momenta of both."""
    total = max(len(parameters["means"]), int(target.max()) + 1)
    for group in optimizer.param_groups:
        old = group["params"][0]
        values = torch.cat((old, old.new_zeros(total - len(old), *old.shape[1:])))
        values[target] = old[source]
        new = torch.nn.Parameter(values)
        state = optimizer.state.pop(old, {})
        for key in ("exp_avg", "exp_avg_sq"):
            if key in state:
                moment = torch.cat((state[key], state[key].new_zeros(total - len(old), *old.shape[1:])))
                moment[target] = 0
                moment[source] = 0
                state[key] = moment
        if state:
            optimizer.state[new] = state
        group["params"] = [new]
        parameters[group["name"]] = new


@torch.no_grad()
def explore(parameters: Parameters, learning_rate: float, config: McmcConfig, generator: torch.Generator) -> None:
    """Add noise to the means, shaped by the covariance and only where a Gaussian is nearly transparent (eq. 7)."""
    opacities = parameters["opacity_logits"].sigmoid()
    rows = torch.nonzero(opacities < _EXPLORING)[:, 0]
    axes = quat_to_matrix(parameters["quats"][rows]) * parameters["log_scales"][rows].exp()[:, None, :]
    gate = torch.sigmoid(-100 * (opacities[rows] - _DEAD))
    noise = torch.randn(len(rows), 3, generator=generator) * (gate * config.noise * learning_rate)[:, None]
    parameters["means"][rows] += (axes @ (axes.transpose(1, 2) @ noise[..., None]))[..., 0]
