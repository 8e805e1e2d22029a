"""Relocation keeps the image and the budget; exploration leaves opaque Gaussians alone."""

from __future__ import annotations

import pytest
import torch

from recon.densify import McmcConfig, explore, relocate, split_opacity_and_scale
from studio.rotations import quat_to_matrix


@pytest.mark.parametrize("copies", [1, 2, 5, 12])
def test_copies_cover_as_much_as_one(copies: int) -> None:
    """Along a line, n copies one over the other have the peak and the integral of the one that they replace."""
    opacity = torch.tensor([0.3, 0.7, 0.95], dtype=torch.float64)
    new, factor = split_opacity_and_scale(opacity, torch.full((3,), copies))
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    one = opacity[:, None] * torch.exp(-0.5 * x**2)
    many = 1 - (1 - new[:, None] * torch.exp(-0.5 * (x / factor[:, None]) ** 2)) ** copies
    torch.testing.assert_close(many[:, 2400], opacity)
    torch.testing.assert_close(many.sum(1), one.sum(1), rtol=1e-6, atol=0)


def _parameters(count: int) -> tuple[dict[str, torch.Tensor], torch.optim.Adam]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"means": (3,), "quats": (4,), "log_scales": (3,), "opacity_logits": (), "sh0": (1, 3), "shN": (3, 3)}
    parameters: dict[str, torch.Tensor] = {
        name: torch.nn.Parameter(torch.randn(count, *shape, generator=generator)) for name, shape in shapes.items()
    }
    optimizer = torch.optim.Adam([{"params": [value], "lr": 1e-3, "name": name} for name, value in parameters.items()])
    sum(value.sum() for value in parameters.values()).backward()  # type: ignore[union-attr]
    optimizer.step()
    return parameters, optimizer


def test_relocation_grows_to_the_budget_and_revives_the_dead() -> None:
    parameters, optimizer = _parameters(100)
    with torch.no_grad():
        parameters["opacity_logits"][:40] = -9.0
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        relocate(parameters, optimizer, McmcConfig(budget=130, growth=1.1), generator)
    assert {len(value) for value in parameters.values()} == {130}
    assert (parameters["opacity_logits"].sigmoid() > 0.004).all()
    for group in optimizer.param_groups:
        parameter = group["params"][0]
        assert parameter is parameters[group["name"]]
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape


def test_nothing_happens_when_all_are_alive_and_the_budget_is_met() -> None:
    parameters, optimizer = _parameters(50)
    before = {name: value.detach().clone() for name, value in parameters.items()}
    with torch.no_grad():
        parameters["opacity_logits"].clamp_(min=0)
    before["opacity_logits"] = parameters["opacity_logits"].detach().clone()
    relocate(parameters, optimizer, McmcConfig(budget=50), torch.Generator().manual_seed(0))
    assert all(torch.equal(before[name], parameters[name]) for name in before)


def test_exploration_moves_only_the_transparent_along_their_covariance() -> None:
    parameters, _ = _parameters(200)
    with torch.no_grad():
        parameters["opacity_logits"][:100] = 3.0
        parameters["opacity_logits"][100:] = -8.0
        parameters["log_scales"][:] = torch.tensor([0.0, -20.0, -20.0])  # needles along their first axis
    before = parameters["means"].detach().clone()
    explore(parameters, 1e-5, McmcConfig(), torch.Generator().manual_seed(0))
    moved = (parameters["means"] - before).detach()
    assert moved[:100].abs().max() < 1e-6
    axis = quat_to_matrix(parameters["quats"])[100:, :, 0].detach()
    across = moved[100:] - (moved[100:] * axis).sum(1, keepdim=True) * axis
    assert moved[100:].norm(dim=1).median() > 0.1
    assert across.abs().max() < 1e-4
