"""Small networks on CUDA: tiny-cuda-nn's fully fused ones, given our vector of parameters, or torch."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from studio.kernels.mlp import MlpLayout, mlp_reference


def mlp_cuda(inputs: Tensor, parameters: Tensor, layout: MlpLayout) -> Tensor:
    """See ``studio.kernels.mlp.mlp``."""
    network = _tiny_cuda_nn(layout, inputs.device)
    if network is None:
        return mlp_reference(inputs, parameters, layout)
    padded = torch.nn.functional.pad(inputs, (0, layout.widths[0] - layout.inputs))
    output: Tensor = torch.func.functional_call(network, {"params": parameters}, (padded,))
    return output.float()


@functools.cache
def _tiny_cuda_nn(layout: MlpLayout, device: torch.device) -> Any:
    """Their module without parameters of its own; None where it is not installed or has no such network."""
    if layout.bias or layout.hidden not in (16, 32, 64, 128):
        return None
    try:
        import tinycudann
    except (ImportError, OSError):  # OSError: built for another GPU
        return None
    settings = {
        "otype": "FullyFusedMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": layout.hidden,
        "n_hidden_layers": layout.hidden_layers,
    }
    with torch.cuda.device(device):
        network = tinycudann.Network(layout.widths[0], layout.outputs, settings)
    network.params = torch.nn.Parameter(network.params.new_empty(0))
    return network
