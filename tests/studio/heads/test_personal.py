"""Offsets of landmarks shape a person's head: skin follows, eyeballs stay rigid, what no landmark knows stays."""

from __future__ import annotations

import pytest
import torch

from studio.codes import Codes
from studio.heads import load_head
from studio.heads.mediapipe_points import BROW_LEFT, BROW_RIGHT, CONTOUR, LIDS_LEFT, LIDS_RIGHT, LIPS
from studio.heads.model import JOINTS, HeadModel
from studio.heads.personal import with_offsets

_MOVE = torch.tensor((0.001, -0.002, 0.0015))


@pytest.fixture(scope="module")
def person() -> HeadModel:
    head = load_head("procedural")
    return head.with_identity(torch.zeros(head.num_identity))


def _offsets(points: tuple[int, ...]) -> torch.Tensor:
    offsets = torch.zeros(478, 3)
    offsets[list(points)] = _MOVE
    return offsets


def _vertices(head: HeadModel, *regions: str) -> torch.Tensor:
    return torch.unique(head.faces[head.region_faces(*regions)])


def test_nothing_known_changes_nothing(person: HeadModel) -> None:
    assert with_offsets(person, torch.zeros(478, 3)) is person


def test_the_outline_is_not_believed(person: HeadModel) -> None:
    assert with_offsets(person, _offsets(CONTOUR)) is person


def test_landmarks_lie_where_they_were_seen(person: HeadModel) -> None:
    shaped = with_offsets(person, _offsets(LIPS))
    moved = shaped.landmarks(shaped.template) - person.landmarks(person.template)
    lips = [index for index in LIPS if person.landmark_valid[index]]
    assert (moved[lips] - _MOVE).norm(dim=1).mean() < 0.15 * _MOVE.norm()


def test_bone_stays_and_so_does_what_is_far(person: HeadModel) -> None:
    moved = with_offsets(person, _offsets(LIPS)).template - person.template
    assert moved[_vertices(person, "teeth_upper", "teeth_lower", "tongue")].abs().max() == 0
    far = (person.template - person.landmarks(person.template)[LIPS[0]]).norm(dim=1) > 0.12
    assert far.any()
    assert moved[far].norm(dim=1).max() < 1e-3 * _MOVE.norm()


def test_an_eyeball_moves_as_a_whole_with_its_joint(person: HeadModel) -> None:
    shaped = with_offsets(person, _offsets(LIDS_LEFT))
    moved = shaped.template - person.template
    eye = moved[_vertices(person, "eye_left")]
    torch.testing.assert_close(eye, _MOVE.expand_as(eye), atol=1e-7, rtol=0)
    joints = shaped.joint_positions - person.joint_positions
    torch.testing.assert_close(joints[JOINTS.index("eye_left")], _MOVE, atol=1e-7, rtol=0)
    assert joints[[JOINTS.index("jaw"), JOINTS.index("eye_right")]].abs().max() == 0


def test_lids_that_meet_still_meet_under_a_lowered_brow(person: HeadModel) -> None:
    shut = Codes.neutral(person.space).with_channels(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    offsets = _offsets((*BROW_LEFT, *BROW_RIGHT))
    offsets[list((*LIDS_LEFT, *LIDS_RIGHT))] = -0.3 * _MOVE
    gaps = []
    for head in (person, with_offsets(person, offsets)):
        points = head.landmarks(head.vertices(torch.zeros(0), shut))
        gaps.append((points[[159, 158, 386, 385]] - points[[145, 153, 374, 380]]).norm(dim=1))
    assert (gaps[1] - gaps[0]).abs().max() < 1e-4  # metres
