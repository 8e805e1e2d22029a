"""Growing keeps the budget, the picture, the binding and each kind's share, and resumes bit by bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.field import FieldConfig
from recon.growth import GrowthConfig, Splits, blame, from_rows, grow, inherit, plan_splits, rows_of, split
from recon.loop import Step
from recon.metrics import psnr
from recon.splat_session import SplatSession
from recon.train import train
from recon.train_config import TrainConfig
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.heads.model import HeadModel

CONFIG = TrainConfig(
    gaussians=400,
    iterations=24,
    check_every=8,
    checkpoint_every=10,
    validation=0.2,
    growth=GrowthConfig(first=0.5, rounds=3, start=0.2, stop=0.8),
    model=FieldConfig(bases=3, hidden=8),
)


def test_a_schedule_worked_by_hand() -> None:
    config = GrowthConfig(first=0.6, rounds=2, start=0.1, stop=0.5)
    counts = [config.count(1000, step, 100) for step in (0, 9, 10, 49, 50, 100)]
    assert counts == [600, 600, 800, 800, 1000, 1000]
    assert [step for step in range(101) if config.due(step, 100)] == [10, 50]
    assert GrowthConfig(rounds=0).count(1000, 0, 100) == 1000


def _plan(count: int, blamed: Tensor, opacities: Tensor, kinds: Tensor) -> Splits:
    return plan_splits(kinds, opacities, blamed, count, torch.Generator().manual_seed(0))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 90), st.integers(0, 1000))
def test_the_budget_is_never_exceeded_and_nothing_alive_is_lost(total: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    opacities, blamed = torch.rand(2, total, generator=generator)
    opacities[torch.rand(total, generator=generator) < 0.2] = 0.001
    kinds = torch.randint(0, 3, (total,), generator=generator)
    plan = _plan(count, blamed, opacities, kinds)
    assert total <= plan.count <= max(total, count)
    assert len(plan.source) == len(plan.target)
    assert len(plan.source.unique()) == len(plan.source)
    assert (opacities[plan.source] > 0.01).all()
    old = plan.target[plan.target < total]
    assert (opacities[old] < 0.01).all()
    assert sorted(plan.target[plan.target >= total].tolist()) == list(range(total, plan.count))
    torch.testing.assert_close(kinds[plan.source][plan.target < total], kinds[old])


def test_errors_decide_within_a_part_and_parts_keep_their_shares() -> None:
    """A thousand Gaussians, 100 of them in the mouth, where nothing is wrong: the mouth still gets its tenth."""
    kinds = torch.full((1000,), 2)
    kinds[:100] = 0
    blamed = torch.ones(1000)
    blamed[500:600], blamed[:100] = 1000.0, 1e-3
    plan = _plan(1100, blamed, torch.full((1000,), 0.5), kinds)
    assert plan.count == 1100
    assert int((kinds[plan.source] == 0).sum()) == 10
    assert int(((plan.source >= 500) & (plan.source < 600)).sum()) > 60


def test_what_no_photo_blames_is_never_split() -> None:
    plan = _plan(20, torch.tensor([0.0, 1.0, 0.0]), torch.full((3,), 0.5), torch.full((3,), 2))
    assert plan.source.tolist() == [1]
    assert plan.count == 4


@pytest.mark.parametrize("opacity", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_the_halves_look_like_the_whole(opacity: float) -> None:
    """Seen from the side: the two halves composited differ from the whole by less than 8 % of its energy's root."""
    rows = {
        "offsets": torch.zeros(1, 3),
        "quats": torch.tensor([[1.0, 0, 0, 0]]),
        "log_scales": torch.tensor([[0.0, -0.7, -0.9]]),
        "opacity_logits": torch.logit(torch.tensor([opacity])),
        "colors": torch.ones(1, 3),
        "bases": torch.ones(1, 2, 11),
    }
    after = split(rows, Splits(torch.tensor([0]), torch.tensor([1]), 2))
    x, y = torch.meshgrid(torch.linspace(-6, 6, 301), torch.linspace(-4, 4, 201), indexing="ij")

    def drawn(state: Mapping[str, Tensor]) -> Tensor:
        through = torch.ones_like(x)
        for offset, log_scale, logit in zip(state["offsets"], state["log_scales"], state["opacity_logits"]):
            sx, sy, _ = log_scale.exp()
            exponent = ((x - offset[0]) / sx).square() + ((y - offset[1]) / sy).square()
            through = through * (1 - logit.sigmoid() * torch.exp(-0.5 * exponent))
        return 1 - through

    one, two = drawn(rows), drawn(after)
    assert float((one - two).norm() / one.norm()) < 0.08
    assert float(two.sum() / one.sum()) == pytest.approx(1.0, abs=0.03)
    assert float(after["offsets"][0] @ after["offsets"][1]) < 0  # on opposite sides of the middle
    torch.testing.assert_close(after["bases"][1], rows["bases"][0])


def test_rows_are_there_and_back() -> None:
    shapes = {"offsets": (5, 3), "quats": (5, 4), "log_scales": (5, 3), "opacity_logits": (5,), "colors": (5, 3)}
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()} | {"bases": torch.randn(2, 55)}
    rows = rows_of(tensors)
    assert rows["bases"].shape == (5, 2, 11)
    assert all(torch.equal(value, tensors[name]) for name, value in from_rows(rows).items())


def test_growing_keeps_picture_binding_and_momenta(capture: Capture, track: CodeTrack, head: HeadModel) -> None:
    session = SplatSession(capture, track, head, replace(CONFIG, growth=GrowthConfig()))
    for step in range(6):
        session.step(step)
    view = session.views[session.keys[0]]
    state = session.objective.codes[view.key[0]]
    before, binding = session.avatar.render(view.camera, state).rgb, session.avatar.binding
    moments = session.optimizer.state[session.avatar.learned.colors]["exp_avg_sq"].clone()
    blamed = blame(session.avatar, session.objective.codes, [view], session.objective.backdrop)
    assert float(blamed.min()) >= 0
    assert float(blamed.max()) > 0
    grown, plan = grow(session.avatar, session.optimizer, blamed, 480, torch.Generator().manual_seed(0))
    assert len(grown.learned) == len(grown.binding) == plan.count == 480
    assert torch.equal(grown.binding.faces[plan.target], binding.faces[plan.source])
    assert torch.equal(grown.binding.bary[: len(binding)], binding.bary)
    assert torch.equal(session.optimizer.state[grown.learned.colors]["exp_avg_sq"], inherit(moments, plan))
    assert psnr(grown.render(view.camera, state).rgb, before) > 35
    session.avatar = grown
    session.held.split(plan)
    session.step(6)


def test_training_ends_with_the_budget_and_resumes_bit_by_bit(
    tmp_path: Path, capture: Capture, track: CodeTrack, head: HeadModel
) -> None:
    whole = load_avatar(train(capture, track, head, CONFIG, tmp_path / "whole"))
    assert isinstance(whole, SplatAvatar)
    assert len(whole.learned) == len(whole.binding) == CONFIG.gaussians

    def interrupt(step: Step) -> None:
        if step.step == 14:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(capture, track, head, CONFIG, tmp_path / "broken", interrupt)
    resumed = load_avatar(train(capture, track, head, CONFIG, tmp_path / "broken", resume=True))
    assert isinstance(resumed, SplatAvatar)
    for name, value in vars(whole.binding).items():
        assert torch.equal(value, getattr(resumed.binding, name)), name
    for name, value in whole.learned.state_dict().items():
        assert torch.equal(value, resumed.learned.state_dict()[name]), name
