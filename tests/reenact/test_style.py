"""Style: what is learned comes back, what is applied is seen, and lips that met still meet."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from capture.synthetic.script import perform
from reenact.mouth import lip_gap
from reenact.procedural import ProceduralConfig, procedural
from reenact.project.channels import members
from reenact.style import Style, apply_style, hastened, learn_style, motion_basis, nodding
from reenact.torso import torso_to_world
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid

FPS = 25.0


def _talk(size: float = 1.0, smile: float = 0.0, seed: int = 0, frames: int = 400, lids: float = 10.0) -> CodeTrack:
    """Speech of a size, with a habitual smile on the left, blinks and a moving head."""
    codes = perform("sentence", frames, FPS, seed).codes
    life = procedural(frames, FPS, ProceduralConfig(seed=seed, blinks=lids, head=2.0 * size)).codes
    weights = size * codes.expression
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        weights[:, ARKIT52.index(name)] = life.expression[:, ARKIT52.index(name)]
    weights[:, ARKIT52.index("mouthSmileLeft")] += smile
    weights[:, ARKIT52.index("mouthSmileRight")] += 0.3 * smile
    return CodeTrack(replace(life, expression=weights.clamp(0, 1)), FPS, torch.ones(frames, dtype=torch.bool), {})


def test_what_is_applied_is_learned_again() -> None:
    lively, calm = learn_style(_talk(1.0, 0.3, seed=1, lids=30)), _talk(0.5, 0.0, seed=2, lids=8)
    moved = learn_style(apply_style(calm, lively))
    own = learn_style(calm)
    for channel in ("mouth", "brows"):
        assert abs(moved.amplitude[channel] - lively.amplitude[channel]) < abs(
            own.amplitude[channel] - lively.amplitude[channel]
        )
    assert moved.pose["mouthSmileLeft"] == pytest.approx(lively.pose["mouthSmileLeft"], abs=0.06)
    assert moved.blinks > own.blinks + 8
    assert moved.head[1] > 1.3 * own.head[1]


def test_one_side_moves_more() -> None:
    track = _talk(seed=1)
    lopsided = track.codes.expression.clone()
    lopsided[:, ARKIT52.index("mouthLowerDownRight")] *= 0.3
    style = learn_style(replace(track, codes=replace(track.codes, expression=lopsided)))
    assert style.asymmetry["mouthLowerDown"] == pytest.approx(0.7 / 1.3, abs=0.01)
    moved = learn_style(apply_style(_talk(seed=2), style))
    assert moved.asymmetry["mouthLowerDown"] > 0.35


def test_strength() -> None:
    style, track = learn_style(_talk(1.0, 0.4, seed=1)), _talk(0.5, seed=2)
    assert apply_style(track, style, 0.0) is track
    half, whole = apply_style(track, style, 0.5), apply_style(track, style, 1.0)
    smile = ARKIT52.index("mouthSmileLeft")
    medians = [float(item.codes.expression[:, smile].median()) for item in (track, half, whole)]
    assert medians[0] < medians[1] < medians[2]
    with pytest.raises(StudioError, match="impossible strength"):
        apply_style(track, style, 3.0)


def test_ones_own_style_changes_little() -> None:
    track = _talk(0.8, 0.2, seed=3)
    moved = apply_style(track, learn_style(track))
    assert (moved.codes.expression - track.codes.expression).abs().max() < 0.02
    assert torch.allclose(moved.codes.head_to_world, track.codes.head_to_world, atol=1e-4)


def test_lips_that_met_still_meet_and_the_torso_stays() -> None:
    track = _talk(0.6, 0.0, seed=2)
    moved = apply_style(track, learn_style(_talk(1.0, 0.5, seed=1)))
    closed = lip_gap(track.codes) < 5e-4
    assert int(closed.sum()) > 10
    assert lip_gap(moved.codes)[closed].max() < 1.5e-3
    assert torch.allclose(torso_to_world(moved.codes), torso_to_world(track.codes), atol=1e-4)
    assert float(lip_gap(moved.codes).max()) > float(lip_gap(track.codes).max())


def test_fewer_blinks_are_left_out() -> None:
    track = _talk(seed=1, lids=30)
    moved = learn_style(apply_style(track, learn_style(_talk(seed=2, lids=2))))
    assert moved.blinks < learn_style(track).blinks - 8


@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.5])
def test_tempo_changes_speed_and_neither_size_nor_time(ratio: float) -> None:
    time = torch.arange(300) / FPS
    swings = torch.sin(2 * math.pi * 0.5 * time) + 0.5 * torch.sin(2 * math.pi * 2.0 * time + 1)
    away = torch.stack((swings, -0.5 * swings), dim=1)
    moved = hastened(away, ratio)
    assert float(moved.diff(dim=0).square().mean().sqrt() / away.diff(dim=0).square().mean().sqrt()) == pytest.approx(
        ratio, abs=0.02
    )
    assert float(moved.square().mean()) == pytest.approx(float(away.square().mean()), rel=1e-3)
    assert torch.allclose(moved[:, 1], -0.5 * moved[:, 0], atol=1e-5)
    lags = [float((moved[20:-20, 0] * away[20 + lag : len(away) - 20 + lag, 0]).sum()) for lag in range(-10, 11)]
    assert int(np.argmax(lags)) == 10


def test_tempo_of_the_brows_is_taken_over() -> None:
    slow, quick = _talk(seed=1), _talk(seed=2)
    brows = [ARKIT52.index(name) for name in ("browInnerUp", "browDownLeft", "browDownRight")]
    time = torch.arange(len(slow)) / FPS
    for track, hertz in ((slow, 0.3), (quick, 1.5)):
        swing = 0.2 + 0.15 * torch.sin(2 * math.pi * hertz * time) + 0.03 * torch.sin(2 * math.pi * 0.8 * time)
        track.codes.expression[:, brows] = swing[:, None]
    style = learn_style(quick)
    moved = learn_style(apply_style(slow, style))
    assert learn_style(slow).tempo["brows"] < 0.7 * style.tempo["brows"]
    assert moved.tempo["brows"] > 1.15 * learn_style(slow).tempo["brows"]


def test_nods_are_added_and_calmed() -> None:
    time = np.arange(1500) / FPS
    still = 0.01 * np.sin(0.5 * time)
    often = nodding(still, FPS, 20.0, seed=3)
    count = learn_style(_headed(often)).nods
    assert count == pytest.approx(20.0, abs=4.0)
    assert learn_style(_headed(nodding(often, FPS, 5.0, seed=3))).nods <= 5.0
    assert np.array_equal(nodding(still, FPS, 0.0, seed=3), still)
    style = learn_style(_headed(often))
    assert learn_style(apply_style(_headed(still), style)).nods > 10.0


def _headed(pitch: np.ndarray) -> CodeTrack:
    """A head that turns down and up."""
    turns = torch.zeros(len(pitch), 3)
    turns[:, 0] = torch.from_numpy(pitch).float()
    turns[:, 1] = 0.02 * torch.sin(torch.arange(len(pitch)) / 30)
    codes = Codes.neutral(batch=(len(pitch),))
    codes = replace(codes, head_to_world=rigid(axis_angle_to_matrix(turns), torch.zeros(len(pitch), 3)))
    return CodeTrack(codes, FPS, torch.ones(len(pitch), dtype=torch.bool))


def test_files(tmp_path: Path) -> None:
    style = learn_style(_talk())
    style.save(tmp_path / "anna.json")
    assert Style.load(tmp_path / "anna.json") == style
    (tmp_path / "bad.json").write_text('{"pose": {"nose": 1}}')
    with pytest.raises(StudioError, match="missing setting"):
        Style.load(tmp_path / "bad.json")
    with pytest.raises(StudioError, match="too short to learn"):
        learn_style(CodeTrack(Codes.neutral(batch=(9,)), FPS, torch.ones(9, dtype=torch.bool)))


def test_a_basis_of_motion_is_orthonormal_and_edits_only_its_channel() -> None:
    track = _talk()
    basis = motion_basis(track, "mouth", 5)
    assert torch.allclose(basis.directions @ basis.directions.T, torch.eye(5), atol=1e-5)
    assert bool((basis.deviations.diff() <= 1e-6).all())
    edited = basis.edited(track.codes, torch.zeros(5))
    assert torch.allclose(edited.expression, track.codes.expression, atol=1e-6)
    middle = replace(track.codes, expression=torch.full_like(track.codes.expression, 0.5))
    moved = basis.edited(middle, torch.tensor([0.1, 0.0, 0.0, 0.0, 0.0]))
    along = basis.coordinates(moved) - basis.coordinates(middle)
    assert torch.allclose(along, torch.tensor([0.1, 0, 0, 0, 0]).expand_as(along), atol=1e-5)
    others = [index for index in range(52) if index not in members("mouth", ARKIT52)]
    assert torch.equal(moved.expression[:, others], middle.expression[:, others])
    with pytest.raises(StudioError, match="no basis for this channel; got head"):
        motion_basis(track, "head")
