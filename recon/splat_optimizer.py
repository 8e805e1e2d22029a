"""The optimiser of a splat avatar in training, and its learning rates over time."""

from __future__ import annotations

import math

import torch

from recon.checkpoints import Optimizer
from recon.field import SplatField
from recon.growth import PER_GAUSSIAN
from recon.objective import Objective
from recon.processes import Processes
from recon.train_config import TrainConfig
from studio.kernels.adam import Adam

_CAMERAS_MOVE = 0.25  # share of all steps before cameras of a rig begin to move
_LAST_RATE = 0.05  # of the first: learning rates fall along a half cosine
_BACKGROUND_EPS = 1e-6


def make_optimizer(learned: SplatField, objective: Objective, config: TrainConfig) -> Optimizer:
    """Adam over all that is learned; each group holds its first learning rate as "rate"."""
    rates = config.rates
    groups: list[dict[str, object]] = [
        {"params": [getattr(learned, name)], "rate": getattr(rates, name)} for name in PER_GAUSSIAN
    ]
    groups[PER_GAUSSIAN.index("bases")]["weight_decay"] = rates.decay
    groups.append({"params": list(learned.weights.parameters()), "rate": rates.weights})
    if config.refine:
        groups.append({"params": [objective.residuals.values], "rate": rates.residuals})
    if config.camera_colors:
        groups.append({"params": [objective.rig.colors], "rate": rates.camera_colors})
    if config.camera_motions:
        # Before the avatar shows anybody its errors would push the cameras of a perfect rig about.
        groups.append({"params": [objective.rig.motions], "rate": rates.camera_motions, "start": _CAMERAS_MOVE})
    if not objective.backdrop.random:
        # Adam divides by the size of the gradient: where nothing is ever seen it would amplify rounding errors.
        groups.append({"params": [objective.backdrop.images], "rate": rates.images, "eps": _BACKGROUND_EPS})
    groups = [{**group, "lr": group["rate"]} for group in groups]
    if learned.offsets.device.type != "cpu":
        return torch.optim.AdamW(groups, eps=rates.eps, weight_decay=0.0, fused=True)
    optimizer = Adam(groups, eps=rates.eps)
    learned.basis_gradient = optimizer.without_gradient(learned)
    return optimizer


def set_rates(optimizer: Optimizer, share: float, progress: float) -> None:
    """Learning rates as a share of the first ones; 0 before a group's start.

    Args:
        progress: share of all steps that are done.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * share if progress >= group.get("start", 0.0) else 0.0


def falling_rate(step: int, steps: int) -> float:
    """Learning rates at a step, relative to the first."""
    progress = step / max(steps - 1, 1)
    return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))


def share_gradients(optimizer: Optimizer, learned: SplatField, processes: Processes) -> None:
    """Every process gets the mean of all gradients, that of the bases as the factors of all."""
    if processes.size == 1:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    processes.average([parameter.grad for parameter in parameters if parameter.grad is not None])
    if learned.basis_gradient is None:
        return
    products = learned.basis_gradient.products
    shape, parts = products[0][0].shape, products[0][1]
    rows = torch.stack([torch.cat((weights.reshape(-1), corrections)) for weights, _, corrections in products])
    products.clear()
    for row in torch.cat(processes.gathered(rows)):
        weights, corrections = row.split((shape.numel(), row.numel() - shape.numel()))
        products.append((weights.view(shape), parts, corrections / processes.size))
