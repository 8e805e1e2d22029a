"""Dials: what each slider reads from a state and writes into it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from studio.code_range import measure_range
from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.rotations import axis_angle_to_matrix, rigid
from viewer.controls import REGION_ORDER, Dial, beyond_limits, face_dials, pose_dials, region_of, reset
from viewer.presets import PRESETS, presets_for, wear


def some_state() -> Codes:
    """A state in which no number is special."""
    numbers = torch.Generator().manual_seed(3)
    codes = Codes.neutral()
    joints = {
        name: 0.2 * torch.randn(getattr(codes, name).shape, generator=numbers)
        for name in ("jaw_pose", "neck_pose", "neck_translation", "eye_pose")
    }
    pose = rigid(axis_angle_to_matrix(torch.tensor((0.2, -0.3, 0.1))), torch.tensor((0.1, 0.2, -0.7)))
    return replace(codes, expression=torch.rand(52, generator=numbers), head_to_world=pose, **joints)


STATE = some_state()
RANGE = measure_range(CodeTrack(Codes.stack([Codes.neutral(), STATE]), 25.0, torch.ones(2, dtype=torch.bool)))
CHANNEL_DIALS = [dial for dial in face_dials(RANGE) if dial.name in ARKIT52.channels]
POSE_DIALS = pose_dials(Codes.neutral())


def by_name(dials: list[Dial]) -> dict[str, Dial]:
    return {dial.name: dial for dial in dials}


def test_every_channel_has_one_dial_in_the_folder_of_its_region() -> None:
    assert sorted(dial.name for dial in CHANNEL_DIALS) == sorted(ARKIT52.channels)
    counts = {group: sum(dial.group == group for dial in CHANNEL_DIALS) for group in REGION_ORDER}
    assert counts == {
        "Eyes": 6,
        "Gaze": 8,
        "Brows": 5,
        "Jaw": 4,
        "Mouth": 23,
        "Cheeks & nose": 5,
        "Tongue": 1,
        "Other": 0,
    }


def test_labels_are_short_and_unique_within_a_folder() -> None:
    labels = by_name(CHANNEL_DIALS)
    assert labels["mouthSmileLeft"].label == "Smile L"
    assert labels["mouthLeft"].label == "Left"
    assert labels["cheekPuff"].label == "Cheek puff"
    assert labels["browInnerUp"].label == "Inner up"
    for dials in (face_dials(RANGE), POSE_DIALS):
        shown = [(dial.group, dial.label) for dial in dials]
        assert len(set(shown)) == len(shown)


def test_left_and_right_of_a_movement_stand_next_to_each_other() -> None:
    order = [dial.name for dial in CHANNEL_DIALS]
    assert order.index("eyeBlinkRight") == order.index("eyeBlinkLeft") + 1
    assert order.index("mouthSmileRight") == order.index("mouthSmileLeft") + 1


@pytest.mark.parametrize("dial", [*CHANNEL_DIALS, *POSE_DIALS], ids=lambda dial: dial.name)
def test_a_dial_changes_its_own_number_only(dial: Dial) -> None:
    value = 0.25 * dial.low + 0.75 * dial.high
    written = dial.write(STATE, value)
    assert dial.read(written) == pytest.approx(value, abs=2e-4 * (dial.high - dial.low))
    for other in (*CHANNEL_DIALS, *POSE_DIALS):
        if other is not dial:
            assert other.read(written) == pytest.approx(other.read(STATE), abs=2e-3), other.name
    restored = dial.write(written, dial.read(STATE))
    for name, tensor in restored.tensors().items():
        torch.testing.assert_close(tensor, STATE.tensors()[name], atol=1e-5, rtol=0)


def test_head_dials_turn_about_the_resting_place() -> None:
    rest = STATE
    turn = by_name(pose_dials(rest))["head.1"]
    assert turn.read(rest) == pytest.approx(0.0, abs=1e-3)
    turned = turn.write(rest, 90.0).head_to_world
    torch.testing.assert_close(turned[:3, 3], rest.head_to_world[:3, 3])
    # the face now looks where the subject's left was
    torch.testing.assert_close(turned[:3, 2], rest.head_to_world[:3, 0], atol=1e-5, rtol=0)


def test_twins_are_mutual_and_gaze_twins_move_both_eyes_the_same_way() -> None:
    dials = by_name(CHANNEL_DIALS)
    for dial in CHANNEL_DIALS:
        assert dial.twin is None or dials[dial.twin].twin == dial.name
    assert dials["mouthSmileLeft"].twin == "mouthSmileRight"
    assert dials["eyeLookInLeft"].twin == "eyeLookOutRight"
    assert dials["eyeLookUpLeft"].twin == "eyeLookUpRight"
    assert all(dials[name].twin is None for name in ("jawOpen", "jawLeft", "mouthRight", "browInnerUp"))


def test_gaze_dials_turn_both_eyes() -> None:
    dials = by_name(face_dials(RANGE))
    looked = dials["gazeSideways"].write(dials["gazeUp"].write(STATE, 0.4), -0.6)
    expected = {"eyeLookInLeft": 0.6, "eyeLookOutRight": 0.6, "eyeLookOutLeft": 0.0, "eyeLookInRight": 0.0}
    expected |= {"eyeLookUpLeft": 0.4, "eyeLookUpRight": 0.4, "eyeLookDownLeft": 0.0, "eyeLookDownRight": 0.0}
    for channel, value in expected.items():
        assert float(looked.expression[ARKIT52.index(channel)]) == pytest.approx(value)
    assert dials["gazeSideways"].read(looked) == pytest.approx(-0.6)


def test_sliders_show_values_within_their_range_in_their_steps() -> None:
    jaw, nod = by_name(CHANNEL_DIALS)["jawOpen"], by_name(POSE_DIALS)["neck_pose.0"]
    assert jaw.shown(Codes.neutral().with_channels(jawOpen=1.7)) == 1.0
    assert jaw.shown(Codes.neutral().with_channels(jawOpen=0.123)) == 0.12
    assert nod.shown(nod.write(STATE, math.degrees(2.0))) == 30.0
    assert [jaw.limited(value) for value in (-1.0, 0.3, 9.0, math.nan)] == [0.0, 0.3, 1.0, 0.0]


def test_reset_restores_these_dials_and_leaves_the_rest() -> None:
    rest = Codes.neutral().with_channels(jawOpen=0.1)
    eyes = [dial for dial in CHANNEL_DIALS if dial.group == "Eyes"]
    after = reset(STATE, rest, eyes)
    for dial in CHANNEL_DIALS:
        assert dial.read(after) == (dial.read(rest) if dial in eyes else dial.read(STATE))
    everything = reset(STATE, rest, CHANNEL_DIALS)
    assert torch.equal(everything.expression, rest.expression)


def test_a_value_well_outside_of_the_recording_is_noticed() -> None:
    still = measure_range(CodeTrack(Codes.neutral(batch=(3,)), 25.0, torch.ones(3, dtype=torch.bool)))
    assert by_name(face_dials(still))["jawOpen"].seen == (0.0, 0.0)
    low, high = beyond_limits(still)
    jaw = ARKIT52.index("jawOpen")
    assert low[jaw] < 0 < 0.15 < high[jaw] < 0.5


def test_channels_of_another_space_find_a_folder() -> None:
    space = CodeSpace("other", ("expression000", "jawOpen"), low=-3.0, high=3.0)
    still = measure_range(CodeTrack(Codes.neutral(space, (1,)), 25.0, torch.ones(1, dtype=torch.bool)))
    dials = face_dials(still)
    assert [(dial.group, dial.low, dial.high) for dial in dials] == [("Jaw", -3.0, 3.0), ("Other", -3.0, 3.0)]
    assert region_of("expression000") == "Other"
    assert presets_for(space) == ()


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_added_to_the_resting_face(preset: str) -> None:
    assert preset in presets_for(ARKIT52)
    rest = Codes.neutral().with_channels(mouthSmileLeft=0.4, cheekPuff=0.2)
    worn = wear(STATE, rest, preset)
    for index, channel in enumerate(ARKIT52.channels):
        expected = float(rest.expression[index]) + PRESETS[preset].get(channel, 0.0)
        assert float(worn.expression[index]) == pytest.approx(min(expected, 1.0))
    assert torch.equal(worn.neck_pose, STATE.neck_pose)
