"""Adam with decoupled weight decay in one pass over memory, and for bases without ever forming their gradient.

The gradient of the bases that Gaussians are corrected by (see ``drive_carry``) is an outer product: the weight of a
basis times the gradient of the correction. Writing it and reading it again would cost as much as the update itself.

Source: Kingma and Ba, 2015; Loshchilov and Hutter, 2019; the arithmetic is that of ``torch.optim.AdamW``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.basis_gradient import BasisGradient
from studio.kernels.compiled import inlined, kernel
from studio.kernels.drive_carry import CHANNELS
from studio.kernels.simd import Array, Vector, broadcast, fma, lane_numbers, select, sqrt
from studio.kernels.simd_memory import floats_at, load, store
from studio.kernels.tensors import flat
from studio.kernels.workers import run, worker_count

_STATE = ("step", "exp_avg", "exp_avg_sq")
_BETAS = (0.9, 0.999)
_LARGE = 1 << 16  # numbers; for fewer another thread is not worth waking


class _Rule(NamedTuple):
    """One step's numbers."""

    kept: float  # what weight decay leaves of a parameter
    rate: float  # learning rate over 1 − β₁ᵗ
    widen: float  # 1 / √(1 − β₂ᵗ)
    eps: float
    beta1: float
    beta2: float


class Adam:
    """``torch.optim.AdamW`` by our kernels, for contiguous float32 parameters on the CPU; its state is the same.

    It is none of torch's optimisers, because the first of those to be made imports torch's compiler, which takes a
    second; where it is used it does as they do.

    Args:
        groups: as for any optimiser; each may have "lr", "betas", "eps" and "weight_decay" of its own.
        eps: for groups that have none.
        betas: for groups that have none.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]], eps: float, betas: tuple[float, float] = _BETAS) -> None:
        rest = {"lr": 1e-3, "betas": betas, "eps": eps, "weight_decay": 0.0}
        self.param_groups: list[dict[str, Any]] = [
            {**rest, **group, "params": list(group["params"])} for group in groups
        ]
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self._bases: list[tuple[torch.nn.Module, BasisGradient]] = []

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

    def state_dict(self) -> dict[str, Any]:
        """What each parameter knows of its gradients, by its place among all, and the groups."""
        places = {parameter: index for index, parameter in enumerate(self._parameters())}
        return {
            "state": {places[parameter]: slot for parameter, slot in self.state.items()},
            "param_groups": [
                {**group, "params": [places[parameter] for parameter in group["params"]]} for group in self.param_groups
            ],
        }

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``; groups stay as they are.

        Raises:
            StudioError: of other parameters.
        """
        parameters, state = self._parameters(), {}
        for index, slot in stored["state"].items():
            shapes = [tuple(value.shape) for name, value in slot.items() if name != "step"]
            expected = tuple(parameters[index].shape) if index < len(parameters) else "none"
            if set(slot) != set(_STATE) or any(shape != expected for shape in shapes):
                raise StudioError(
                    f"state of parameter {index}",
                    got=f"{sorted(slot)} {shapes}",
                    expected=f"moments {expected}",
                    next="start anew: what is stored comes from another version or other settings",
                )
            state[parameters[index]] = dict(slot)
        self.state = state

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        products = {owner.bases: gradient.products for owner, gradient in self._bases if gradient.products}
        memory: list[tuple[int, ...]] = []
        rules: list[_Rule] = []
        gradients = []  # alive until the step is done
        for group in self.param_groups:
            known: dict[float, _Rule] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    gradient = parameter.grad.contiguous()
                    gradients.append(gradient)
                    rule, mean, square = self._next(group, parameter, known)
                    tensors = (parameter, gradient, mean, square)
                    memory.append((*(value.data_ptr() for value in tensors), parameter.numel()))
                    rules.append(rule)
                if products and parameter in products:
                    rule, mean, square = self._next(group, parameter, known)
                    arrays = (flat(value) for value in (parameter, mean, square))
                    run(_update_bases, worker_count(), rule, *_stacked(products[parameter]), *arrays)
        if memory:
            table = np.array(memory, np.int64)
            workers = worker_count() if table[:, -1].sum() >= _LARGE else 1
            run(_update, workers, table, np.array(rules, np.float64))

    def _next(
        self, group: Mapping[str, Any], parameter: Tensor, known: dict[float, _Rule]
    ) -> tuple[_Rule, Tensor, Tensor]:
        """The rule of a parameter's next step, and its two moments; ``known`` are the group's rules by step."""
        slot = self.state.get(parameter)
        if not slot:
            values = (torch.tensor(0.0), torch.zeros_like(parameter), torch.zeros_like(parameter))
            slot = self.state[parameter] = dict(zip(_STATE, values))
        step = slot["step"].add_(1).item()
        if step not in known:
            known[step] = _rule(group, step)
        return known[step], slot["exp_avg"], slot["exp_avg_sq"]


def _rule(group: Mapping[str, Any], step: float) -> _Rule:
    (beta1, beta2), rate = group["betas"], float(group["lr"])
    return _Rule(
        kept=1.0 - rate * group["weight_decay"],
        rate=rate / (1.0 - beta1**step),
        widen=1.0 / math.sqrt(1.0 - beta2**step),
        eps=group["eps"],
        beta1=beta1,
        beta2=beta2,
    )


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
def _update(worker: int, workers: int, memory: Array, rules: Array) -> None:
    """One step of P parameters, in place.

    ``memory`` [P, 5] int64: addresses of each parameter, its gradient and its two moments, and how many numbers;
    ``rules`` [P, 6] float64: its _Rule. The workers share the vectors of all.
    """
    total = np.int64(0)
    for p in range(len(memory)):
        total += (memory[p, 4] + 15) // 16
    first, end = worker * total // workers, (worker + 1) * total // workers
    for p in range(len(memory)):
        size = memory[p, 4]
        vectors = (size + 15) // 16
        if first < vectors and end > 0:
            values, gradient = floats_at(memory[p, 0], size), floats_at(memory[p, 1], size)
            means, squares = floats_at(memory[p, 2], size), floats_at(memory[p, 3], size)
            rule = _Rule(rules[p, 0], rules[p, 1], rules[p, 2], rules[p, 3], rules[p, 4], rules[p, 5])
            for vector in range(max(first, 0), min(end, size // 16)):
                _update_at(rule, load(gradient, 16 * vector), 16 * vector, values, means, squares)
            if size % 16 and end >= vectors:
                _update_rest(rule, gradient, size // 16 * 16, values, means, squares)
        first, end = first - vectors, end - vectors


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
