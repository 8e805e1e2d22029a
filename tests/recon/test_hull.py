"""Where a head can be: the ball is inside, and what few cameras see is told apart."""

from __future__ import annotations

import pytest
import torch

from recon.hull import find_hull
from studio.captures import Capture
from tests.recon.ball import ball_cameras, write_ball_capture


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    return write_ball_capture(tmp_path_factory.mktemp("ball") / "capture")


@pytest.mark.parametrize("min_views", [1, 3])
def test_what_few_cameras_see_is_doubtful(capture: Capture, min_views: int) -> None:
    still = torch.eye(4).expand(len(capture), 4, 4)
    corners = -0.4 * torch.ones(3), 0.4 * torch.ones(3)
    hull = find_hull(
        capture, (0, 3), (0, 1, 2), still, 16, agreeing=0.999, at_once=True, min_views=min_views, around=corners
    )
    grid, cells = hull.grid, hull.doubtful
    assert grid.possible is not None
    assert bool(grid.possible.reshape(-1)[cells].all())
    index = torch.stack(torch.unravel_index(cells, grid.values.shape), dim=1)
    centers = grid.lower + (index + 0.5) / 16 * (grid.upper - grid.lower)
    cameras = ball_cameras()
    xy, depth = cameras.project(centers)
    size = torch.tensor([cameras.width, cameras.height])
    seeing = ((depth > 0) & (xy >= 0).all(-1) & (xy < size).all(-1)).sum(0)
    assert bool((seeing < 2).all())
    middle = ((torch.zeros(3) - grid.lower) / (grid.upper - grid.lower) * 16).long()
    flat = (middle[0] * 16 + middle[1]) * 16 + middle[2]
    assert bool(grid.possible.reshape(-1)[flat])
    assert not bool(torch.isin(flat, cells))
