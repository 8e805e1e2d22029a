"""The hash grid on CUDA: tiny-cuda-nn, given our vector of parameters."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from studio.kernels.hash_grid import HashGridLayout, hash_encode_reference
from studio.logs import say


def encode_cuda(positions: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
    """See ``hash_encode``; without tiny-cuda-nn the reference runs on the device, which takes several times longer."""
    encoding = _tiny_cuda_nn(layout, positions.device)
    if encoding is None:
        return hash_encode_reference(positions, table, layout)
    features: Tensor = torch.func.functional_call(encoding, {"params": table}, (positions,))
    return features


@functools.cache
def _tiny_cuda_nn(layout: HashGridLayout, device: torch.device) -> Any:
    """Their module for one layout, without parameters of its own; None where tiny-cuda-nn cannot be imported."""
    try:
        import tinycudann
    except (ImportError, OSError) as error:  # OSError: built for another GPU
        say(f"tiny-cuda-nn is not available ({error}): hash grids run in plain torch, several times slower")
        return None
    settings = {
        "otype": "HashGrid",
        "n_levels": layout.levels,
        "n_features_per_level": layout.features,
        "log2_hashmap_size": layout.log2_size,
        "base_resolution": layout.base_resolution,
        "per_level_scale": layout.per_level_scale,
        "interpolation": "Linear",
    }
    with torch.cuda.device(device):
        encoding = tinycudann.Encoding(3, settings, dtype=torch.float32)
    encoding.params = torch.nn.Parameter(encoding.params.new_empty(0))
    return encoding
