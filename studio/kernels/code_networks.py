"""A few tiny networks at once, on one input each, and their gradient: what ``recon.corrections`` weights bases with.

Each is linear, SiLU, linear, SiLU, linear, tanh, and all of their parameters lie in one array. In a training step of a
hundredth of a second dozens of small tensor operations, and of parameters, would be felt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array, broadcast, fma, lane_sum
from studio.kernels.simd_memory import load
from studio.kernels.tensors import flat


class _Networks(NamedTuple):
    """P networks; network p has D inputs, H hidden values twice, K answers."""

    inputs: np.ndarray  # [P] int64 D of each
    hidden: int  # H
    answers: int  # K
    parameters: np.ndarray  # float32, network after network: W₁ [H, D], b₁, W₂ [H, H], b₂, W₃ [K, H], b₃


def parameter_count(inputs: int, hidden: int, answers: int) -> int:
    """How many numbers a network has."""
    return hidden * (inputs + 1) + hidden * (hidden + 1) + answers * (hidden + 1)


def network_answers(
    parameters: Tensor,  # flat, see ``_Networks``
    components: Tensor,  # [ΣD] the networks' inputs, without gradients
    sizes: Sequence[int],  # D of each
    hidden: int,
    answers: int,
) -> Tensor:
    """[P, K] what each network says to its input, -1..1, differentiable once to the parameters; on the CPU."""
    arguments = (components, np.array(sizes, np.int64), hidden, answers)
    if torch.is_grad_enabled() and parameters.requires_grad:
        return _Answers.apply(parameters, *arguments)
    return _answered(parameters, *arguments)[0]


def _answered(
    parameters: Tensor, components: Tensor, sizes: np.ndarray, hidden: int, answers: int
) -> tuple[Tensor, _Networks, np.ndarray, np.ndarray]:
    """The answers [P, K], the networks, their inputs, and what the backward pass needs [P, 4, H]."""
    networks = _Networks(sizes, hidden, answers, flat(parameters))
    seen, states = flat(components), np.empty(4 * hidden * len(sizes), np.float32)
    said = torch.empty(len(sizes), answers)
    _forward(networks, seen, states, flat(said))
    return said, networks, seen, states


class _Answers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, parameters: Tensor, components: Tensor, sizes: np.ndarray, hidden: int, answers: int
    ) -> Tensor:
        said, *ctx.rest = _answered(parameters, components, sizes, hidden, answers)
        ctx.save_for_backward(said)
        return said

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        (said,) = ctx.saved_tensors
        networks, seen, states = ctx.rest
        gradient = torch.empty(networks.parameters.size)
        _backward(networks, seen, states, flat(said), flat(given), flat(gradient))
        return gradient, None, None, None, None


@inlined
def _dot(a: Array, i: int, b: Array, j: int, size: int) -> float:
    total, rest = broadcast(np.float32(0.0)), np.float32(0.0)
    for k in range(0, size - 15, 16):
        total = fma(load(a, i + k), load(b, j + k), total)
    for k in range(size // 16 * 16, size):
        rest += a[i + k] * b[j + k]
    return lane_sum(total) + rest


@inlined
def _layer(parameters: Array, at: int, x: Array, first: int, size: int, out: Array, to: int, rows: int) -> int:
    """``out`` = W x + b of a layer whose W [rows, size] and b [rows] begin at ``at``; returns where the next begins."""
    for row in range(rows):
        out[to + row] = _dot(parameters, at + row * size, x, first, size) + parameters[at + rows * size + row]
    return at + rows * (size + 1)


@inlined
def _silu(states: Array, at: int, size: int) -> None:
    """Of the sums at ``at`` to what follows them."""
    for k in range(at, at + size):
        states[k + size] = states[k] / (np.float32(1.0) + np.float32(math.exp(-states[k])))


@inlined
def _silu_backward(states: Array, at: int, size: int, v: Array) -> None:
    """``v`` times the slope at the sums at ``at``, in place."""
    for k in range(size):
        x = states[at + k]
        gate = np.float32(1.0) / (np.float32(1.0) + np.float32(math.exp(-x)))
        v[k] *= gate * (np.float32(1.0) + x * (np.float32(1.0) - gate))


@inlined
def _layer_backward(
    parameters: Array, at: int, x: Array, first: int, size: int, v: Array, rows: int, gradient: Array, v_x: Array
) -> None:
    """From ``v`` [rows] to the gradients of a layer's W and b, and of its input, unless ``v_x`` is empty."""
    for k in range(v_x.size):
        v_x[k] = np.float32(0.0)
    for row in range(rows):
        place, factor = at + row * size, v[row]
        for k in range(size):
            gradient[place + k] = factor * x[first + k]
        for k in range(v_x.size):
            v_x[k] += factor * parameters[place + k]
        gradient[at + rows * size + row] = factor


@kernel
def _forward(networks: _Networks, seen: Array, states: Array, said: Array) -> None:
    """Fill ``said`` [P * K] and ``states`` [P * 4 * H]: sums and values of both hidden layers."""
    hidden, answers, at, first = networks.hidden, networks.answers, 0, 0
    for p in range(networks.inputs.size):
        size, state = networks.inputs[p], 4 * hidden * p
        at = _layer(networks.parameters, at, seen, first, size, states, state, hidden)
        _silu(states, state, hidden)
        at = _layer(networks.parameters, at, states, state + hidden, hidden, states, state + 2 * hidden, hidden)
        _silu(states, state + 2 * hidden, hidden)
        at = _layer(networks.parameters, at, states, state + 3 * hidden, hidden, said, answers * p, answers)
        first += size
    for k in range(said.size):
        said[k] = np.float32(math.tanh(said[k]))


@kernel
def _backward(networks: _Networks, seen: Array, states: Array, said: Array, given: Array, gradient: Array) -> None:
    """From the gradient ``given`` [P * K] of what was ``said`` to that of the parameters."""
    hidden, answers, at, first = networks.hidden, networks.answers, 0, 0
    v_said, v_b, v_a = np.empty(answers, np.float32), np.empty(hidden, np.float32), np.empty(hidden, np.float32)
    nothing = np.empty(0, np.float32)
    for p in range(networks.inputs.size):
        size, state = networks.inputs[p], 4 * hidden * p
        second = at + hidden * (size + 1)
        third = second + hidden * (hidden + 1)
        for k in range(answers):
            answer = said[answers * p + k]
            v_said[k] = given[answers * p + k] * (np.float32(1.0) - answer * answer)
        parameters = networks.parameters
        _layer_backward(parameters, third, states, state + 3 * hidden, hidden, v_said, answers, gradient, v_b)
        _silu_backward(states, state + 2 * hidden, hidden, v_b)
        _layer_backward(parameters, second, states, state + hidden, hidden, v_b, hidden, gradient, v_a)
        _silu_backward(states, state, hidden, v_a)
        _layer_backward(parameters, at, seen, first, size, v_a, hidden, gradient, nothing)
        at, first = third + answers * (hidden + 1), first + size
