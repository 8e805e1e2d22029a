"""Tiny networks in numpy against the same in torch."""

from __future__ import annotations

import torch
from torch import nn

from recon.small_networks import answers
from tests.studio.kernels.scenes import relative


def test_answers_and_gradients_equal_those_of_torch():
    torch.manual_seed(0)
    sizes = (7, 1, 30)
    networks = [
        nn.Sequential(nn.Linear(size, 24), nn.SiLU(), nn.Linear(24, 24), nn.SiLU(), nn.Linear(24, 5)) for size in sizes
    ]
    inputs = [3 * torch.randn(size) for size in sizes]
    given = torch.randn(len(sizes), 5)
    parameters = [parameter for network in networks for parameter in network.parameters()]
    expected = torch.stack([network(x) for network, x in zip(networks, inputs)])
    found = answers(networks, inputs)
    assert relative(found.detach(), expected.detach()) < 1e-6
    wanted = torch.autograd.grad(expected, parameters, given)
    for a, b in zip(torch.autograd.grad(found, parameters, given), wanted):
        assert relative(a, b) < 1e-6
    assert all(network[0].weight.grad is None for network in networks)
