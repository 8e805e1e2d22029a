"""Gaussians follow their triangles: frames, sampling and posing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.binding import (
    PARTS,
    Rig,
    compacted,
    face_density,
    face_parts,
    sample_shell,
    sample_surface,
    triangle_frames,
)
from recon.bust import has_torso, interocular, with_bust
from studio.codes import Codes
from studio.heads.model import JOINTS, HeadModel
from studio.rotations import axis_angle_to_matrix


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _person(head: HeadModel) -> HeadModel:
    return with_bust(head.with_identity(torch.zeros(1)))


def test_frames_are_rotations_and_areas_are_right() -> None:
    corners = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 3, 0]]])
    frames, area = triangle_frames(corners)
    torch.testing.assert_close(frames[0], torch.eye(3))
    assert float(area) == pytest.approx(3.0)
    turn = axis_angle_to_matrix(torch.tensor([0.4, -1.0, 0.3]))
    torch.testing.assert_close(triangle_frames(corners @ turn.T)[0][0], turn)


def test_samples_are_spread_by_area_times_density(head: HeadModel, generator: torch.Generator) -> None:
    person = _person(head)
    weights = torch.where(person.region_faces("scalp"), 3.0, 1.0)
    binding = sample_surface(person, weights, 6000, generator)
    _, area = triangle_frames(person.template[person.faces])
    expected = (area * weights) / (area * weights).sum() * 6000
    counts = torch.bincount(binding.faces, minlength=len(person.faces))
    assert float((counts - expected).abs().max()) <= 1.0 + 1e-3
    assert (binding.bary >= 0).all()
    torch.testing.assert_close(binding.bary.sum(-1), torch.ones(6000))


def test_lips_and_lids_are_denser_and_unseen_faces_sparser(head: HeadModel) -> None:
    person = _person(head)
    seen = person.template[person.faces].mean(1)[:, 2] > 0
    density = face_density(person, seen)
    plain = person.template[person.faces].mean(1)
    at_lips = (plain - torch.tensor([0.0, -0.035, 0.08])).norm(dim=-1).argmin()
    cheek = (plain - torch.tensor([0.07, -0.02, 0.05])).norm(dim=-1).argmin()
    assert density[at_lips] > 2.5 * density[cheek]
    assert density[~seen].max() < 0.2


def test_skin_belongs_to_the_nearer_of_mouth_and_eyes_and_hair_to_neither(head: HeadModel) -> None:
    person = _person(head)
    part, centers = face_parts(person), person.template[person.faces].mean(1)
    for place, name in (((0.0, -0.035, 0.08), "mouth"), ((0.03, 0.02, 0.08), "eyes")):
        assert PARTS[int(part[(centers - torch.tensor(place)).norm(dim=-1).argmin()])] == name
    assert (part[person.region_faces("scalp", "torso")] == PARTS.index("rest")).all()


def test_everything_scales_with_the_head(head: HeadModel) -> None:
    person = _person(head)
    big = replace(person, template=3 * person.template, joint_positions=3 * person.joint_positions)
    small_sample, big_sample = (
        sample_shell(h, 0.4 * interocular(h), 500, torch.Generator().manual_seed(0)) for h in (person, big)
    )
    torch.testing.assert_close(big_sample.offsets, 3 * small_sample.offsets)
    torch.testing.assert_close(big_sample.spacing, 3 * small_sample.spacing, rtol=1e-4, atol=0)
    torch.testing.assert_close(_bust(big), 3 * _bust(person))


def _bust(head: HeadModel) -> torch.Tensor:
    plain = replace(head, region_names=tuple("was" if n == "torso" else n for n in head.region_names))
    return with_bust(plain).template[len(head.template) :]


def test_the_bust_follows_the_torso_joint_alone(head: HeadModel) -> None:
    person = head.with_identity(torch.zeros(1))
    assert not has_torso(person)
    whole = with_bust(person)
    assert has_torso(whole)
    weights = whole.skin_weights[len(person.template) :]
    torch.testing.assert_close(weights[:, JOINTS.index("torso")], torch.ones(len(weights)))
    torch.testing.assert_close(whole.landmarks(whole.template), person.landmarks(person.template))


def test_a_compact_rig_poses_like_the_whole_head(head: HeadModel, generator: torch.Generator) -> None:
    person = _person(head)
    binding = sample_surface(person, torch.ones(len(person.faces)), 300, generator)
    codes = Codes.neutral().with_channels(jawOpen=0.8)
    codes = replace(codes, neck_pose=torch.tensor([0.1, 0.3, 0.0]))
    whole, small = Rig(person, binding).pose(codes), Rig(*compacted(person, binding)).pose(codes)
    for name in ("origins", "rotations", "quats", "stretch"):
        torch.testing.assert_close(getattr(small, name), getattr(whole, name))
    corners = person.vertices_head(torch.zeros(0), codes)[person.faces[binding.faces]]
    torch.testing.assert_close(whole.origins, (corners * binding.bary[..., None]).sum(1))


def test_head_turns_move_only_the_torso_in_the_head_frame(head: HeadModel, generator: torch.Generator) -> None:
    person = _person(head)
    rig = Rig(person, binding := sample_surface(person, torch.ones(len(person.faces)), 400, generator))
    still, turned = (
        rig.pose(replace(Codes.neutral(), neck_pose=torch.tensor(pose))) for pose in ((0.0, 0.0, 0.0), (0.0, 0.5, 0.0))
    )
    torso = person.region_faces("torso")[binding.faces]
    torch.testing.assert_close(still.origins[~torso], turned.origins[~torso])
    expected = still.rotations.new_tensor([0.0, -0.5, 0.0])
    torch.testing.assert_close(turned.rotations[torso], axis_angle_to_matrix(expected) @ still.rotations[torso])
