"""Adam with decoupled weight decay in one pass over memory, and for bases without ever forming their gradient.

The gradient of the bases that Gaussians are corrected by (see ``drive_carry``) is an outer product: the weight of a
basis times the gradient of the correction. Writing it and reading it again would cost as much as the update itself.

Source: Kingma and Ba, 2015; Loshchilov and Hutter, 2019; the arithmetic is that of ``torch.optim.AdamW``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.kernels.basis_gradient import BasisGradient
from studio.kernels.compiled import inlined, kernel
from studio.kernels.drive_carry import CHANNELS
from studio.kernels.simd import Array, Vector, broadcast, fma, lane_numbers, select, sqrt
from studio.kernels.simd_memory import load, store
from studio.kernels.tensors import flat
from studio.kernels.workers import run, worker_count

_LARGE = 1 << 16  # numbers; for fewer another thread is not worth waking


class _Rule(NamedTuple):
    """One step's numbers."""

    kept: float  # what weight decay leaves of a parameter
    rate: float  # learning rate over 1 − β₁ᵗ
    widen: float  # 1 / √(1 − β₂ᵗ)
    eps: float
    beta1: float
    beta2: float


class Adam(torch.optim.AdamW):
    """``torch.optim.AdamW`` by our kernels, for contiguous float32 parameters on the CPU; its state is the same.

    Args:
        groups: as for any optimiser.
        eps: for groups that have none.
    """

    def __init__(self, groups: Any, eps: float) -> None:
        super().__init__(groups, eps=eps, weight_decay=0.0)
        self._bases: list[tuple[torch.nn.Module, BasisGradient]] = []
        self._flat: dict[Tensor, tuple[Tensor, tuple[np.ndarray, ...]]] = {}  # a moment, and what ``_next`` returns

    def without_gradient(self, owner: torch.nn.Module) -> BasisGradient:
        """The parameter ``owner.bases`` is updated by what is put into the result until the next ``zero_grad``."""
        gradient = BasisGradient()
        self._bases.append((owner, gradient))
        return gradient

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        for _, gradient in self._bases:
            gradient.products.clear()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        products = {owner.bases: gradient.products for owner, gradient in self._bases if gradient.products}
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    rule, given = self._next(group, parameter)
                    gradient = parameter.grad.contiguous().numpy().reshape(-1)
                    if len(gradient) < _LARGE:
                        _update(0, 1, rule, gradient, *given)
                    else:
                        run(_update, worker_count(), rule, gradient, *given)
                if parameter in products:
                    rule, given = self._next(group, parameter)
                    run(_update_bases, worker_count(), rule, *_stacked(products[parameter]), *given)

    def _next(self, group: dict[str, Any], parameter: Tensor) -> tuple[_Rule, tuple[np.ndarray, ...]]:
        """The rule of a parameter's next step; the parameter and its two moments, flat."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        (beta1, beta2), step, rate = group["betas"], int(state["step"]), float(group["lr"])
        rule = _Rule(
            kept=1.0 - rate * group["weight_decay"],
            rate=rate / (1.0 - beta1**step),
            widen=1.0 / math.sqrt(1.0 - beta2**step),
            eps=group["eps"],
            beta1=beta1,
            beta2=beta2,
        )
        known = self._flat.get(parameter)
        if known is None or known[0] is not state["exp_avg"]:  # states are exchanged when a session resumes
            arrays = tuple(flat(value) for value in (parameter, state["exp_avg"], state["exp_avg_sq"]))
            known = self._flat[parameter] = state["exp_avg"], arrays
        return rule, known[1]


def _stacked(products: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [B * P * K], parts [N] and gradients [B * N * CHANNELS] of products over the same parts."""
    weights, parts, gradients = zip(*products)
    joined = (torch.cat([value.reshape(-1) for value in values]) for values in (weights, gradients))
    flat_weights, flat_gradients = joined if len(products) > 1 else (weights[0].reshape(-1), gradients[0].reshape(-1))
    return flat_weights.numpy(), parts[0].numpy(), flat_gradients.numpy()


@inlined
def _updated(
    rule: _Rule, gradient: Vector, value: Vector, mean: Vector, square: Vector
) -> tuple[Vector, Vector, Vector]:
    """Parameter and moments after a step."""
    mean = fma(gradient - mean, np.float32(1.0 - rule.beta1), mean)
    square = fma(gradient * gradient, np.float32(1.0 - rule.beta2), square * np.float32(rule.beta2))
    size = fma(sqrt(square), np.float32(rule.widen), np.float32(rule.eps))
    return fma(mean / size, np.float32(-rule.rate), value * np.float32(rule.kept)), mean, square


@inlined
def _update_at(rule: _Rule, gradient: Vector, i: int, values: Array, means: Array, squares: Array) -> None:
    value, mean, square = _updated(rule, gradient, load(values, i), load(means, i), load(squares, i))
    store(values, i, value)
    store(means, i, mean)
    store(squares, i, square)


@kernel
def _update(
    worker: int, workers: int, rule: _Rule, gradient: Array, values: Array, means: Array, squares: Array
) -> None:
    """One step of ``values`` and their moments, in place."""
    blocks = values.size // 16
    for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
        _update_at(rule, load(gradient, 16 * block), 16 * block, values, means, squares)
    if worker == workers - 1 and values.size % 16:
        _update_rest(rule, gradient, 16 * blocks, values, means, squares)


@inlined
def _update_rest(rule: _Rule, gradient: Array, first: int, values: Array, means: Array, squares: Array) -> None:
    """What does not fill a vector, from ``first`` on."""
    rest, count = np.zeros(64, np.float32), values.size - first
    for k in range(count):
        rest[k], rest[16 + k] = values[first + k], means[first + k]
        rest[32 + k], rest[48 + k] = squares[first + k], gradient[first + k]
    value, mean, square = _updated(rule, load(rest, 48), load(rest, 0), load(rest, 16), load(rest, 32))
    store(rest, 0, value)
    store(rest, 16, mean)
    store(rest, 32, square)
    for k in range(count):
        values[first + k], means[first + k], squares[first + k] = rest[k], rest[16 + k], rest[32 + k]


@inlined
def _lane_weights(weights: Array, parts: Array, first: int, bases: int, row: int) -> Vector:
    """Weights of the parts that 16 numbers from ``first`` on belong to; ``row`` is where those of part 0 are."""
    result = broadcast(np.float32(0.0))
    for g in range(first // CHANNELS, (first + 15) // CHANNELS + 1):
        result = select(lane_numbers() >= np.float32(CHANNELS * g - first), weights[row + parts[g] * bases], result)
    return result


@kernel
def _update_bases(
    worker: int,
    workers: int,
    rule: _Rule,
    weights: Array,
    parts: Array,
    corrections: Array,
    values: Array,
    means: Array,
    squares: Array,
) -> None:
    """One step of bases [K * N * CHANNELS], in place; N * CHANNELS >= 16.

    ``weights`` [B * P * K] and ``corrections`` [B * N * CHANNELS] are the factors of B products (see BasisGradient).
    Neighbours mostly belong to one part, so that a vector has one weight.
    """
    length = CHANNELS * parts.size
    products, bases, vectors = corrections.size // length, values.size // length, length // 16
    stride = weights.size // products
    for basis in range(bases):
        for vector in range(worker * vectors // workers, (worker + 1) * vectors // workers):
            i, gradient = 16 * vector, broadcast(np.float32(0.0))
            part = parts[i // CHANNELS]
            alike = part == parts[(i + 15) // CHANNELS] and part == parts[(i + 7) // CHANNELS]
            for product in range(products):
                row, v = product * stride + basis, load(corrections, product * length + i)
                if alike:
                    gradient = fma(v, weights[row + part * bases], gradient)
                else:
                    gradient = fma(v, _lane_weights(weights, parts, i, bases, row), gradient)
            _update_at(rule, gradient, basis * length + i, values, means, squares)
    if worker == workers - 1 and length % 16:
        rest, first = np.zeros(length % 16, np.float32), 16 * vectors
        for basis in range(bases):
            for k in range(rest.size):
                rest[k], part = np.float32(0.0), parts[(first + k) // CHANNELS]
                for product in range(products):
                    weight = weights[product * stride + part * bases + basis]
                    rest[k] += weight * corrections[product * length + first + k]
            at = basis * length + first
            _update_rest(
                rule, rest, 0, values[at : at + rest.size], means[at : at + rest.size], squares[at : at + rest.size]
            )
