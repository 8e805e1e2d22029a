"""Transfer of motion from one person to another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reenact.retarget import RetargetConfig, match_gains, retarget
from studio.code_guard import guarded
from studio.code_range import head_motion, measure_range
from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid

FRAMES = 500


def _clip(amplitude: float = 1.0, **rest: float) -> CodeTrack:
    """Speech, blinks, wandering gaze and a turning head, of a person who rests as given."""
    time = torch.arange(FRAMES) / 25.0
    speech = amplitude * 0.5 * (torch.sin(14 * time) * torch.sin(1.3 * time)).clamp(min=0)
    blink = amplitude * 0.6 * ((time % 4) < 0.24)
    gaze = 0.25 * torch.sin(1.1 * time)
    base = Codes.neutral(batch=(FRAMES,)).with_channels(**rest)
    signed = base.expression[:, ARKIT52.index("eyeLookOutLeft")] + gaze
    codes = base.with_channels(
        jawOpen=base.expression[:, ARKIT52.index("jawOpen")] + speech,
        mouthClose=0.5 * speech,
        eyeBlinkLeft=base.expression[:, ARKIT52.index("eyeBlinkLeft")] + blink,
        eyeBlinkRight=base.expression[:, ARKIT52.index("eyeBlinkRight")] + blink,
        eyeLookOutLeft=signed.clamp(min=0),
        eyeLookInLeft=(-signed).clamp(min=0),
    )
    turn = amplitude * 0.15 * torch.stack((torch.sin(time), torch.cos(0.7 * time), 0 * time), dim=-1)
    return CodeTrack(
        replace(codes, neck_pose=0.4 * turn, head_to_world=rigid(axis_angle_to_matrix(turn), 0.1 * turn)),
        25.0,
        torch.ones(FRAMES, dtype=torch.bool),
    )


def _channel(track: CodeTrack, name: str) -> torch.Tensor:
    return track.codes.expression[:, ARKIT52.index(name)]


def test_own_motion_comes_back_unchanged() -> None:
    track = _clip(mouthSmileLeft=0.2)
    moved = retarget(track, measure_range(track))
    inner = (track.codes.expression <= measure_range(track).high.expression).all(-1)
    assert torch.allclose(moved.codes.expression[inner], track.codes.expression[inner], atol=1e-5)
    assert torch.allclose(moved.codes.head_to_world, track.codes.head_to_world, atol=3e-3)
    assert torch.allclose(moved.codes.neck_pose, track.codes.neck_pose, atol=2e-3)


def test_identity_of_the_avatar_is_kept_and_the_drivers_left_behind() -> None:
    avatar = measure_range(_clip(browInnerUp=0.1, mouthFrownLeft=0.15))
    moved = retarget(_clip(mouthSmileLeft=0.5, mouthSmileRight=0.5, jawOpen=0.1), avatar)
    assert _channel(moved, "mouthSmileLeft").max() < 0.02
    assert torch.allclose(_channel(moved, "browInnerUp"), torch.tensor(0.1), atol=0.01)
    assert torch.allclose(_channel(moved, "mouthFrownLeft"), torch.tensor(0.15), atol=0.01)
    assert _channel(moved, "jawOpen").min() < 0.01


def test_blinks_close_as_far_as_the_avatars_own() -> None:
    avatar = measure_range(_clip(amplitude=1.0))
    moved = retarget(_clip(amplitude=0.7, eyeBlinkLeft=0.2, eyeBlinkRight=0.2), avatar)
    for side in ("Left", "Right"):
        assert float(_channel(moved, f"eyeBlink{side}").max()) == pytest.approx(0.6, abs=0.03)
        assert _channel(moved, f"eyeBlink{side}").median() < 0.02


def test_gaze_aside_becomes_gaze_straight_ahead() -> None:
    own = _clip()
    moved = retarget(_clip(eyeLookOutLeft=0.4), measure_range(own))
    for name in ("eyeLookOutLeft", "eyeLookInLeft"):
        assert torch.allclose(_channel(moved, name), _channel(own, name), atol=0.03)


def test_lips_that_meet_still_meet() -> None:
    gains = match_gains(measure_range(_clip(1.6)), measure_range(_clip(0.5)))
    assert gains[ARKIT52.index("jawOpen")] == gains[ARKIT52.index("mouthClose")] < 1
    assert gains[ARKIT52.index("cheekPuff")] == 1


def test_calm_speech_stays_calm_on_an_avatar_that_knows_grimaces() -> None:
    calm = _clip(0.3)
    moved = retarget(calm, measure_range(_clip(2.0)))
    assert _channel(moved, "jawOpen").max() <= 1.2 * _channel(calm, "jawOpen").max() + 1e-4


def test_a_wild_driver_stays_near_what_the_avatar_has_learned() -> None:
    avatar_track, wild = _clip(0.3), _clip(3.0)
    avatar = measure_range(avatar_track)
    moved = retarget(wild, avatar)
    moved = replace(moved, codes=guarded(moved.codes, avatar)[0])
    assert _channel(moved, "jawOpen").max() < 0.15 + 0.5 * 0.15 + 0.21
    assert (moved.codes.neck_pose <= avatar.high.neck_pose + 0.06).all()
    turns, shifts = head_motion(moved.codes.head_to_world, avatar.neutral.head_to_world)
    assert turns.abs().max() < 0.25
    assert shifts.abs().max() < 0.03
    assert moved.codes.expression.min() >= 0
    assert moved.codes.expression.max() <= 1
    steps = moved.codes.expression.diff(dim=0).abs().max()
    assert steps <= wild.codes.expression.diff(dim=0).abs().max() * 1.61


def test_head_motion_does_not_depend_on_where_the_driver_sat() -> None:
    avatar, track = measure_range(_clip()), _clip()
    elsewhere = rigid(axis_angle_to_matrix(torch.tensor([0.2, 0.9, -0.1])), torch.tensor([0.4, 0.1, 1.5]))
    shifted = replace(track, codes=replace(track.codes, head_to_world=elsewhere @ track.codes.head_to_world))
    here, there = retarget(track, avatar), retarget(shifted, avatar)
    assert torch.allclose(here.codes.head_to_world, there.codes.head_to_world, atol=1e-4)


def test_strengths() -> None:
    avatar, track = measure_range(_clip()), _clip()
    still = retarget(track, avatar, RetargetConfig(expression=0.0, head_motion=0.0))
    assert torch.allclose(still.codes.head_to_world, avatar.neutral.head_to_world.expand(FRAMES, 4, 4), atol=1e-5)
    assert torch.allclose(still.codes.neck_pose, avatar.neutral.neck_pose.expand(FRAMES, 3), atol=1e-5)
    assert torch.allclose(_channel(still, "jawOpen"), avatar.neutral.expression[ARKIT52.index("jawOpen")], atol=1e-5)
    with pytest.raises(StudioError, match="impossible strength head_motion"):
        RetargetConfig(head_motion=-1.0)


def test_codes_of_another_space_are_refused_naming_the_retargeter() -> None:
    other = CodeSpace("flame2023/100", tuple(f"expression_{i}" for i in range(100)), -3.0, 3.0)
    track = CodeTrack(Codes.neutral(other, (4,)), 25.0, torch.ones(4, dtype=torch.bool))
    with pytest.raises(StudioError, match=r"a retargeter flame2023/100 -> arkit52 is needed"):
        retarget(track, measure_range(_clip()))
