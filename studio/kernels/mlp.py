"""Small fully connected networks with ReLU between the layers, as radiance fields use them by the million."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels import mlp_cpu
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow
from studio.kernels.tensors import flat, gradients_by_reference

_MULTIPLE = 16


@dataclass(frozen=True)
class MlpLayout:
    """Shape of a network and of its flat vector of parameters.

    The vector holds the matrices [out, in] row-major, first layer first, with the widths of the input and the output
    rounded up to multiples of 16: the layout of tiny-cuda-nn's FullyFusedMLP. The columns of inputs that are not there
    meet zeros, the rows of outputs that are not there are not looked at. Biases [out] follow after all matrices.

    Args:
        inputs: width of the input.
        outputs: width of the output, which has no activation.
        hidden: width of the hidden layers, a multiple of 16.
        hidden_layers: how many of them, at least one.
        bias: whether layers have biases; tiny-cuda-nn's have none.
    """

    inputs: int
    outputs: int
    hidden: int = 64
    hidden_layers: int = 2
    bias: bool = False

    def __post_init__(self) -> None:
        sound = min(self.inputs, self.outputs, self.hidden, self.hidden_layers) >= 1
        if not sound or self.hidden % _MULTIPLE:
            raise StudioError(
                "network", got=f"{self}", expected="at least one input, output and hidden layer, hidden = 16, 32, 48, …"
            )

    @property
    def widths(self) -> list[int]:
        """Widths of input, hidden layers and output, rounded up."""
        return [_rounded(self.inputs), *[self.hidden] * self.hidden_layers, _rounded(self.outputs)]

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Shapes of the matrices, and of the biases if there are any, in the order of the vector."""
        layers = list(zip(self.widths[1:], self.widths[:-1]))
        return [*layers, *((rows,) for rows, _ in layers if self.bias)]

    @property
    def parameters(self) -> int:
        """Length of the vector."""
        return sum(math.prod(size) for size in self.sizes)

    def unpack(self, vector: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Views of a vector [P]: the matrices [out, in], and the biases [out] (none without ``bias``)."""
        parts = vector.split([math.prod(size) for size in self.sizes])
        shaped = [part.reshape(size) for part, size in zip(parts, self.sizes)]
        return shaped[: self.hidden_layers + 1], shaped[self.hidden_layers + 1 :]

    def initial(self, generator: torch.Generator) -> Tensor:
        """[P] weights uniform in ±√(6 / (in + out)) (Glorot and Bengio 2010), biases zero."""
        vector = torch.zeros(self.parameters)
        for matrix in self.unpack(vector)[0]:
            matrix.uniform_(-1.0, 1.0, generator=generator).mul_(math.sqrt(6.0 / sum(matrix.shape)))
        return vector


def _rounded(width: int) -> int:
    return -(-width // _MULTIPLE) * _MULTIPLE


def mlp(
    inputs: Tensor,  # [B, inputs]
    parameters: Tensor,  # [P], see MlpLayout
    layout: MlpLayout,
    *,
    kernels: str = "auto",
) -> Tensor:
    """The network's output [B, outputs], in float32.

    Gradients flow to inputs and parameters, repeat bit by bit on the CPU, and can be differentiated again. On CUDA this
    is tiny-cuda-nn where that is installed (which computes in half precision) and the layout is one of its, and torch
    otherwise.

    Raises:
        StudioError: shapes or dtypes do not fit, or ``kernels`` is not available.
    """
    _check(inputs, parameters, layout)
    if choose_kernels(kernels, inputs.device) == "cuda":
        from studio.kernels.mlp_cuda import mlp_cuda

        return mlp_cuda(inputs, parameters, layout)
    missing = layout.widths[0] - layout.inputs
    if missing:
        inputs = torch.nn.functional.pad(inputs, (0, missing))
    output: Tensor = _Mlp.apply(inputs, parameters, layout)
    return output


def mlp_reference(
    inputs: Tensor,  # [B, inputs]
    parameters: Tensor,  # [P]
    layout: MlpLayout,
) -> Tensor:
    """The same in plain torch, of any float type and device."""
    matrices, biases = layout.unpack(parameters)
    values = torch.nn.functional.pad(inputs, (0, layout.widths[0] - inputs.shape[1]))
    for layer, matrix in enumerate(matrices):
        values = torch.nn.functional.linear(values, matrix, biases[layer] if layout.bias else None)
        values = values.relu() if layer < layout.hidden_layers else values
    return values[:, : layout.outputs]


class _Mlp(torch.autograd.Function):
    """CPU kernels as one differentiable operation."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, parameters: Tensor, layout: MlpLayout) -> Tensor:
        ctx.layout, keep = layout, any(ctx.needs_input_grad)
        output = torch.from_numpy(borrow("mlp_output", (len(inputs), layout.widths[-1])))
        network = _network(parameters, layout)
        activations = mlp_cpu.forward(network, flat(inputs), flat(output), keep)
        if keep:
            ctx.activations = activations
            ctx.save_for_backward(inputs, parameters)
        return output[:, : layout.outputs]

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        layout, (inputs, parameters) = ctx.layout, ctx.saved_tensors
        if torch.is_grad_enabled():
            reference = functools.partial(mlp_reference, layout=layout)
            return *gradients_by_reference(reference, ctx.saved_tensors, given, ctx.needs_input_grad), None
        missing = layout.widths[-1] - layout.outputs
        given = torch.nn.functional.pad(given, (0, missing)) if missing else given
        by_inputs = torch.from_numpy(borrow("mlp_by_inputs", tuple(inputs.shape)))
        matrices, biases = mlp_cpu.backward(
            _network(parameters, layout), flat(inputs), ctx.activations, flat(given), flat(by_inputs), layout.bias
        )
        return by_inputs, torch.cat([torch.from_numpy(part).reshape(-1) for part in (*matrices, *biases)]), None


def _network(parameters: Tensor, layout: MlpLayout) -> mlp_cpu.Network:
    matrices, biases = layout.unpack(parameters.detach())
    if not biases:
        biases = [parameters.new_zeros(rows) for rows in layout.widths[1:]]
    return mlp_cpu.make_network(layout.widths, [value.numpy() for value in matrices], [b.numpy() for b in biases])


def _check(inputs: Tensor, parameters: Tensor, layout: MlpLayout) -> None:
    if inputs.ndim != 2 or inputs.shape[1] != layout.inputs or tuple(parameters.shape) != (layout.parameters,):
        raise StudioError(
            "network",
            got=f"inputs {tuple(inputs.shape)}, parameters {tuple(parameters.shape)}",
            expected=f"inputs [B, {layout.inputs}] and parameters [{layout.parameters}]",
        )
    if inputs.dtype != torch.float32 or parameters.dtype != torch.float32:
        raise StudioError("network", got=f"{inputs.dtype} and {parameters.dtype}", expected="float32")
