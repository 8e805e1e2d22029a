"""Undoing a warp against the float64 reference, and where the answer is known."""

from __future__ import annotations

import pytest
import torch

from studio.errors import StudioError
from studio.kernels.unwarp import unwarp_points, unwarp_points_reference


def test_it_agrees_with_the_reference_and_undoes_the_warp() -> None:
    random = torch.Generator().manual_seed(0)
    lattice = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, 9)] * 3, indexing="ij"), dim=-1)
    volumes = torch.stack((0.03 * (3 * lattice).sin(), 0.02 * (2 * lattice.flip(-1)).cos()))
    points, index = torch.rand(4000, 3, generator=random), torch.randint(2, (4000,), generator=random)
    found = unwarp_points(points, index, volumes, 8)
    exact = unwarp_points_reference(points.double(), index, volumes.double(), 8)
    assert float((found - exact).abs().max()) < 1e-6
    moved = found - unwarp_points_reference(found, index, volumes, 1)  # d at what was found
    inside = ((found > 0) & (found < 1)).all(1)
    assert float((found + moved - points)[inside].abs().max()) < 1e-6


def test_a_shift_by_hand() -> None:
    volumes = torch.tensor([0.25, -0.5, 0.0]).expand(1, 2, 2, 2, 3)
    found = unwarp_points(
        torch.tensor([[0.5, 0.5, 0.5], [2.0, -1.0, 0.0]]), torch.zeros(2, dtype=torch.int64), volumes, 3
    )
    assert found.tolist() == [[0.25, 1.0, 0.5], [1.75, -0.5, 0.0]]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(StudioError, match="points to unwarp"):
        unwarp_points(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), torch.zeros(1, 3, 3, 2, 3), 1)
