"""Space beyond a box: shrunk without a seam, cut along rays where the boxes round it say."""

from __future__ import annotations

import pytest
import torch

from recon.unbounded import Shells
from studio.kernels.march import OccupancyGrid, Samples, march_rays

SHELLS = Shells(torch.tensor([-1.0, -2.0, 3.0]), torch.tensor([3.0, 2.0, 5.0]), 8)  # middle (1, 0, 4), half (2, 2, 1)


def _rays(count: int, spread: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    origins = torch.tensor([1.0, 0.0, 4.0]) + spread * (2 * torch.rand(count, 3, generator=random) - 1)
    return origins, torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=1)


def test_shrinking_by_hand() -> None:
    """Inside a quarter of the place in the box; at r = 2 and r = 4 places are (2 - 1/r) / 4 from the cube's middle."""
    points = torch.tensor([[1.0, 0.0, 4.0], [2.0, -1.0, 4.25], [5.0, 0.0, 4.0], [1.0, -8.0, 8.0]])
    places, thinner = SHELLS.shrink(points)
    assert places[0].tolist() == [0.5, 0.5, 0.5]
    assert places[1].tolist() == pytest.approx([0.625, 0.375, 0.5625])
    assert places[2].tolist() == pytest.approx([0.5 + 0.25 * 1.5, 0.5, 0.5])
    assert places[3].tolist() == pytest.approx([0.5, 0.5 - 0.25 * 1.75, 0.5 + 0.25 * 1.75])
    assert thinner.tolist() == pytest.approx([1.0, 1.0, 0.25, 1 / 16])


def test_shrinking_has_no_seam_and_never_leaves_the_cube() -> None:
    origins, directions = _rays(200)
    middle, half = torch.tensor([1.0, 0.0, 4.0]), torch.tensor([2.0, 2.0, 1.0])
    unit = directions / directions.abs().amax(1, keepdim=True)
    inner, outer = (SHELLS.shrink(middle + scale * half * unit)[0] for scale in (1 - 1e-5, 1 + 1e-5))
    assert float((inner - outer).abs().max()) < 1e-4
    far, _ = SHELLS.shrink(origins + 1e6 * directions)
    assert 0.0 <= float(far.min()) < 1e-3
    assert 0.999 < float(far.max()) <= 1.0


def test_rays_leave_boxes_where_they_are_as_large() -> None:
    origins, directions = _rays(50)
    sizes = torch.tensor([1.0, 1.5, 40.0]).expand(50, 3)
    places = origins[:, None] + directions[:, None] * SHELLS.leave(origins, directions, sizes)[..., None]
    reach = ((places - torch.tensor([1.0, 0.0, 4.0])) / torch.tensor([2.0, 2.0, 1.0])).abs().amax(-1)
    assert torch.allclose(reach, sizes, rtol=1e-4)
    along = torch.tensor([[0.0, 0.0, 1.0]])  # parallel to four faces
    assert float(SHELLS.leave(torch.tensor([[1.0, 0.0, 4.0]]), along, torch.tensor([[3.0]]))) == pytest.approx(3.0)


@pytest.mark.parametrize("random", [False, True])
def test_what_is_beyond_follows_what_is_inside(random: bool) -> None:
    grid = OccupancyGrid.full(SHELLS.lower, SHELLS.upper, 4)
    grid.occupied[:2] = False  # some rays have no samples inside
    origins, directions = _rays(30)
    jitter = torch.rand(30, generator=torch.Generator().manual_seed(5)) if random else None
    inside = march_rays(origins, directions, grid, 0.3, jitter=jitter)
    samples = SHELLS.extend(inside, origins, directions, jitter)
    edge = SHELLS.leave(origins, directions, torch.ones(30, 1))[:, 0]
    assert len(samples.starts) == len(inside.starts) + 30 * 8
    for ray in range(30):
        mine = slice(int(samples.offsets[ray]), int(samples.offsets[ray + 1]))
        own = slice(int(inside.offsets[ray]), int(inside.offsets[ray + 1]))
        count = own.stop - own.start
        starts, ends = samples.starts[mine], samples.ends[mine]
        assert bool((samples.rays[mine] == ray).all())
        assert torch.equal(starts[:count], inside.starts[own])
        assert float(starts[count]) == pytest.approx(float(edge[ray]), rel=1e-5)
        assert torch.equal(starts[count + 1 :], ends[count:-1])  # without gaps
        assert bool((ends[count:] >= starts[count:]).all())
    if not random:
        halfway = samples.starts[samples.offsets[1:] - 4]  # four of eight are left: 1/r is 1/2
        assert torch.allclose(halfway, SHELLS.leave(origins, directions, torch.full((30, 1), 2.0))[:, 0])


def test_distances_are_measured_in_shrunk_space() -> None:
    """From the middle along x, whose half is 2: at r = 2 and 4 a ray has come 2 + 2 (1 - 1/r); inside, what it has."""
    starts, ends = torch.tensor([0.5, 2.0, 4.0]), torch.tensor([1.0, 4.0, 8.0])
    samples = Samples(starts, ends, torch.zeros(3, dtype=torch.int64), torch.tensor([0, 3]))
    found = SHELLS.measured(samples, torch.tensor([[1.0, 0.0, 4.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    assert found.starts.tolist() == pytest.approx([0.5, 2.0, 3.0])
    assert found.ends.tolist() == pytest.approx([1.0, 3.0, 3.5])
