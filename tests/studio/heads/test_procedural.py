"""The built-in head: its mesh, bindings, identities and texture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.codes import Codes
from studio.heads.model import HeadModel
from studio.heads.procedural import Appearance, build, paint
from studio.heads.procedural.landmarks import locate
from studio.heads.procedural.mesh import build_mesh
from studio.heads.procedural.mouth import CONTACT_LOOP
from studio.heads.procedural.uvmap import rasterize_uv


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return build()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """[N, M], exact (cdist's default goes through squares and loses a tenth of a millimetre)."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def part(head: HeadModel, *names: str) -> Tensor:
    """Vertex indices of regions."""
    return torch.unique(head.faces[head.region_faces(*names)])


def areas(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return 0.5 * torch.linalg.cross(b - a, c - a).norm(dim=-1)


def test_it_has_every_part_of_a_person(head: HeadModel) -> None:
    expected = "face scalp neck mouth_interior eye_left eye_right ear_left ear_right teeth_upper teeth_lower gums"
    expected += " tongue hair brows lashes torso"
    for name in expected.split():
        assert head.region_faces(name).sum() > 20, name
    assert 6_000 <= len(head.template) <= 14_000
    assert head.absent == ()
    assert head.num_identity >= 10


def test_sizes_are_those_of_a_person(head: HeadModel) -> None:
    face = head.template[part(head, "face", "scalp")]
    width, height, depth = (face.max(0).values - face.min(0).values).tolist()
    assert 0.14 < width < 0.17
    assert 0.22 < height < 0.26
    assert 0.19 < depth < 0.23
    left, right = head.joint_positions[3], head.joint_positions[4]
    assert torch.allclose((left + right) / 2, torch.zeros(3), atol=1e-6)
    assert 0.058 < float((left - right).norm()) < 0.068


def test_building_is_deterministic(head: HeadModel) -> None:
    first, second = build_mesh(), build_mesh()
    assert first.vertices.tobytes() == second.vertices.tobytes()
    build.cache_clear()
    assert build().hash == head.hash


def test_weights_sum_to_one_and_are_not_negative(head: HeadModel) -> None:
    assert torch.allclose(head.skin_weights.sum(1), torch.ones(len(head.template)), atol=1e-6)
    assert head.skin_weights.min() >= 0


def test_texture_coordinates_lie_in_the_texture(head: HeadModel) -> None:
    assert head.uvs.min() >= 0
    assert head.uvs.max() <= 1
    assert head.faces_uv.max() < len(head.uvs)


def test_no_triangle_is_degenerate(head: HeadModel) -> None:
    assert areas(head.template, head.faces).min() > 1e-10  # a ten-thousandth of a square millimetre


def test_skin_is_one_closed_surface_open_only_at_the_eyes_and_the_neck(head: HeadModel) -> None:
    faces = head.faces[head.region_faces("face", "scalp", "neck", "mouth_interior")]
    edges = torch.cat([faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    _, counts = torch.unique(edges.sort(1).values, dim=0, return_counts=True)
    assert counts.max() == 2
    _, repeats = torch.unique(edges, dim=0, return_counts=True)
    assert repeats.max() == 1, "neighbouring triangles disagree about what is outside"
    border = edges.sort(1).values
    single = torch.unique(border, dim=0)[counts == 1]
    points = head.template[torch.unique(single)]
    near_eye = (points.abs() - torch.tensor([0.032, 0.0, 0.0])).norm(dim=-1) < 0.02
    assert (near_eye | (points[:, 1] < -0.14)).all()


def test_neutral_skin_is_symmetric(head: HeadModel) -> None:
    skin = head.template[part(head, "face", "scalp", "neck", "mouth_interior", "ear_left", "ear_right", "brows")]
    mirrored = skin * torch.tensor([-1.0, 1.0, 1.0])
    assert distances(mirrored, skin).min(1).values.max() < 1e-5


def test_teeth_are_hidden_by_the_closed_lips(head: HeadModel) -> None:
    mesh = build_mesh()
    contact = mesh.vertices[mesh.skin.mouth_loops[CONTACT_LOOP]]
    upper, lower = contact[: len(contact) // 2], contact[len(contact) // 2 :]
    assert np.abs(upper[1:, 1] - lower[:0:-1, 1]).max() < 0.1  # mm: the lips touch
    teeth = head.template[part(head, "teeth_upper", "teeth_lower")] * 1000
    assert teeth[:, 2].max() < contact[:, 2].max() - 2.0


def test_jaw_joint_moves_lower_teeth_and_tongue_rigidly(head: HeadModel) -> None:
    codes = Codes.neutral(head.space)
    codes.jaw_pose[0] = 0.3
    moved = head.vertices_head(torch.zeros(head.num_identity), codes)
    for name in ("teeth_lower", "tongue"):
        rest, posed = head.template[part(head, name)], moved[part(head, name)]
        assert torch.allclose(distances(rest, rest), distances(posed, posed), atol=1e-4)
        assert posed[:, 1].mean() < rest[:, 1].mean() - 0.005
    still = part(head, "teeth_upper", "hair", "eye_left")
    assert torch.allclose(moved[still], head.template[still], atol=1e-6)


def test_neck_turn_moves_torso_and_leaves_face(head: HeadModel) -> None:
    codes = Codes.neutral(head.space)
    codes.neck_pose[1] = 0.4
    moved = head.vertices_head(torch.zeros(head.num_identity), codes)
    face, torso = part(head, "eye_left", "teeth_upper", "hair"), part(head, "torso")
    assert torch.allclose(moved[face], head.template[face], atol=1e-6)
    assert (moved[torso] - head.template[torso]).norm(dim=-1).max() > 0.03


def test_eyeballs_are_spheres_round_their_joints(head: HeadModel) -> None:
    for index, name in ((3, "eye_left"), (4, "eye_right")):
        distance = (head.template[part(head, name)] - head.joint_positions[index]).norm(dim=-1)
        assert distance.max() - distance.min() < 1e-5


def test_identity_keeps_eyeballs_round_and_teeth_in_shape(head: HeadModel) -> None:
    for parameter in range(head.num_identity):
        person = head.with_identity(torch.eye(head.num_identity)[parameter] * 2.0)
        for index, name in ((3, "eye_left"), (4, "eye_right")):
            distance = (person.template[part(head, name)] - person.joint_positions[index]).norm(dim=-1)
            assert distance.max() - distance.min() < 1e-5, head.identity_names[parameter]
        teeth = part(head, "teeth_upper")[::11]
        rest, now = head.template[teeth], person.template[teeth]
        assert torch.allclose(distances(rest, rest), distances(now, now), atol=1e-4)


def test_every_identity_parameter_matters_and_turns_no_triangle_over(head: HeadModel) -> None:
    faces = head.faces[head.region_faces("face", "neck", "ear_left", "ear_right", "torso")]

    def normals(vertices: Tensor) -> Tensor:
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)

    rest = normals(head.template)
    for parameter, name in enumerate(head.identity_names):
        assert head.identity_basis[parameter].norm(dim=-1).max() > 5e-4, name
        for sign in (-2.0, 2.0):
            turned = (normals(head.template + sign * head.identity_basis[parameter]) * rest).sum(-1)
            assert (turned < 0).sum() <= 8, (name, sign)


def test_landmarks_lie_on_the_head_where_they_should(head: HeadModel) -> None:
    assert head.landmark_valid.all()
    assert torch.allclose(head.landmark_bary.sum(1), torch.ones(478), atol=1e-5)
    assert head.landmark_bary.min() >= 0
    points = head.landmarks(head.template) * 1000
    assert torch.allclose(points[468, :2], torch.tensor([-32.0, 0.0]), atol=1.0)  # iris of the right eye
    assert torch.allclose(points[473, :2], torch.tensor([32.0, 0.0]), atol=1.0)
    assert points[:468, 2].argmax() in (1, 4)  # tip of the nose
    assert points[13, 1] - points[14, 1] < 2.5  # inner lips of a closed mouth
    assert points[152, 0].abs() < 0.5  # chin
    assert points[152, 1] < points[:, 1].min() + 2.0


def test_landmark_of_each_lip_and_lid_follows_its_own_part(head: HeadModel) -> None:
    codes = Codes.neutral(head.space)
    for name in ("jawOpen", "eyeBlinkLeft"):
        codes.expression[head.space.index(name)] = 1.0
    rest = head.landmarks(head.template)
    moved = head.landmarks(head.vertices_head(torch.zeros(head.num_identity), codes))
    drop = rest[:, 1] - moved[:, 1]
    assert drop[14] > 0.02 > 0.005 > drop[13].abs()  # lower lip falls, upper lip stays
    assert drop[386] > 0.004  # left upper lid
    assert drop[159].abs() < 1e-4  # right upper lid
    assert (moved[386] - moved[374]).norm() < 0.0025  # the lids meet


def test_locate_finds_the_triangle_of_a_point() -> None:
    uvs = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    faces = np.tile([[0, 2, 1], [1, 2, 3]], (30, 1))
    found, bary = locate(np.array([[0.25, 0.25], [0.9, 0.9]]), uvs, faces)
    assert [int(f) % 2 for f in found] == [0, 1]
    np.testing.assert_allclose((uvs[faces[found]] * bary[..., None]).sum(1), [[0.25, 0.25], [0.9, 0.9]], atol=1e-12)


def test_rasterized_texels_interpolate_their_own_coordinates() -> None:
    uvs = np.array([[0.1, 0.2], [0.8, 0.3], [0.4, 0.9]])
    texels = rasterize_uv(uvs, np.array([[0, 1, 2]]), 64)
    centers = (np.stack((texels.index % 64, texels.index // 64), -1) + 0.5) / 64
    np.testing.assert_allclose(texels.interpolate(uvs, np.array([[0, 1, 2]])), centers, atol=1e-5)
    assert abs(len(texels.index) / 64**2 - 0.5 * abs(0.7 * 0.7 - 0.1 * 0.3)) < 0.02


def test_texture_is_deterministic_and_subjects_differ(head: HeadModel) -> None:
    assert head.texture.shape == (1024, 1024, 3)
    assert head.texture.dtype == torch.uint8
    assert torch.equal(paint(Appearance.random(3), 256), paint(Appearance.random(3), 256))
    people = [paint(Appearance.random(seed), 128).float() for seed in range(8)]
    for i in range(8):
        for j in range(i):
            assert (people[i] - people[j]).abs().mean() > 4.0
