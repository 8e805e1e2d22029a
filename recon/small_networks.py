"""A few tiny networks at once, on one input each: numpy instead of a hundred torch calls that take longer to start.

They are what ``recon.corrections`` weights its bases with: linear, SiLU, linear, SiLU, linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

_LAYERS = 6  # parameters of a network: weight and bias of three layers


class _Pass(NamedTuple):
    """What the backward pass needs of a network's forward pass."""

    x: np.ndarray
    before: tuple[np.ndarray, np.ndarray]  # the hidden layers' sums
    gates: tuple[np.ndarray, np.ndarray]  # their sigmoids
    hidden: tuple[np.ndarray, np.ndarray]


def answers(
    networks: Sequence[nn.Module],  # P Sequentials as above
    inputs: Sequence[Tensor],  # P vectors, without gradients
) -> Tensor:
    """[P, K] what each network says to its input, differentiable once to their parameters."""
    layers = [layer for network in networks for layer in network.children() if isinstance(layer, nn.Linear)]
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    vectors = [value.numpy() for value in inputs]
    if torch.is_grad_enabled():
        return _Networks.apply(vectors, *parameters)
    return torch.from_numpy(_forward(vectors, [parameter.detach().numpy() for parameter in parameters])[0])


def _forward(inputs: Sequence[np.ndarray], parameters: Sequence[np.ndarray]) -> tuple[np.ndarray, list[_Pass]]:
    """Answers [P, K], and what the backward pass needs."""
    results, passes = [], []
    for index, x in enumerate(inputs):
        w1, b1, w2, b2, w3, b3 = parameters[_LAYERS * index : _LAYERS * (index + 1)]
        a = w1 @ x + b1
        gate_a = 1.0 / (1.0 + np.exp(-a))
        h = a * gate_a
        b = w2 @ h + b2
        gate_b = 1.0 / (1.0 + np.exp(-b))
        g = b * gate_b
        results.append(w3 @ g + b3)
        passes.append(_Pass(x, (a, b), (gate_a, gate_b), (h, g)))
    return np.stack(results), passes


class _Networks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: list[np.ndarray], *parameters: Tensor) -> Tensor:
        results, ctx.passes = _forward(inputs, [parameter.numpy() for parameter in parameters])
        ctx.save_for_backward(*parameters)
        return torch.from_numpy(results)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        arrays = [parameter.numpy() for parameter in ctx.saved_tensors]
        gradients: list[np.ndarray] = []
        for index, (one, v) in enumerate(zip(ctx.passes, given.numpy())):
            _, _, w2, _, w3, _ = arrays[_LAYERS * index : _LAYERS * (index + 1)]
            v_b = (v @ w3) * _slope(one.before[1], one.gates[1])
            v_a = (v_b @ w2) * _slope(one.before[0], one.gates[0])
            gradients += [np.outer(v_a, one.x), v_a, np.outer(v_b, one.hidden[0]), v_b, np.outer(v, one.hidden[1]), v]
        return None, *(torch.from_numpy(gradient) for gradient in gradients)


def _slope(x: np.ndarray, gate: np.ndarray) -> np.ndarray:
    """Derivative of SiLU."""
    return gate * (1.0 + x * (1.0 - gate))
