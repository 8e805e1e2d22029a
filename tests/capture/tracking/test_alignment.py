"""Poses from pixels and the torso's motion, against renders and drawings whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from capture.tracking.face_fit import FaceFit
from capture.tracking.patches import Patches
from capture.tracking.surface_alignment import SkinPoints, align, anchored
from capture.tracking.torso import TorsoMotion, TorsoPictures, neck_codes, track_torso
from capture.tracking.views import Views
from studio.cameras import Camera, intrinsics, orbit
from studio.codes import Codes
from studio.heads import load_head
from studio.heads.model import JOINTS
from studio.kernels.mesh_render import Lighting, render_mesh
from studio.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    mean_rotation,
    rigid,
    rigid_inverse,
    transform_points,
)


def test_patches_give_values_and_derivatives_of_a_wave() -> None:
    y, x = np.mgrid[0:64, 0:64] + 0.5
    image = 100 + 50 * np.sin(x / 5) * np.cos(y / 7)
    patches = Patches.cut([image], np.zeros((1, 2)), 64, fine=0.5, broad=63)
    places = torch.rand(1, 50, 2, generator=torch.Generator().manual_seed(0)) * 30 + 17
    values, inside = patches.values_at(slice(0, 1), places)
    assert inside.all()
    slopes = patches.slopes_at(slice(0, 1), places)[0].numpy()
    px, py = places[0].numpy().T
    expected = np.stack((10 * np.cos(px / 5) * np.cos(py / 7), -50 / 7 * np.sin(px / 5) * np.sin(py / 7)), axis=1)
    assert np.abs(slopes - expected).mean() < 0.6
    assert np.corrcoef(values[0], np.sin(px / 5) * np.cos(py / 7))[0, 1] > 0.99


def test_disturbed_poses_are_mended_by_the_pixels() -> None:
    head = load_head("procedural")
    T, size = 16, 160
    phase = torch.linspace(0, 6.28, T)
    turn = torch.stack((0.05 * torch.sin(phase), 0.2 * torch.cos(phase), 0.05 * torch.sin(2 * phase)), dim=-1)
    place = torch.tensor([0.0, 0.03, -0.9]).expand(T, 3)
    codes = replace(Codes.neutral(head.space, (T,)), head_to_world=rigid(axis_angle_to_matrix(turn), place))
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    camera = Camera(flip[None], intrinsics(480.0, size, size)[None], size, size)
    identity = torch.zeros(head.num_identity)
    images = []
    for frame in range(T):
        shown = render_mesh(head.vertices(identity, codes[frame]), head, camera, Lighting(), supersample=2)
        gray = shown.over(torch.full((3,), 0.4))[0].mean(-1).numpy() * 255
        images.append(gray.astype(np.uint8))
    true = flip @ codes.head_to_world
    noise = torch.randn(T, 6, generator=torch.Generator().manual_seed(0))
    turned = axis_angle_to_matrix(noise[:, :3] * 0.012) @ true[:, :3, :3]
    shifted = true[:, :3, 3] + noise[:, 3:] * torch.tensor([0.001, 0.001, 0.005])
    start = FaceFit(identity, torch.zeros(1, 3), Views.single(camera.Ks[0]), turned, shifted, codes.expression)
    patches = Patches.cut(images, np.zeros((T, 2)), size, fine=0.7, broad=12)
    precision = torch.eye(len(head.space)).expand(T, -1, -1) * 1e4
    mended = align([patches], SkinPoints.sample(head, start), start, precision).fit

    def scatter(fit: FaceFit) -> tuple[float, float]:
        turns = matrix_to_axis_angle(fit.rotations @ true[:, :3, :3].transpose(1, 2))
        shifts = fit.translations - true[:, :3, 3]
        return float((turns - turns.mean(0)).norm(dim=-1).mean()), float((shifts - shifts.mean(0))[:, :2].abs().mean())

    before, after = scatter(start), scatter(mended)
    assert after[0] < 0.5 * before[0]
    assert after[1] < 0.5 * before[1]


def test_several_views_tell_the_pose_in_the_world_and_who_it_is() -> None:
    """Three cameras see the head turn; poses and identity begin wrong, in another world's axes."""
    head = load_head("procedural")
    T, size = 6, 128
    phase = torch.linspace(0, 5.0, T)
    turn = torch.stack((0.05 * torch.sin(phase), 0.15 * torch.cos(phase), 0 * phase), dim=-1)
    poses = rigid(axis_angle_to_matrix(turn), torch.tensor([0.02, 0.01, 0.0]).expand(T, 3))
    codes = replace(Codes.neutral(head.space, (T,)), head_to_world=poses)
    around = torch.tensor([-0.5, 0.0, 0.5])
    camera = orbit(
        torch.zeros(3), 0.9, around, torch.tensor([0.1, -0.1, 0.1]), intrinsics(380.0, size, size), size, size
    )
    identity = torch.zeros(head.num_identity)
    grays: list[list[np.ndarray]] = [[], [], []]
    for frame in range(T):
        shown = render_mesh(head.vertices(identity, codes[frame]), head, camera, Lighting(), supersample=2)
        for view, image in enumerate(shown.over(torch.full((3,), 0.4))):
            grays[view].append((image.mean(-1).numpy() * 255).astype(np.uint8))
    noise = torch.randn(T, 6, generator=torch.Generator().manual_seed(0))
    turned = axis_angle_to_matrix(noise[:, :3] * 0.012) @ poses[:, :3, :3]
    shifted = poses[:, :3, 3] + noise[:, 3:] * 0.001
    wrong = identity.clone()
    wrong[:4] = 0.3
    start = FaceFit(wrong, torch.zeros(1, 3), Views.of(camera), turned, shifted, codes.expression)
    patches = [Patches.cut(images, np.zeros((T, 2)), size, fine=0.7, broad=12) for images in grays]
    precision = torch.eye(len(head.space)).expand(T, -1, -1) * 1e4
    found = align(patches, SkinPoints.sample(head, start, 600), start, precision)

    def scatter(fit: FaceFit) -> float:
        turns = matrix_to_axis_angle(fit.rotations @ poses[:, :3, :3].transpose(1, 2))
        return float((turns - turns.mean(0)).norm(dim=-1).mean())

    assert scatter(found.fit) < 0.4 * scatter(start)
    assert (found.fit.identity - identity).norm() < (wrong - identity).norm()
    again = align(patches, found.skin, replace(start, identity=found.fit.identity), precision, found.brightness)
    torch.testing.assert_close(again.skin.rest, found.skin.rest)  # what is known stays
    assert scatter(again.fit) < 0.4 * scatter(start)


def test_an_anchored_clip_lies_as_before_and_moves_as_found() -> None:
    generator = torch.Generator().manual_seed(0)

    def some(spread: float) -> tuple[torch.Tensor, torch.Tensor]:
        noise = spread * torch.randn(9, 6, generator=generator)
        return axis_angle_to_matrix(noise[:, :3] + 0.1), 0.05 * noise[:, 3:]

    (turns, shifts), (moved, places) = some(0.5), some(0.1)
    views, still = Views.single(intrinsics(300.0, 64, 64)), torch.zeros(9, 1)
    start = FaceFit(torch.zeros(1), torch.zeros(1, 3), views, turns, shifts, still)
    found = replace(start, rotations=turns @ moved, translations=shifts + places)
    fit = anchored(found, start)
    between = fit.rotations.transpose(1, 2) @ start.rotations
    torch.testing.assert_close(mean_rotation(between), torch.eye(3), atol=1e-5, rtol=0)
    apart = ((start.translations - fit.translations)[:, None] @ fit.rotations).mean(0)
    torch.testing.assert_close(apart, torch.zeros(1, 3), atol=1e-6, rtol=0)
    before, after = (rigid(each.rotations, each.translations) for each in (found, fit))
    same = rigid_inverse(before) @ after  # one rigid motion in the head's frame
    torch.testing.assert_close(same, same[:1].expand_as(same), atol=1e-5, rtol=0)
    torch.testing.assert_close(anchored(fit, start).rotations, fit.rotations, atol=1e-5, rtol=0)


def face_points(size: int) -> np.ndarray:
    """Landmarks of an upright face in the upper half of a picture; only those the torso needs are in place."""
    points = np.full((478, 2), [size / 2, size * 0.3], np.float32)
    points[10], points[152] = [size / 2, size * 0.15], [size / 2, size * 0.45]
    points[234], points[454] = [size * 0.4, size * 0.3], [size * 0.6, size * 0.3]
    return points


@pytest.fixture(scope="module")
def moving_torso() -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """A patterned trapezoid that shifts, turns and grows; images, mattes and (x, y, turn, log scale) per frame."""
    size, T = 160, 20
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (size, size), dtype=np.uint8), (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 120, cv2.NORM_MINMAX)
    shape = np.zeros((size, size), np.uint8)
    cv2.fillPoly(shape, [np.array([[60, 100], [100, 100], [135, 150], [135, 170], [25, 170], [25, 150]])], 255)
    wall = cv2.GaussianBlur(rng.integers(0, 255, (size, size), dtype=np.uint8), (0, 0), 4)
    phase = np.linspace(0, 6.28, T)
    truth = np.stack((4 * np.sin(phase), 2 * np.cos(phase), 0.05 * np.sin(2 * phase), 0.02 * np.cos(2 * phase)), axis=1)
    images, mattes = [], []
    for x, y, turn, growth in truth:
        matrix = cv2.getRotationMatrix2D((80, 130), -np.degrees(turn), np.exp(growth)) + np.array(
            [[0, 0, x], [0, 0, y]]
        )
        alpha = cv2.warpAffine(shape, matrix, (size, size)) / 255.0
        cloth = cv2.warpAffine(texture, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
        image = alpha * cloth + (1 - alpha) * wall
        images.append(np.repeat(image.astype(np.uint8)[..., None], 3, axis=2))
        mattes.append((alpha * 255).astype(np.uint8))
    return images, mattes, truth


def test_the_torso_is_followed(moving_torso: tuple[list[np.ndarray], list[np.ndarray], np.ndarray]) -> None:
    images, mattes, truth = moving_torso
    points = np.repeat(face_points(160)[None], len(images), axis=0)
    motion = track_torso(TorsoPictures.cut(images, mattes, 72), points)
    assert motion is not None
    # The motion is about the tracker's own centre; compare where points of the torso go.
    for place in ([80.0, 130.0], [50.0, 145.0], [110.0, 145.0]):
        expected, found = [], []
        for k, (x, y, turn, growth) in enumerate(truth):
            arm = np.array(place) - [80, 130]
            c, s = np.cos(turn) * np.exp(growth), np.sin(turn) * np.exp(growth)
            expected.append([80 + x + c * arm[0] - s * arm[1], 130 + y + s * arm[0] + c * arm[1]])
            arm = np.array(place) - motion.center.numpy()
            c, s = (float(f(motion.turn[k]) * motion.scale[k]) for f in (torch.cos, torch.sin))
            shift = motion.center + motion.shift[k]
            found.append([float(shift[0]) + c * arm[0] - s * arm[1], float(shift[1]) + s * arm[0] + c * arm[1]])
        error = np.array(found) - expected
        assert np.linalg.norm(error - error.mean(axis=0), axis=-1).mean() < 0.4


def test_without_a_visible_torso_there_is_none() -> None:
    images = [np.zeros((96, 96, 3), np.uint8)] * 3
    mattes = [np.zeros((96, 96), np.uint8)] * 3
    assert track_torso(TorsoPictures.cut(images, mattes, 43), np.repeat(face_points(96)[None], 3, axis=0)) is None


def test_neck_codes_move_the_models_torso_as_the_picture_moves() -> None:
    """A point of the torso at the neck's depth, placed by the codes, projects to where the motion says."""
    head = load_head("procedural")
    pivot = head.joint_positions[JOINTS.index("torso")]
    T = 5
    wobble = torch.linspace(-0.2, 0.2, T)
    turn = axis_angle_to_matrix(torch.stack((wobble, -wobble, 0.5 * wobble), dim=-1))
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    poses = rigid(flip @ turn, torch.tensor([0.0, -0.05, 0.9]).expand(T, 3) + 0.05 * wobble[:, None])
    K = intrinsics(500.0, 256, 256)
    motion = TorsoMotion(
        torch.tensor([128.0, 200.0]),
        torch.stack((10 * wobble, 5 * wobble), dim=-1),
        0.3 * wobble,
        torch.exp(0.1 * wobble),
    )
    pose, translation = neck_codes(motion, poses, pivot, K)
    codes = replace(Codes.neutral(head.space, (T,)), neck_pose=pose, neck_translation=translation)
    torso = poses @ head.joint_transforms(torch.zeros(head.num_identity), codes)[:, JOINTS.index("torso")]
    chest = pivot + torch.tensor([[0.0, 0.0, 0.0], [0.05, 0.0, 0.0], [-0.03, -0.02, 0.0]])
    seen = transform_points(torso, chest)
    pixels = seen[..., :2] / seen[..., 2:] * 500 + 128
    rest = pixels[T // 2]  # the middle state is the reference: no motion
    arm = rest - motion.center
    c, s = (motion.scale * motion.turn.cos())[:, None], (motion.scale * motion.turn.sin())[:, None]
    expected = torch.stack((c * arm[:, 0] - s * arm[:, 1], s * arm[:, 0] + c * arm[:, 1]), dim=-1)
    expected = expected + motion.center + motion.shift[:, None]
    assert (pixels - expected).abs().max() < 1.0  # a turned plane is not quite flat to the camera
