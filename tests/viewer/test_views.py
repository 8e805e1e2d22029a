"""Where an avatar is looked at from."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from studio.codes import Codes, CodeSpace
from studio.rotations import axis_angle_to_matrix, matrix_to_quat, rigid, rigid_inverse
from tests.viewer.avatars import CardAvatar, MeshAvatar, own_camera
from viewer.views import Place, View, Viewpoints


def view_from(place: Place, fov: float = 0.5) -> View:
    return View(place.viewmat, fov)


def test_a_browsers_camera_is_read_as_opencv_camera_to_world() -> None:
    to_world = rigid(axis_angle_to_matrix(torch.tensor((0.3, -0.5, 0.2))), torch.tensor((0.1, 0.2, 0.9)))
    wxyz = matrix_to_quat(to_world[:3, :3]).double().numpy()
    view = View.of(wxyz, to_world[:3, 3].double().numpy(), 0.6)
    torch.testing.assert_close(rigid_inverse(view.viewmat), to_world, atol=1e-6, rtol=0)
    camera = view.camera(400, 200)
    assert float(2 * torch.atan(100 / camera.Ks[0, 1, 1])) == pytest.approx(0.6)
    center, _ = camera.project((to_world @ torch.tensor((0.0, 0.0, 1.0, 1.0)))[None, :3])
    torch.testing.assert_close(center[0, 0], torch.tensor((200.0, 100.0)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(800, 600), (600, 800)])
def test_from_the_front_the_face_is_upright_central_and_fills_the_view(
    mesh_avatar: MeshAvatar, size: tuple[int, int]
) -> None:
    avatar = mesh_avatar
    points = Viewpoints.of(avatar)
    camera = View(points.front.viewmat, points.front_fov).camera(*size)
    head = avatar._head
    vertices = head.vertices(torch.zeros(head.num_identity), avatar.codes)
    face = vertices[head.faces[head.region_faces("face")].unique()]
    (seen,), _ = camera.project(face)
    top, bottom = float(seen[:, 1].min()), float(seen[:, 1].max())
    assert 0.4 < (bottom - top) / size[1] < 0.85
    assert abs(float(seen[:, 0].mean()) / size[0] - 0.5) < 0.03
    assert seen[face[:, 1].argmax(), 1] < seen[face[:, 1].argmin(), 1], "upside down"


def test_the_front_follows_where_the_head_rests() -> None:
    avatar = CardAvatar()
    pose = rigid(axis_angle_to_matrix(torch.tensor((0.0, 0.4, 0.2))), torch.tensor((0.05, 0.03, 0.1)))
    avatar.codes = replace(Codes.neutral(), head_to_world=pose)
    front = Viewpoints.of(avatar).front
    in_head = rigid_inverse(pose) @ torch.cat((front.position, torch.ones(1)))
    assert in_head[2] > 0.5
    assert abs(float(in_head[0])) < 1e-5
    torch.testing.assert_close(front.up, pose[:3, 1])


def test_the_captures_place_looks_along_the_middle_of_its_image() -> None:
    avatar = CardAvatar()
    points = Viewpoints.of(avatar)
    (seen,), _ = avatar.camera.project(points.capture.target[None])
    torch.testing.assert_close(seen[0], torch.tensor((128.0, 96.0)), atol=1e-2, rtol=0)
    torch.testing.assert_close(points.capture.position, avatar.camera.centers[0])
    assert float((points.capture.target - points.capture.position).norm()) == pytest.approx(0.9, rel=0.1)


@pytest.mark.parametrize(("aspect", "height"), [(2.0, 192.0), (256 / 192, 192.0), (0.5, 512.0)])
def test_the_captures_field_of_view_holds_its_whole_image(aspect: float, height: float) -> None:
    fov = Viewpoints.of(CardAvatar()).capture_fov(aspect)
    focal = float(own_camera().Ks[0, 1, 1])
    assert 2 * focal * math.tan(fov / 2) == pytest.approx(height)


def test_a_view_knows_whether_it_is_the_captures() -> None:
    place = Viewpoints.of(CardAvatar()).capture
    assert view_from(place).is_from(place)
    rounded = View(place.viewmat.half().float(), 0.5)
    assert rounded.is_from(place)
    for change in (torch.tensor((0.01, 0.0, 0.0)), torch.tensor((0.0, 0.0, 0.05))):
        assert not view_from(replace(place, position=place.position + change)).is_from(place)
    rolled = replace(place, up=place.up + torch.tensor((0.02, 0.0, 0.0)))
    assert not view_from(rolled).is_from(place)


def test_what_cannot_be_driven_is_seen_from_its_own_camera() -> None:
    avatar = CardAvatar()
    avatar.space = CodeSpace("static", ())
    avatar.codes = Codes.neutral(avatar.space)
    points = Viewpoints.of(avatar)
    assert points.front == points.capture


def test_an_avatar_that_its_camera_does_not_see_still_opens() -> None:
    avatar = CardAvatar()
    avatar.codes = replace(avatar.codes, head_to_world=rigid(torch.eye(3), torch.tensor((0.0, 0.0, 5.0))))
    points = Viewpoints.of(avatar)
    assert torch.isfinite(points.front.viewmat).all()
    assert all(torch.isfinite(torch.tensor(points.orbit_limits)))


def test_a_narrow_window_holds_the_whole_head(card: CardAvatar) -> None:
    points = Viewpoints.of(card)
    assert points.front_fov_in(1.5) == pytest.approx(points.front_fov)
    wide = [math.tan(points.front_fov_in(aspect) / 2) * aspect for aspect in (0.75, 0.4)]
    assert wide[0] == pytest.approx(wide[1]), "as much is seen to the sides"
