"""Neutral states and ranges of tracks."""

from __future__ import annotations

import math

import pytest
import torch

from studio.code_range import REGIONS, CodeRange, mean_pose, measure_range, region_numbers
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid

FRAMES = 400


def talking_track(**rest: float) -> CodeTrack:
    """A mouth that opens and closes, four blinks, a gaze that wanders, a head that turns; with given resting values."""
    time = torch.arange(FRAMES) / 25.0
    codes = Codes.neutral(batch=(FRAMES,)).with_channels(**rest)
    openness = (0.5 * torch.sin(2 * math.pi * 3 * time)).clamp(min=0)
    blink = ((time % 4) < 0.2).float() * 0.7
    gaze = 0.2 * torch.sin(2 * math.pi * 0.4 * time)
    expression = codes.expression
    expression[:, ARKIT52.index("jawOpen")] += openness
    for side, sign in (("Left", 1), ("Right", -1)):
        expression[:, ARKIT52.index(f"eyeBlink{side}")] += blink
        outward, inward = ARKIT52.index(f"eyeLookOut{side}"), ARKIT52.index(f"eyeLookIn{side}")
        signed = expression[:, outward] - expression[:, inward] + sign * gaze
        expression[:, outward], expression[:, inward] = signed.clamp(min=0), (-signed).clamp(min=0)
    turn = torch.zeros(FRAMES, 3)
    turn[:, 1] = 0.2 * torch.sin(2 * math.pi * 0.3 * time)
    head = rigid(axis_angle_to_matrix(turn), 0.01 * turn)
    codes = Codes(
        ARKIT52, expression, codes.jaw_pose, turn * 0.5, codes.neck_translation, codes.eye_pose, head_to_world=head
    )
    return CodeTrack(codes, 25.0, torch.ones(FRAMES, dtype=torch.bool))


def test_neutral_is_the_face_at_rest_not_the_mean() -> None:
    neutral = measure_range(talking_track(mouthSmileLeft=0.3, browInnerUp=0.2)).neutral
    named = dict(zip(ARKIT52.channels, neutral.expression.tolist()))
    assert named["jawOpen"] == pytest.approx(0, abs=0.01)
    assert named["eyeBlinkLeft"] == pytest.approx(0, abs=0.01)
    assert named["mouthSmileLeft"] == pytest.approx(0.3, abs=0.01)
    assert named["browInnerUp"] == pytest.approx(0.2, abs=0.01)


def test_gaze_rests_at_its_median_as_one_signed_quantity() -> None:
    centred = measure_range(talking_track()).neutral
    aside = measure_range(talking_track(eyeLookOutLeft=0.3, eyeLookInRight=0.3)).neutral
    for codes, expected in ((centred, 0.0), (aside, 0.3)):
        signed = codes.expression[ARKIT52.index("eyeLookOutLeft")] - codes.expression[ARKIT52.index("eyeLookInLeft")]
        assert float(signed) == pytest.approx(expected, abs=0.03)


def test_range_covers_short_blinks_and_ignores_invalid_frames() -> None:
    track = talking_track()
    track.codes.expression[7] = 1.0
    track.valid[7] = False
    high = measure_range(track).high.expression
    assert float(high[ARKIT52.index("eyeBlinkRight")]) == pytest.approx(0.7, abs=0.02)
    assert float(high[ARKIT52.index("cheekPuff")]) == 0


def test_mean_pose_is_a_rotation_and_invariant_to_the_world() -> None:
    poses = talking_track().codes.head_to_world
    world = rigid(axis_angle_to_matrix(torch.tensor([0.3, -0.8, 0.2])), torch.tensor([1.0, 2.0, 3.0]))
    mean, moved = mean_pose(poses), mean_pose(world @ poses)
    assert torch.allclose(mean[:3, :3] @ mean[:3, :3].T, torch.eye(3), atol=1e-5)
    assert torch.allclose(world[:3, :3] @ mean[:3, :3], moved[:3, :3], atol=1e-5)


def test_tensors_round_trip() -> None:
    measured = measure_range(talking_track(cheekPuff=0.1))
    back = CodeRange.from_tensors(ARKIT52, measured.tensors())
    for name, value in measured.tensors().items():
        assert torch.equal(value, back.tensors()[name]), name


def test_ranges_written_before_regions_were_judged_still_load() -> None:
    measured = measure_range(talking_track())
    old = {name: value for name, value in measured.tensors().items() if name not in ("whitening", "reach")}
    back = CodeRange.from_tensors(ARKIT52, old)
    away = (back.high.vector() - back.neutral.vector()) @ back.whitening
    assert float(away.norm()) < 2 * float(back.reach.norm())
    assert back.whitening.shape == measured.whitening.shape


def test_distance_of_a_region_is_that_of_mahalanobis() -> None:
    """Against the inverse of the second moments, regularised as documented, of the two brow channels that move."""
    generator = torch.Generator().manual_seed(0)
    moves = torch.rand(300, 2, generator=generator)
    track = talking_track()
    codes = track.codes[:300].with_channels(browInnerUp=moves[:, 0], browDownLeft=0.5 * moves[:, 0] + 0.1 * moves[:, 1])
    measured = measure_range(CodeTrack(codes, 25.0, torch.ones(300, dtype=torch.bool)))
    indices = [ARKIT52.index(name) for name in ("browInnerUp", "browDownLeft")]
    away = (codes.expression - measured.neutral.expression)[:, indices].double()
    moments = away.T @ away / 300 + 0.01 * torch.eye(2)
    expected = (away @ torch.linalg.inv(moments) * away).sum(-1).sqrt()
    vector = codes.vector() - measured.neutral.vector()
    region = region_numbers(ARKIT52) == list(REGIONS).index("brows")
    distance = (torch.where(region, vector, 0.0) @ measured.whitening).norm(dim=-1)
    assert torch.allclose(distance.double(), expected, atol=1e-4)


def test_no_valid_frame_is_refused() -> None:
    track = CodeTrack(Codes.neutral(batch=(3,)), 25.0, torch.zeros(3, dtype=torch.bool))
    with pytest.raises(StudioError, match="no valid frame"):
        measure_range(track)
