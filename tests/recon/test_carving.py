"""What triangulated points tell beforehand: what is empty, and how far away single pixels are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from capture.sparse_points import SparsePoints
from recon.carving import carve
from recon.sightings import Sightings, sighting_loss
from studio.cameras import Camera, intrinsics, look_at
from studio.kernels.march import Composite, OccupancyGrid, Samples

SIZE = 64
EYES = torch.tensor([[-0.5, 0.0, 3.0], [0.5, 0.0, 3.0], [0.0, 0.6, 3.0]])
RIG = Camera(look_at(EYES, torch.zeros(3)), intrinsics(1.25 * SIZE, SIZE, SIZE).expand(3, 3, 3).clone(), SIZE, SIZE)


def _plane_points(count: int = 600) -> SparsePoints:
    """Points of the plane z = 0, seen by the first two cameras or by the last two."""
    xy = np.random.default_rng(0).uniform(-0.8, 0.8, (count, 2))
    views = np.where(np.arange(count)[:, None] % 2, (0, 1), (1, 2))
    return SparsePoints(np.c_[xy, np.zeros(count)], np.zeros((count, 3)), views)


def _value(grid: OccupancyGrid, point: tuple[float, float, float]) -> bool:
    assert grid.possible is not None
    shape = torch.tensor(grid.values.shape)
    x, y, z = ((torch.tensor(point) - grid.lower) / (grid.upper - grid.lower) * shape).long().tolist()
    return bool(grid.possible[x, y, z])


def test_what_is_looked_through_is_empty() -> None:
    grid = OccupancyGrid.full(torch.tensor([-2.0, -2.0, -2.0]), torch.tensor([2.0, 2.0, 3.5]), 22)
    carve(grid, RIG, _plane_points())
    assert grid.possible is not None
    assert torch.equal(grid.possible, grid.occupied)
    assert _value(grid, (0.1, 0.1, 0.05))  # on the plane
    assert _value(grid, (0.1, 0.1, -1.0))  # behind it: nobody knows
    assert not _value(grid, (0.1, 0.1, 1.1))  # between it and the cameras
    assert not _value(grid, (-0.4, 0.05, 2.6))  # right in front of one
    assert not _value(grid, (1.8, 1.8, 3.2))  # seen by nobody


def test_a_few_wrong_points_carve_nothing() -> None:
    grid = OccupancyGrid.full(torch.tensor([-2.0, -2.0, -2.0]), torch.tensor([2.0, 2.0, 3.5]), 22)
    sparse = _plane_points(3)
    carve(grid, RIG, sparse)
    assert _value(grid, (0.1, 0.1, 0.8))


def test_sightings_are_the_pixels_and_distances_of_points() -> None:
    """Large images, in which points are known well enough."""
    rig = Camera(RIG.viewmats, RIG.Ks * torch.tensor([[10.0], [10.0], [1.0]]), 10 * SIZE, 10 * SIZE)
    sparse = _plane_points(40)
    found = Sightings.of(sparse, rig)
    assert len(found) == 80
    points = torch.from_numpy(sparse.points).float().repeat_interleave(2, dim=0)
    assert found.pixels[:, 0].tolist() == sparse.views.ravel().tolist()
    for (view, row, column), point, distance in zip(found.pixels.tolist(), points, found.distances.tolist()):
        assert rig[view].project(point[None])[0][0, 0].floor().tolist() == [column, row]
        assert distance == pytest.approx(float((point - EYES[view]).norm()), rel=1e-5)


def test_errors_of_sightings_by_hand() -> None:
    """Eyes 1 apart, 3.04 away: a pixel of an 800 pixel focal length, over the sine of the angle (3 / 9.25), twice."""
    middle = SparsePoints(np.zeros((1, 3)), np.zeros((1, 3)), np.array([[0, 1]]))
    rig = Camera(RIG.viewmats, RIG.Ks * torch.tensor([[10.0], [10.0], [1.0]]), 10 * SIZE, 10 * SIZE)
    assert Sightings.of(middle, rig).errors.tolist() == pytest.approx([2 * 9.25**0.5 / 800 * 9.25 / 3] * 2, rel=1e-4)
    assert len(Sightings.of(middle, RIG)) == 0  # in small images too coarse to be of use


def test_sightings_on_the_object_are_drawn() -> None:
    pixels = torch.tensor([[0, 1, 1], [0, 1, 0], [1, 0, 0]])
    known = Sightings(pixels, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3]))
    mattes = torch.zeros(2, 2, 2, dtype=torch.uint8)
    random = torch.Generator().manual_seed(0)
    assert len(known.on(mattes).draw(5, random)) == 0
    mattes[0, 1, 0] = 200
    drawn = known.on(mattes).draw(5, random)
    assert drawn.pixels.tolist() == [[0, 1, 0]] * 5
    assert drawn.distances.tolist() == [2.0] * 5
    assert set(known.draw(50, random).distances.tolist()) == {1.0, 2.0, 3.0}


def test_the_loss_asks_for_light_from_there() -> None:
    """Two rays, the second sighted at 2.0 within 0.1 and a sample's length: it gets 0.3 of its light from there."""
    starts = torch.tensor([1.0, 1.0, 1.9, 2.5])
    samples = Samples(starts, starts + 0.2, torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 4]))
    weights = torch.tensor([0.9, 0.5, 0.3, 0.1], requires_grad=True)
    seen = Composite(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2), weights)
    loss = sighting_loss(seen, samples, Sightings(torch.zeros(1, 3), torch.tensor([2.0]), torch.tensor([0.1])))
    assert float(loss.detach()) == pytest.approx(-np.log(0.4 / 1.1), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, weights)
    assert gradient.tolist() == pytest.approx([0.0, 0.0, -1 / 0.4, 0.0])
    nothing = sighting_loss(seen, samples, Sightings(torch.zeros(0, 3), torch.zeros(0), torch.zeros(0)))
    assert float(nothing) == 0.0
