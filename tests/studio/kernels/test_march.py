"""Marching and compositing: worked by hand, and against the float64 references."""

from __future__ import annotations

import math

import pytest
import torch

from studio.errors import StudioError
from studio.kernels.march import (
    Composite,
    OccupancyGrid,
    Samples,
    composite,
    composite_reference,
    distortion_loss,
    keep_visible,
    march_rays,
    march_reference,
    split_samples,
)
from tests.studio.kernels.scenes import leaves, relative

FIELDS = ("rgb", "alpha", "depth", "weights")


def _grid(cells: int, seed: int, share: float = 0.3) -> OccupancyGrid:
    grid = OccupancyGrid.full(torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 1.5, 3.0]), cells)
    grid.occupied = torch.rand(grid.occupied.shape, generator=torch.Generator().manual_seed(seed)) < share
    return grid


def _rays(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """From outside and inside of the box, most of them through it, a few along an axis."""
    random = torch.Generator().manual_seed(seed)
    origins = 4.0 * torch.randn(count, 3, generator=random)
    targets = torch.tensor([0.0, 0.5, 1.5]) + torch.randn(count, 3, generator=random)
    directions = torch.nn.functional.normalize(targets - origins, dim=-1)
    directions[:3], origins[:3] = torch.eye(3), torch.tensor([0.3, 0.2, 1.1]) - 3.0 * torch.eye(3)
    return origins, directions


def _samples(counts: list[int], seed: int) -> Samples:
    random = torch.Generator().manual_seed(seed)
    total = sum(counts)
    edges = 0.03 * torch.rand(total + 1, generator=random).cumsum(0)
    offsets = torch.tensor([0, *counts]).cumsum(0)
    rays = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Samples(edges[:-1], edges[1:], rays, offsets)


def _volume(samples: Samples, seed: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    densities = (2.0 * torch.randn(len(samples.starts), generator=random)).exp()
    return [densities, torch.rand(len(densities), 3, generator=random)]


def _random_loss(result: Composite, names=FIELDS) -> torch.Tensor:
    random = torch.Generator().manual_seed(5)
    values = [getattr(result, name) for name in names]
    return sum((value.double() * torch.randn(value.shape, generator=random).double()).sum() for value in values)


# -------------------------------------------------------------------------------------------------------- marching


def test_marching_by_hand():
    """A ray along x through four cells of which the second and fourth are occupied; steps of 0.4 from near 0.5.

    The box begins at t = 1. Middles: 0.7 outside, 1.1 cell 0, 1.5 cell 0, 1.9 cell 0, 2.3 and 2.7 cell 1, 3.1, 3.5 and
    3.9 cell 2, 4.3 and 4.7 cell 3, 5.1 outside.
    """
    grid = OccupancyGrid.full(torch.zeros(3), torch.full((3,), 4.0), 4)
    grid.occupied[:] = False
    grid.occupied[1], grid.occupied[3] = True, True
    samples = march_rays(torch.tensor([[-1.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]]), grid, 0.4, near=0.5)
    assert samples.middles.tolist() == pytest.approx([2.3, 2.7, 4.3, 4.7], abs=1e-6)
    assert samples.offsets.tolist() == [0, 4]
    points = samples.points(torch.tensor([[-1.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]]))
    assert points[0].tolist() == pytest.approx([1.3, 0.5, 0.5], abs=1e-6)
    moved = march_rays(
        torch.tensor([[-1.0, 0.5, 0.5]]),
        torch.tensor([[1.0, 0.0, 0.0]]),
        grid,
        0.4,
        near=0.5,
        jitter=torch.tensor([0.5]),
    )
    assert moved.middles.tolist() == pytest.approx([2.1, 2.5, 2.9, 4.1, 4.5, 4.9], abs=1e-6)


@pytest.mark.parametrize(("cells", "step"), [(1, 0.05), (7, 0.013), (16, 0.11), (16, 1.3)])
def test_marching_takes_what_the_reference_takes(cells, step):
    origins, directions = _rays(200, seed=cells)
    jitter = torch.rand(200, generator=torch.Generator().manual_seed(1))
    options = {"near": 0.2, "far": 9.0, "jitter": jitter}
    grid = _grid(cells, seed=2, share=1.0 if cells == 1 else 0.3)
    expected = march_reference(origins, directions, grid, step, **options)
    samples = march_rays(origins, directions, grid, step, **options)
    counts = samples.offsets.diff()
    assert bool((samples.rays == torch.repeat_interleave(torch.arange(200), counts)).all())
    number = ((samples.starts - 0.2) / step - jitter[samples.rays]).round().long()
    taken = torch.zeros_like(expected)
    taken[samples.rays, number] = True
    assert int(taken.sum()) == len(samples.starts)
    assert int((taken != expected).sum()) <= len(samples.starts) // 10_000  # a middle on a cell's face
    assert torch.allclose(samples.ends - samples.starts, torch.tensor(step), atol=1e-5)


def test_nothing_to_march_through():
    grid = _grid(4, seed=0, share=0.0)
    origins, directions = _rays(5, seed=0)
    samples = march_rays(origins, directions, grid, 0.1)
    assert samples.offsets.tolist() == [0] * 6
    result = composite(torch.zeros(0), torch.zeros(0, 3), samples)
    assert float(result.rgb.abs().sum() + result.alpha.sum() + result.depth.sum()) == 0.0
    away = march_rays(origins, -directions, _grid(4, seed=0, share=1.0), 0.1, near=20.0)
    assert len(away.starts) == 0


def test_rays_are_checked():
    with pytest.raises(StudioError, match="rays; got"):
        march_rays(torch.zeros(4, 3), torch.zeros(4, 2), _grid(2, 0), 0.1)
    with pytest.raises(StudioError, match="rays; got"):
        march_rays(torch.zeros(4, 3), torch.zeros(4, 3), _grid(2, 0), 0.0)
    with pytest.raises(StudioError, match="occupancy grid; got"):
        OccupancyGrid.full(torch.zeros(3), torch.zeros(3), 4)


# -------------------------------------------------------------------------------------------------- occupancy grid


def test_occupancy_follows_the_field_and_decays():
    """A solid half of the box: its cells get α 0.5; where it has disappeared, 0.95 of that is left each time."""
    grid = OccupancyGrid.full(torch.zeros(3), torch.ones(3), 4)
    random = torch.Generator().manual_seed(0)
    grid.update(lambda points: 0.5 * (points[:, 0] < 0.5), random, everywhere=True)
    assert grid.occupied[:2].all()
    assert not grid.occupied[2:].any()
    assert grid.values[:2].tolist() == torch.full((2, 4, 4), 0.5).tolist()
    grid.update(lambda points: torch.zeros(len(points)), random, everywhere=True, decay=0.95)
    assert torch.allclose(grid.values[:2], torch.tensor(0.475))
    for _ in range(80):  # 0.5 · 0.95^81 = 0.0078, and the threshold is the mean as long as that is below 0.01
        grid.update(lambda points: torch.full((len(points),), 0.02), random, everywhere=True, threshold=0.01)
    assert grid.occupied.all()


def test_later_updates_look_at_some_cells_and_at_the_occupied_ones():
    grid = OccupancyGrid.full(torch.zeros(3), torch.ones(3), 8)
    random = torch.Generator().manual_seed(0)
    grid.occupied[:] = False
    grid.occupied[3, 4, 5] = True
    seen = []

    def opacity(points: torch.Tensor) -> torch.Tensor:
        seen.append((points * 8).floor().long())
        return torch.ones(len(points))

    grid.update(opacity, random, everywhere=False)
    cells = seen[0].tolist()
    assert [3, 4, 5] in cells
    assert 80 < len(cells) < 8**3 // 2
    assert all(bool(grid.occupied[tuple(cell)]) for cell in cells)


# ------------------------------------------------------------------------------------------------------ compositing


def test_compositing_by_hand():
    """Two samples a ray, optical depths ln 2 and ln 4: α ½ and ¾, weights ½ and ½ · ¾ = ⅜; alpha ⅞.

    Colours 1 and ½: ½ + 3/16 = 11/16. Middles 1 and 3: (½ + 9/8) / ⅞ = 13/7. The second ray sees nothing.
    """
    samples = Samples(torch.tensor([0.5, 2.0]), torch.tensor([1.5, 4.0]), torch.tensor([0, 0]), torch.tensor([0, 2, 2]))
    densities = torch.tensor([math.log(2.0), math.log(4.0) / 2.0])
    result = composite(densities, torch.tensor([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]), samples)
    assert result.weights.tolist() == pytest.approx([0.5, 0.375], abs=1e-6)
    assert result.alpha.tolist() == pytest.approx([0.875, 0.0], abs=1e-6)
    assert result.rgb[:, 0].tolist() == pytest.approx([11 / 16, 0.0], abs=1e-6)
    assert result.depth.tolist() == pytest.approx([13 / 7, 0.0], abs=1e-6)


def test_values_and_gradients_against_float64():
    counts = [0, 1, 15, 16, 17, 64, 0, 100, 3, 33, 0]
    samples = _samples(counts, seed=1)
    inputs = _volume(samples, seed=2)
    singles, doubles = leaves(inputs, torch.float32), leaves(inputs, torch.float64)
    found, exact = composite(*singles, samples), composite_reference(*doubles, samples)
    for name in FIELDS:
        assert relative(getattr(found, name), getattr(exact, name)) < 2e-6, name
    for names in (FIELDS, ("rgb",), ("depth",), ("weights",)):
        gradients = torch.autograd.grad(_random_loss(found, names), singles, retain_graph=True, allow_unused=True)
        expected = torch.autograd.grad(_random_loss(exact, names), doubles, retain_graph=True, allow_unused=True)
        assert relative(gradients[0], expected[0]) < 2e-5, names
        if expected[1] is not None:
            assert relative(gradients[1], expected[1]) < 2e-6, names


def test_an_opaque_sample_hides_what_is_behind_it():
    samples = _samples([20], seed=3)
    densities, rgb = _volume(samples, seed=3)
    densities[4] = 1e9
    densities.requires_grad_()
    result = composite(densities, rgb, samples)
    assert float(result.alpha) == pytest.approx(1.0, abs=1e-6)
    assert float(result.weights[5:].sum()) < 1e-30
    result.rgb.sum().backward()
    assert bool(densities.grad.isfinite().all())
    assert float(densities.grad[5:].abs().max()) < 1e-30


def test_an_empty_ray_has_no_depth_and_pulls_at_nothing():
    samples = _samples([12], seed=3)
    densities = torch.zeros(12, requires_grad=True)
    result = composite(densities, torch.rand(12, 3), samples)
    assert float(result.depth) == 0.0
    result.depth.sum().backward()
    assert float(densities.grad.abs().max()) == 0.0


def test_compositing_repeats_bit_by_bit_for_any_number_of_workers(monkeypatch):
    samples = _samples([37] * 300, seed=4)
    results = []
    for workers in ("1", "4"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        inputs = leaves(_volume(samples, seed=4), torch.float32)
        result = composite(*inputs, samples)
        results.append([result.rgb, *torch.autograd.grad(_random_loss(result), inputs)])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_distortion_by_hand_and_against_all_pairs():
    """Weights ½ and ¼ two apart, lengths 1 and 2: 2 · ½ · ¼ · 2 + ⅓ (¼ · 1 + 1/16 · 2) = ½ + ⅛."""
    samples = Samples(torch.tensor([0.5, 2.0]), torch.tensor([1.5, 4.0]), torch.tensor([1, 1]), torch.tensor([0, 0, 2]))
    assert distortion_loss(torch.tensor([0.5, 0.25]), samples).tolist() == pytest.approx([0.0, 0.625])
    samples = _samples([5, 0, 30], seed=6)
    weights = torch.rand(35, generator=torch.Generator().manual_seed(6)).double().requires_grad_()
    middles, lengths = samples.middles.double(), (samples.ends - samples.starts).double()
    same = (samples.rays[:, None] == samples.rays).double()
    pairs = (same * weights[:, None] * weights * (middles[:, None] - middles).abs()).sum(1)
    expected = torch.zeros(3).double().index_add(0, samples.rays, pairs + weights.square() * lengths / 3)
    found = distortion_loss(weights, samples)
    assert torch.allclose(found, expected)
    (by_pairs,) = torch.autograd.grad(expected.square().sum(), weights)
    (by_sums,) = torch.autograd.grad(found.square().sum(), weights)
    assert torch.allclose(by_sums, by_pairs)


def test_samples_are_checked():
    samples = _samples([3], seed=0)
    with pytest.raises(StudioError, match="samples do not fit together"):
        composite(torch.zeros(4), torch.zeros(4, 3), samples)
    with pytest.raises(StudioError, match="samples; got"):
        composite(torch.zeros(3).double(), torch.zeros(3, 3), samples)


@pytest.mark.gpu
def test_nerfacc_marches_and_composites_the_same():
    origins, directions = _rays(500, seed=7)
    grid = _grid(16, seed=7)
    on_cuda = OccupancyGrid(*(value.to("cuda") for value in (grid.lower, grid.upper, grid.values, grid.occupied)))
    jitter = torch.rand(500)
    options = {"near": 0.2, "far": 9.0}
    ours = march_rays(origins, directions, grid, 0.05, jitter=jitter, **options)
    theirs = march_rays(origins.to("cuda"), directions.to("cuda"), on_cuda, 0.05, jitter=jitter.to("cuda"), **options)
    assert int((ours.offsets.diff() - theirs.offsets.cpu().diff()).abs().sum()) <= len(ours.starts) // 1000
    inputs = _volume(ours, seed=8)
    there = Samples(*(value.to("cuda") for value in (ours.starts, ours.ends, ours.rays, ours.offsets)))
    cpu, cuda = leaves(inputs, torch.float32), leaves(inputs, torch.float32, "cuda")
    a, b = composite(*cpu, ours), composite(*cuda, there)
    for name in FIELDS:
        assert relative(getattr(b, name), getattr(a, name)) < 1e-5, name
    random = torch.Generator().manual_seed(1)
    cotangent = torch.randn(a.rgb.shape, generator=random)
    exact = torch.autograd.grad(a.rgb, cpu, cotangent)
    found = torch.autograd.grad(b.rgb, cuda, cotangent.to("cuda"))
    assert max(relative(x, y) for x, y in zip(found, exact)) < 1e-4


def test_only_what_light_reaches_is_kept() -> None:
    """Two rays by hand: α = 0.5, 0.001, 0.9, 0.9, 0.5 lets 1, 0.5, 0.4995, 0.04995, 0.004995 through."""
    alphas = torch.tensor([0.5, 0.001, 0.9, 0.9, 0.5, 0.3])
    starts = torch.tensor([1.0, 1.5, 2.0, 2.5, 3.0, 9.0])
    samples = Samples(starts, starts + 0.5, torch.tensor([0, 0, 0, 0, 0, 1]), torch.tensor([0, 5, 6]))
    kept = keep_visible(
        samples, (-2.0 * torch.log1p(-alphas)).__getitem__, least_alpha=0.01, least_reached=0.01
    ).samples
    assert kept.starts.tolist() == [1.0, 2.0, 2.5, 9.0]
    fine = split_samples(kept, torch.tensor([False, True, False, True]), 2)
    assert fine.starts.tolist() == [1.0, 2.0, 2.25, 2.5, 9.0, 9.25]
    assert fine.ends.tolist() == [1.5, 2.25, 2.5, 3.0, 9.25, 9.5]
    assert fine.rays.tolist() == [0, 0, 0, 0, 1, 1]
    assert fine.offsets.tolist() == [0, 4, 6]
    assert kept.ends.tolist() == [1.5, 2.5, 3.0, 9.5]
    assert kept.rays.tolist() == [0, 0, 0, 1]
    assert kept.offsets.tolist() == [0, 3, 4]


def test_what_is_far_behind_a_wall_is_not_looked_at() -> None:
    samples = _samples([400, 0, 400], seed=4)
    densities, looked = torch.full((800,), 1e3), []
    densities[400:] = 0.0  # the second ray meets nothing, and is looked at to its end

    def look(which: torch.Tensor) -> torch.Tensor:
        looked.append(which)
        return densities[which]

    found = keep_visible(samples, look, least_alpha=1e-3, least_reached=1e-3)
    kept, seen = found.samples, torch.cat(looked)
    assert found.looked == len(seen)
    assert torch.equal(found.depths, (densities * (samples.ends - samples.starts))[: len(kept.starts)])
    assert int((seen < 400).sum()) < 50
    assert torch.equal(seen[seen >= 400].sort()[0], torch.arange(400, 800))
    assert 1 <= len(kept.starts) < 5
    assert bool((kept.rays == 0).all())


def test_what_is_kept_looks_the_same() -> None:
    samples = _samples([40, 0, 64, 7] * 20, seed=4)
    densities, rgb = _volume(samples, seed=5)
    kept = keep_visible(samples, densities.__getitem__, least_alpha=0.0, least_reached=1e-3).samples
    chosen = torch.isin(samples.starts + 1e3 * samples.rays, kept.starts + 1e3 * kept.rays)
    assert int(chosen.sum()) == len(kept.starts)
    whole, part = composite(densities, rgb, samples), composite(densities[chosen], rgb[chosen], kept)
    assert float((whole.rgb - part.rgb).abs().max()) < 2e-3
