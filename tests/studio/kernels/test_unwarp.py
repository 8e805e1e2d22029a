"""Undoing a warp against the float64 reference, and where the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.unwarp import NEAR, Warps, unwarp_points, unwarp_points_reference

Unwarp = Callable[[Tensor, Tensor, Warps], tuple[Tensor, Tensor]]
STILL = torch.zeros(2, dtype=torch.int64)


def _lattice(side: int) -> Tensor:
    return torch.stack(torch.meshgrid(*[torch.linspace(0, 1, side)] * 3, indexing="ij"), dim=-1)


def _mouth(opened: float) -> Warps:
    """A cube of which all below 0.5 moves down when it is opened; torn between 0.2 and 0.8."""
    places = torch.linspace(0.2, 0.8, 4)
    heights = (places - 0.5)[None, :, None].expand(4, 4, 4)
    halves = torch.zeros(1, 1, 2, 4, 4, 4, 3)
    halves[:, :, 1, ..., 1] = -opened
    corners = torch.tensor([[[0.2] * 3, [0.8] * 3]])
    starts = torch.zeros(1, 1, 2, 1, 1, 1, 3)
    return Warps(
        torch.zeros(1, 2, 2, 2, 3), halves, torch.stack((heights, -heights))[None], corners, starts[:, 0, 0], starts
    )


def test_it_agrees_with_the_reference_and_undoes_the_warp() -> None:
    random = torch.Generator().manual_seed(0)
    lattice = _lattice(9)
    whole = torch.stack((0.03 * (3 * lattice).sin(), 0.02 * (2 * lattice.flip(-1)).cos()))
    fine = 0.3 + 0.4 * _lattice(6)
    parts = torch.stack((0.03 * (3 * fine).sin(), 0.05 * (4 * fine).cos()))  # one for each side
    halves = torch.stack((parts, -parts))[:, None]
    boxes, heights = torch.tensor([[[0.3] * 3, [0.7] * 3]]), fine[..., 1] - 0.5
    starts = 0.02 * torch.randn(2, 1, 2, 3, 3, 3, 3, generator=random)
    warps = Warps(whole, halves, torch.stack((heights, -heights))[None], boxes, starts[:, 0, 0], starts)
    points, index = torch.rand(4000, 3, generator=random), torch.randint(2, (4000,), generator=random)
    found, there = unwarp_points(points, index, warps)
    doubled = Warps(*(value.double() for value in vars(warps).values()))
    exact, exactly_there = unwarp_points_reference(points.double(), index, doubled)
    assert float((there == exactly_there).float().mean()) > 0.998
    both = there & exactly_there
    alike = (found - exact).abs().amax(1)[both] < 2 * NEAR
    assert float(alike.float().mean()) > 0.998  # a point in the middle may go to either side
    torn = ((points > 0.3) & (points < 0.7)).all(1)
    assert 0.5 < float(there[torn].float().mean()) < 1.0
    assert bool(there[~torn].all())


def test_a_shift_by_hand() -> None:
    warps = Warps.smooth(torch.tensor([0.25, -0.5, 0.0]).expand(1, 2, 2, 2, 3))
    found, there = unwarp_points(torch.tensor([[0.5, 0.5, 0.5], [2.0, -1.0, 0.0]]), STILL, warps)
    assert found.tolist() == [[0.25, 1.0, 0.5], [1.75, -0.5, 0.0]]
    assert bool(there.all())


def test_a_steep_stretch_is_undone() -> None:
    """y + d(y) = 2.5 y: simple repetition of y ← x - d(y) would run away."""
    warps = Warps.smooth(1.5 * _lattice(5)[None])
    found, _ = unwarp_points(torch.tensor([[0.5, 1.0, 2.0], [0.0, 0.25, 2.5]]), STILL, warps)
    assert torch.allclose(found, torch.tensor([[0.2, 0.4, 0.8], [0.0, 0.1, 1.0]]), atol=NEAR)


@pytest.mark.parametrize("unwarp", [unwarp_points, unwarp_points_reference])
def test_between_open_lips_there_is_nothing(unwarp: Unwarp) -> None:
    points = torch.tensor([[0.5, 0.55, 0.5], [0.5, 0.45, 0.5], [0.5, 0.35, 0.5], [0.5, 0.25, 0.5]])
    index = torch.zeros(4, dtype=torch.int64)
    found, there = unwarp(points, index, _mouth(0.2))
    assert there.tolist() == [True, False, False, True]
    assert found[0].tolist() == points[0].tolist()
    assert abs(float(found[3, 1]) - 0.45) < 1e-6
    found, there = unwarp(points, index, _mouth(0.0))
    assert bool(there.all())
    assert torch.equal(found, points)


@pytest.mark.parametrize("unwarp", [unwarp_points, unwarp_points_reference])
def test_of_several_places_the_one_near_the_start_is_found(unwarp: Unwarp) -> None:
    """A chin at 0.8 has come down by 0.5, before a neck at 0.3 that stays: both are at 0.3."""
    whole = torch.zeros(1, 2, 11, 2, 3)[:, :1].expand(1, 11, 11, 2, 3)[..., :1, :].expand(1, 11, 11, 11, 3).clone()
    whole[:, :, 6:, :, 1] = -0.5
    point, smooth = torch.tensor([[0.5, 0.3, 0.5]]), Warps.smooth(whole)
    index = torch.zeros(1, dtype=torch.int64)
    assert float(unwarp(point, index, smooth)[0][0, 1]) == pytest.approx(0.3)
    chin = torch.tensor([0.0, -0.48, 0.0]).expand(1, 1, 1, 1, 3)
    assert float(unwarp(point, index, replace(smooth, starts=chin))[0][0, 1]) == pytest.approx(0.8, abs=NEAR)


def test_what_does_not_fit_is_refused() -> None:
    for warps in (replace(_mouth(0.1), depths=torch.zeros(1, 2, 3, 4, 4)), Warps.smooth(torch.zeros(1, 3, 3, 2, 3))):
        with pytest.raises(StudioError, match="points to unwarp"):
            unwarp_points(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), warps)
