"""Levels of detail: beginnings of one order that keep every kind, stay closed, and come closer to the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.detail import at_level, cells_of, detail_order, difference_from_sides, enlarged, level_for_rate, taken
from recon.field import FieldConfig
from recon.growth import kind_of
from recon.metrics import psnr
from recon.train import train
from recon.train_config import TrainConfig
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.folders import read_manifest
from studio.heads.model import HeadModel

LEVELS = (150, 400, 700)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, capture: Capture, track: CodeTrack, head: HeadModel) -> Path:
    config = TrainConfig(
        gaussians=1200, iterations=200, validation=0.2, levels=(*LEVELS, 5000), model=FieldConfig(bases=3, hidden=8)
    )
    return train(capture, track, head, config, tmp_path_factory.mktemp("runs") / "levels")


@pytest.fixture(scope="module")
def avatar(folder: Path) -> SplatAvatar:
    loaded = load_avatar(folder)
    assert isinstance(loaded, SplatAvatar)
    return loaded


def test_every_beginning_takes_its_share_of_each_part() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.multinomial(torch.tensor([0.1, 0.2, 0.7]), 2000, replacement=True, generator=generator)
    cells = kinds * 100 + torch.randint(0, 30, (2000,), generator=generator)
    cells = torch.unique(cells, return_inverse=True)[1]
    order = detail_order(cells, kinds, torch.rand(2000, generator=generator))
    assert torch.equal(order.sort().values, torch.arange(2000))
    whole = torch.bincount(kinds)
    for count in (200, 500, 1500):
        kept = torch.bincount(kinds[order[:count]], minlength=3)
        assert (kept - whole * (count / 2000)).abs().max() <= 1


def test_in_a_cell_the_heaviest_come_first_and_no_cell_is_left_empty() -> None:
    generator = torch.Generator().manual_seed(1)
    cells, weights = torch.arange(640) // 32, torch.rand(640, generator=generator)
    order = detail_order(cells, torch.zeros(640, dtype=torch.int64), weights)
    for cell in range(20):
        own = order[cells[order] == cell]
        assert (weights[own].diff() <= 0).all()
    assert len(cells[order[:80]].unique()) == 20


def test_cells_are_neighbours_of_one_part(avatar: SplatAvatar) -> None:
    cells, kinds = cells_of(avatar), kind_of(avatar.head, avatar.binding)
    places = avatar.head_gaussians(avatar.codes).means
    spread = places.std(0).norm()
    for cell in cells.unique():
        own = cells == cell
        assert len(kinds[own].unique()) == 1
        assert int(own.sum()) <= 32
    means = torch.stack([places[cells == cell].mean(0) for cell in cells.unique()])
    within = (places - means[cells]).square().sum(-1).mean().sqrt()
    assert within < 0.6 * spread


def test_taking_all_in_another_order_shows_the_same(avatar: SplatAvatar) -> None:
    shuffled = taken(avatar, torch.randperm(len(avatar.learned), generator=torch.Generator().manual_seed(0)))
    codes = avatar.codes.with_channels(jawOpen=0.6)
    here, there = (a.render(avatar.camera, codes).rgb for a in (avatar, shuffled))
    torch.testing.assert_close(there, here, atol=1e-5, rtol=0)


def test_enlarging_covers_what_was_covered(avatar: SplatAvatar) -> None:
    cells = cells_of(avatar)
    order = detail_order(cells, kind_of(avatar.head, avatar.binding), torch.ones(len(cells)))
    ordered, weights = taken(avatar, order), torch.zeros(len(order))  # never seen: the areas decide
    whole, thin, covered = (
        a.render(avatar.camera, avatar.codes).alpha.mean()
        for a in (ordered, taken(ordered, torch.arange(300)), enlarged(ordered, cells[order], weights, 300))
    )
    assert thin < 0.93 * whole
    assert whole - covered < 0.5 * (whole - thin), (whole, thin, covered)
    same = enlarged(ordered, cells[order], weights, len(order))
    assert torch.equal(same.learned.log_scales, ordered.learned.log_scales)


def test_each_level_is_a_beginning_of_the_next_and_comes_closer_to_the_whole(avatar: SplatAvatar) -> None:
    assert tuple(sorted(avatar.levels)) == LEVELS
    codes = avatar.codes.with_channels(jawOpen=0.5)
    whole, errors = avatar.render(avatar.camera, codes), []
    for count in LEVELS:
        level = at_level(avatar, count)
        assert len(level.learned) == len(level.binding) == count
        assert torch.equal(level.binding.bary, avatar.binding.bary[:count])
        drawn = level.render(avatar.camera, codes)
        assert float(drawn.alpha[whole.alpha > 0.95].mean()) > 0.9
        errors.append(psnr(drawn.rgb, whole.rgb))
    assert errors == sorted(errors)


@pytest.mark.parametrize(
    ("wanted", "given"), [(10, 150), (150, 150), (399, 150), (650, 400), (1199, 700), (9999, 1200)]
)
def test_the_finest_level_that_fits_is_chosen(folder: Path, wanted: int, given: int) -> None:
    level = load_avatar(folder, gaussians=wanted)
    assert isinstance(level, SplatAvatar)
    assert len(level.learned) == given


def test_a_level_is_an_avatar_of_its_own(avatar: SplatAvatar, folder: Path, tmp_path: Path) -> None:
    level = at_level(avatar, 400)
    level.save(tmp_path / "small", replace(read_manifest(folder, kind="avatar")))
    loaded = load_avatar(tmp_path / "small")
    assert isinstance(loaded, SplatAvatar)
    assert tuple(loaded.levels) == (150,)
    codes = avatar.codes.with_channels(jawOpen=0.6)
    assert torch.equal(loaded.render(avatar.camera, codes).rgb, level.render(avatar.camera, codes).rgb)
    coarsest = (at_level(a, 150).render(avatar.camera, codes).rgb for a in (loaded, avatar))
    torch.testing.assert_close(*coarsest, atol=1e-5, rtol=0)


def test_levels_stay_closed_where_nobody_filmed(avatar: SplatAvatar) -> None:
    """Seen from steps that no fit has taken, a level differs from the whole less than one that was only thinned out."""
    level, thin = at_level(avatar, 400), taken(avatar, torch.arange(400))
    for step in (10_001, 10_003, 10_005):
        fitted, dropped = (float(difference_from_sides(a, avatar, step)) for a in (level, thin))
        assert fitted < 0.8 * dropped
    assert float(difference_from_sides(avatar, avatar, 0)) == 0


def test_a_rate_chooses_the_level(avatar: SplatAvatar) -> None:
    for fps, count in ((1e-3, 1200), (1e9, 150)):
        level = level_for_rate(avatar, fps, 48)
        assert isinstance(level, SplatAvatar)
        assert len(level.learned) == count
