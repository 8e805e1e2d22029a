"""Small networks: worked by hand, against the float64 reference, in tiny-cuda-nn's layout."""

from __future__ import annotations

import pytest
import torch

from studio.errors import StudioError
from studio.kernels.mlp import MlpLayout, mlp, mlp_reference
from tests.studio.kernels.scenes import leaves, relative

LAYOUT = MlpLayout(inputs=32, outputs=16, hidden=64, hidden_layers=2)


def _inputs(layout: MlpLayout, count: int, seed: int = 0) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    parameters = layout.initial(random) + 0.05 * torch.randn(layout.parameters, generator=random)
    return [torch.randn(count, layout.inputs, generator=random), parameters]


def _output_and_gradients(network, inputs, layout):
    output = network(*inputs, layout)
    cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    return output, torch.autograd.grad(output, inputs, cotangent)


@pytest.mark.parametrize("network", [mlp, mlp_reference])
def test_by_hand(network):
    """Hidden unit 0 = max(0, 2 a - b + 1), unit 1 = max(0, b - 4); output = 3 unit 0 + 5 unit 1 - 2.

    Inputs (1, 2): units 1 and 0, output 1. Inputs (0, 6): units 0 and 2, output 8.
    """
    layout = MlpLayout(inputs=2, outputs=1, hidden=16, hidden_layers=1, bias=True)
    assert layout.sizes == [(16, 16), (16, 16), (16,), (16,)]
    assert layout.parameters == 2 * 256 + 2 * 16
    parameters = torch.zeros(layout.parameters)
    (first, last), (first_bias, last_bias) = layout.unpack(parameters)
    first[0, :2], first_bias[0] = torch.tensor([2.0, -1.0]), 1.0
    first[1, :2], first_bias[1] = torch.tensor([0.0, 1.0]), -4.0
    last[0, :2], last_bias[0] = torch.tensor([3.0, 5.0]), -2.0
    found = network(torch.tensor([[1.0, 2.0], [0.0, 6.0]]), parameters, layout)
    assert torch.equal(found, torch.tensor([[1.0], [8.0]]))


def test_layout_is_row_major_first_layer_first_and_padded():
    """31 inputs and 3 outputs: matrices [64, 32], [64, 64], [16, 64], as in tiny-cuda-nn."""
    layout = MlpLayout(inputs=31, outputs=3)
    assert layout.sizes == [(64, 32), (64, 64), (16, 64)]
    matrices, biases = layout.unpack(torch.arange(float(layout.parameters)))
    assert biases == []
    assert [float(matrix[0, 1]) for matrix in matrices] == [1.0, 64 * 32 + 1.0, 64 * 32 + 64 * 64 + 1.0]
    assert float(matrices[0][1, 0]) == 32.0


@pytest.mark.parametrize("count", [1, 16, 31, 512, 515, 9000])
def test_values_and_gradients_against_float64(count):
    inputs = _inputs(LAYOUT, count)
    found, gradients = _output_and_gradients(mlp, leaves(inputs, torch.float32), LAYOUT)
    expected, exact = _output_and_gradients(mlp_reference, leaves(inputs, torch.float64), LAYOUT)
    assert found.shape == (count, 16)
    assert relative(found, expected) < 1e-6
    assert max(relative(ours, theirs) for ours, theirs in zip(gradients, exact)) < 2e-6


@pytest.mark.parametrize(
    "layout",
    [
        MlpLayout(3, 1, hidden=16, hidden_layers=1, bias=True),
        MlpLayout(31, 19, hidden=32, hidden_layers=4),
        MlpLayout(70, 33, hidden=48, hidden_layers=3, bias=True),
    ],
)
def test_other_shapes(layout):
    inputs = _inputs(layout, 700)
    found, gradients = _output_and_gradients(mlp, leaves(inputs, torch.float32), layout)
    expected, exact = _output_and_gradients(mlp_reference, leaves(inputs, torch.float64), layout)
    assert found.shape == (700, layout.outputs)
    assert relative(found, expected) < 1e-6
    assert max(relative(ours, theirs) for ours, theirs in zip(gradients, exact)) < 2e-6


def test_gradients_repeat_bit_by_bit_for_any_number_of_workers(monkeypatch):
    results = []
    for workers in ("1", "2", "5"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        results.append(_output_and_gradients(mlp, leaves(_inputs(LAYOUT, 20_000), torch.float32), LAYOUT))
    for output, gradients in results[1:]:
        assert torch.equal(output, results[0][0])
        assert all(torch.equal(a, b) for a, b in zip(gradients, results[0][1]))


def test_a_gradient_can_be_differentiated():
    """As for normals: the slope of the output along the inputs, in a loss."""

    def penalty_gradients(network, inputs):
        (slope,) = torch.autograd.grad(network(*inputs, LAYOUT).square().sum(), inputs[0], create_graph=True)
        return torch.autograd.grad(slope.square().mean(), inputs)

    inputs = _inputs(LAYOUT, 40)
    found = penalty_gradients(mlp, leaves(inputs, torch.float32))
    exact = penalty_gradients(mlp_reference, leaves(inputs, torch.float64))
    assert max(relative(ours, theirs) for ours, theirs in zip(found, exact)) < 1e-5


def test_without_gradients_nothing_is_kept():
    inputs = _inputs(LAYOUT, 600)
    with torch.no_grad():
        output = mlp(*leaves(inputs, torch.float32), LAYOUT)
    assert not output.requires_grad
    assert relative(output, mlp_reference(*inputs, LAYOUT)) < 1e-6


def test_parameters_alone_can_be_wanted():
    inputs, parameters = _inputs(LAYOUT, 20)
    mlp(inputs, parameters.requires_grad_(), LAYOUT).sum().backward()
    assert parameters.grad is not None
    assert inputs.grad is None


def test_what_does_not_fit_is_refused():
    inputs, parameters = _inputs(LAYOUT, 20)
    for wrong in ((inputs[:, 1:], parameters), (inputs, parameters[1:]), (inputs.double(), parameters)):
        with pytest.raises(StudioError, match="network; got"):
            mlp(*wrong, LAYOUT)
    for shape in ({"hidden": 20}, {"hidden_layers": 0}, {"outputs": 0}):
        with pytest.raises(StudioError, match="network; got"):
            MlpLayout(**{"inputs": 4, "outputs": 4, **shape})


@pytest.mark.gpu
def test_tiny_cuda_nn_reads_the_same_parameters():
    try:
        import tinycudann  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("tiny-cuda-nn is not installed")
    inputs = _inputs(LAYOUT, 1000)
    found, gradients = _output_and_gradients(mlp, leaves(inputs, torch.float32, "cuda"), LAYOUT)
    expected, exact = _output_and_gradients(mlp_reference, leaves(inputs, torch.float64), LAYOUT)
    assert relative(found, expected) < 1e-2  # half precision
    assert max(relative(ours, theirs) for ours, theirs in zip(gradients, exact)) < 3e-2
