"""Pinhole cameras: hand-worked projections, invariances, errors."""

import math

import pytest
import torch

from studio.cameras import Camera, focal_from_fov, intrinsics, look_at, orbit
from studio.errors import StudioError


@pytest.fixture
def camera() -> Camera:
    """One camera a metre in front of the origin (+z), looking at it; focal length 100, 80 x 60 pixels."""
    viewmat = look_at(torch.tensor([0.0, 0.0, 1.0]), torch.zeros(3))
    return Camera(viewmat[None], intrinsics(100.0, 80, 60)[None], 80, 60)


def test_projection_by_hand(camera):
    # The camera faces the subject, so what is 10 cm to the subject's left is 100 * 0.1 / 1 pixels to the right.
    points = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.5]])
    xy, depth = camera.project(points)
    assert torch.allclose(xy[0], torch.tensor([[40.0, 30.0], [50.0, 30.0], [40.0, 20.0], [40.0, 30.0]]), atol=1e-5)
    assert torch.allclose(depth[0], torch.tensor([1.0, 1.0, 1.0, 0.5]))


def test_resizing_and_cropping_move_the_pixels_only(camera):
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    xy, depth = camera.project(points)
    resized_xy, resized_depth = camera.resized(160, 30).project(points)
    assert torch.allclose(resized_xy, xy * torch.tensor([2.0, 0.5]), atol=1e-4)
    assert torch.equal(depth, resized_depth)
    cropped_xy, _ = camera.cropped(10.0, -5.0, 20, 20).project(points)
    assert torch.allclose(cropped_xy, xy - torch.tensor([10.0, -5.0]), atol=1e-4)


def test_look_at_is_rigid_and_looks_there(camera):
    eyes = torch.randn(16, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 3
    target = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    viewmats = look_at(eyes, target)
    rotation = viewmats[:, :3, :3]
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(16, dtype=torch.float64))
    cameras = Camera(viewmats, intrinsics(50.0, 64, 64).double().expand(16, 3, 3), 64, 64)
    xy, depth = cameras.project(target[None])
    assert torch.allclose(xy, torch.full_like(xy, 32.0), atol=1e-6)
    assert torch.allclose(depth[:, 0], (eyes - target).norm(dim=-1))
    assert torch.allclose(cameras.centers, eyes)


def test_orbit_turns_towards_the_subjects_left_and_up():
    angles = torch.tensor([0.0, math.pi / 2, 0.0]), torch.tensor([0.0, 0.0, math.pi / 4])
    cameras = orbit(torch.zeros(3), 2.0, *angles, intrinsics(50.0, 64, 64), 64, 64)
    root = math.sqrt(2.0)
    assert torch.allclose(
        cameras.centers, torch.tensor([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0], [0.0, root, root]]), atol=1e-6
    )


def test_selection_keeps_ids_and_the_leading_dimension():
    cameras = Camera(torch.eye(4).repeat(3, 1, 1), torch.eye(3).repeat(3, 1, 1), 4, 4, ("a", "b", "c"))
    assert cameras[1].ids == ("b",)
    assert cameras[-1].viewmats.shape == (1, 4, 4)
    assert cameras[1:].ids == ("b", "c")
    assert cameras[[2, 0]].ids == ("c", "a")
    assert len(cameras) == 3


def test_field_of_view():
    assert focal_from_fov(math.pi / 2, 200) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("viewmats", "Ks", "ids", "what"),
    [
        (torch.eye(4), torch.eye(3), (), "do not fit together"),
        (torch.eye(4)[None], torch.eye(3).repeat(2, 1, 1), (), "do not fit together"),
        (torch.eye(4).repeat(2, 1, 1), torch.eye(3).repeat(2, 1, 1), ("a", "a"), "ids do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(viewmats, Ks, ids, what):
    with pytest.raises(StudioError, match=what):
        Camera(viewmats, Ks, 4, 4, ids)
