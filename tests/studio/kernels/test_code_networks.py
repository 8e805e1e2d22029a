"""Tiny networks at once against the same in torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from studio.kernels.code_networks import network_answers, parameter_count
from tests.studio.kernels.scenes import relative


@pytest.mark.parametrize("hidden", [5, 64])
def test_answers_and_gradients_equal_those_of_torch(hidden: int) -> None:
    torch.manual_seed(0)
    sizes = (7, 1, 30)
    networks = [
        nn.Sequential(
            nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 6), nn.Tanh()
        ).double()
        for size in sizes
    ]
    inputs, given = [3 * torch.randn(size) for size in sizes], torch.randn(len(sizes), 6)
    plain = [parameter for network in networks for parameter in network.parameters()]
    parameters = torch.cat([value.detach().reshape(-1) for value in plain]).float().requires_grad_()
    assert len(parameters) == sum(parameter_count(size, hidden, 6) for size in sizes)
    expected = torch.stack([network(x.double()) for network, x in zip(networks, inputs)])
    found = network_answers(parameters, torch.cat(inputs), sizes, hidden, 6)
    assert relative(found.detach(), expected.detach()) < 1e-6
    wanted = torch.cat([value.reshape(-1) for value in torch.autograd.grad(expected, plain, given.double())])
    (gradient,) = torch.autograd.grad(found, parameters, given)
    assert relative(gradient, wanted) < 1e-6
    with torch.no_grad():
        assert torch.equal(network_answers(parameters, torch.cat(inputs), sizes, hidden, 6), found)


def test_huge_inputs_are_answered_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    """SiLU of -1e4 is -0 and of 1e4 is itself; their slopes are 0 and 1."""
    parameters = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], requires_grad=True)  # W and b of three layers of width 1
    for x, expected in ((-1e4, 0.0), (1e4, 1.0)):
        said = network_answers(parameters, torch.tensor([x]), (1,), 1, 1)
        assert float(said.detach()) == expected
        said.sum().backward()
    assert bool(parameters.grad.isfinite().all())
    assert not recwarn
