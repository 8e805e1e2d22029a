"""What we are compared with computes the same."""

from __future__ import annotations

import pytest
import torch

from benchmarks.torch_fields import composite_dense, encode_by_bag, encode_by_index, mlp_in_chunks
from studio.kernels.hash_grid import HashGridLayout, hash_encode_reference
from studio.kernels.march import Samples, composite_reference
from studio.kernels.mlp import MlpLayout, mlp_reference


@pytest.mark.parametrize("encode", [encode_by_index, encode_by_bag])
def test_grids(encode):
    layout = HashGridLayout(levels=5, log2_size=10, base_resolution=4, per_level_scale=1.7)
    positions, table = torch.rand(300, 3), torch.randn(layout.parameters)
    assert torch.allclose(encode(positions, table, layout), hash_encode_reference(positions, table, layout), atol=1e-4)


def test_networks():
    layout = MlpLayout(32, 16)
    inputs, parameters = torch.randn(20, 32), layout.initial(torch.Generator())
    expected = mlp_reference(inputs, parameters, layout)
    assert torch.allclose(mlp_in_chunks(inputs, layout.unpack(parameters)[0], torch.float32), expected, atol=1e-5)


def test_compositing():
    edges = torch.linspace(1.0, 2.0, 9)
    samples = Samples(edges[:-1].repeat(4), edges[1:].repeat(4), torch.arange(32) // 8, torch.arange(5) * 8)
    densities, rgb = 5 * torch.rand(32), torch.rand(32, 3)
    expected = composite_reference(densities, rgb, samples)
    color, alpha = composite_dense(densities.reshape(4, 8), rgb.reshape(4, 8, 3), torch.full((4, 8), 0.125))
    assert torch.allclose(color, expected.rgb, atol=1e-5)
    assert torch.allclose(alpha, expected.alpha, atol=1e-5)
