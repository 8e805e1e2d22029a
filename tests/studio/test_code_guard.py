"""Laws of the out-of-range guard."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from studio.code_guard import bent, guarded
from studio.code_range import CodeRange, measure_range
from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from tests.studio.test_code_range import talking_track

EYE, JAW = (ARKIT52.index(name) for name in ("eyeBlinkLeft", "jawOpen"))
MOUTH = [index for index, name in enumerate(ARKIT52.channels) if name.startswith("mouth")]


@pytest.fixture(scope="module")
def learned() -> CodeRange:
    return measure_range(talking_track(mouthSmileLeft=0.3))


@pytest.fixture(scope="module")
def one_by_one() -> CodeRange:
    """Each channel of the mouth goes to 0.5, one after the other, never two together."""
    levels = torch.zeros(500, 52)
    for place, index in enumerate(MOUTH):
        levels[place * 20 : place * 20 + 10, index] = 0.5
    codes = replace(Codes.neutral(batch=(500,)), expression=levels)
    return measure_range(CodeTrack(codes, 25.0, torch.ones(500, dtype=torch.bool)))


def _states(learned: CodeRange, count: int) -> Codes:
    return Codes.stack([learned.neutral] * count)


def test_the_knee_is_the_identity_inside_and_monotone_smooth_and_bounded_beyond() -> None:
    values = torch.linspace(-5, 5, 4001, dtype=torch.float64)[:, None]
    low, high, margin = torch.tensor([[-0.2], [0.6], [0.4]], dtype=torch.float64)
    out = bent(values, low, high, margin)
    inside = (values >= low) & (values <= high)
    assert torch.equal(out[inside], values[inside])
    steps = out.diff(dim=0) / values.diff(dim=0)
    assert (steps >= 0).all()
    assert (steps <= 1 + 1e-9).all()
    assert steps.diff(dim=0).abs().max() < 0.02, "the speed jumps"
    assert out.max() <= 1.0
    assert out.min() >= -0.6
    assert float(bent(torch.tensor(1.0), *map(torch.tensor, (0.0, 0.6, 0.4)))) == pytest.approx(0.6 + 0.4 * 0.761594)


def test_what_was_recorded_passes_unchanged_and_nothing_is_told() -> None:
    track = talking_track(browInnerUp=0.2)
    codes, beyond = guarded(track.codes, measure_range(track))
    assert (codes.vector() - track.codes.vector()).abs().max() < 0.01  # a hundredth of the frames is beyond by a hair
    within = (codes.vector() == track.codes.vector()).all(-1)
    assert within.float().mean() > 0.8
    assert beyond == ()


def test_every_channel_is_monotone_and_keeps_to_its_range_and_margin(learned: CodeRange) -> None:
    levels = torch.linspace(0, 40, 200)
    for name in ("jawOpen", "mouthSmileLeft", "cheekPuff", "browInnerUp", "tongueOut"):
        codes, _ = guarded(_states(learned, 200).with_channels(**{name: levels}), learned)
        values = codes.expression[:, ARKIT52.index(name)]
        assert (values.diff() >= -1e-6).all(), name
        high = float(learned.high.expression[ARKIT52.index(name)])
        low = float(learned.low.expression[ARKIT52.index(name)])
        assert float(values.max()) <= high + 0.5 * (high - low) + 0.2 + 1e-6, name


def test_lids_may_always_close(learned: CodeRange) -> None:
    never_blinked = measure_range(replace(talking_track(), codes=talking_track().codes.with_channels(eyeBlinkLeft=0.0)))
    codes, _ = guarded(_states(never_blinked, 1).with_channels(eyeBlinkLeft=0.9), never_blinked)
    assert float(codes.expression[0, EYE]) == pytest.approx(0.9)


def test_a_combination_that_never_was_is_drawn_to_neutral_in_its_own_region(one_by_one: CodeRange) -> None:
    """Each mouth channel alone is within its range; all of them at once are not."""
    odd = one_by_one.neutral.expression.clone()
    odd[MOUTH], odd[EYE] = torch.linspace(0.3, 0.5, len(MOUTH)), 0.6
    codes, beyond = guarded(replace(_states(one_by_one, 1), expression=odd[None]), one_by_one)
    assert codes.expression[0, EYE] == 0.6, "the mouth must not open the eyes"
    kept = codes.expression[0, MOUTH] / odd[MOUTH]
    assert float(kept.max()) < 0.9
    assert float(kept.std()) < 1e-5, "proportions are kept"
    assert [excess.name for excess in beyond] == ["mouth as a whole"]
    assert beyond[0].most > beyond[0].recorded == 1


def test_a_combination_is_limited_in_distance_and_monotone_along_its_ray(one_by_one: CodeRange) -> None:
    away = torch.zeros(67)
    away[torch.tensor(MOUTH)] = 0.01
    amounts = torch.linspace(0, 49, 50)
    vector = one_by_one.neutral.vector() + amounts[:, None] * away
    out = guarded(_states(one_by_one, 50).with_vector(vector), one_by_one)[0].vector() - one_by_one.neutral.vector()
    distance = (out @ one_by_one.whitening).norm(dim=-1)
    assert (distance.diff() > 0).all()
    assert float(distance.max()) <= 1.5 * float(one_by_one.reach[0]) + 1.0 + 1e-4
    near = amounts * (away @ one_by_one.whitening).norm() < one_by_one.reach[0]
    assert 3 < near.sum() < 30
    assert torch.allclose(out[near], (amounts[:, None] * away)[near], atol=1e-6)


def test_a_torso_hardly_leaves_its_range(learned: CodeRange) -> None:
    wild = replace(_states(learned, 3), neck_pose=torch.full((3, 3), 2.0), neck_translation=torch.full((3, 3), -1.0))
    codes, beyond = guarded(wild, learned)
    span = learned.high.neck_pose - learned.low.neck_pose
    assert (codes.neck_pose <= learned.high.neck_pose + 0.25 * span + 0.03 + 1e-6).all()
    assert (codes.neck_translation >= learned.low.neck_translation - 0.0031).all()
    assert {"neck_pose.1", "neck_translation.2"} <= {excess.name for excess in beyond}


def test_absurd_values_stay_finite_and_in_the_space(learned: CodeRange) -> None:
    def at(value: float) -> Tensor:
        codes, _ = guarded(_states(learned, 1).with_vector(torch.full((1, 67), value)), learned)
        return codes.vector()

    for value in (1e4, -1e4, 1e20, -1e20):
        assert torch.isfinite(at(value)).all()
        assert at(value)[:, :52].min() >= 0
        assert at(value)[:, :52].max() <= 1


def test_what_is_told_is_what_was_beyond(learned: CodeRange) -> None:
    levels = torch.zeros(10)
    levels[:3] = torch.tensor([0.9, 0.7, 0.8])
    _, beyond = guarded(_states(learned, 10).with_channels(cheekPuff=levels), learned)
    told = next(excess for excess in beyond if excess.name == "cheekPuff")
    assert told.frames == pytest.approx(0.3)
    assert told.most == pytest.approx(0.9)
    assert told.recorded == 0
    assert str(told) == "cheekPuff 0.90 (recorded up to 0.00) in 30% of the frames"


def test_the_head_stays_where_it_is(learned: CodeRange) -> None:
    far = torch.eye(4).repeat(2, 1, 1)
    far[:, :3, 3] = 5.0
    codes, beyond = guarded(replace(_states(learned, 2), head_to_world=far), learned)
    assert torch.equal(codes.head_to_world, far)
    assert beyond == ()


def test_codes_of_another_space_are_refused(learned: CodeRange) -> None:
    with pytest.raises(StudioError, match="another space"):
        guarded(Codes.neutral(CodeSpace("other", ("a",)), (2,)), learned)


def test_a_space_without_channels_passes() -> None:
    empty = CodeSpace("static", ())
    still = Codes.neutral(empty, (2,))
    codes, beyond = guarded(still, measure_range(CodeTrack(still, 25.0, torch.ones(2, dtype=torch.bool))))
    assert torch.equal(codes.vector(), still.vector())
    assert beyond == ()
