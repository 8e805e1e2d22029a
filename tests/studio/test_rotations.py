"""Group laws and round trips of rotations and rigid transforms."""

import math

import pytest
import torch

from studio.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quat,
    mean_rotation,
    quat_multiply,
    quat_to_matrix,
    rigid,
    rigid_inverse,
    slerp,
    transform_points,
)


@pytest.fixture
def turns() -> torch.Tensor:
    """[64, 3] axis-angle vectors of all directions with angles up to 3 radians, in float64."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.nn.functional.normalize(torch.randn(64, 3, generator=generator, dtype=torch.float64), dim=-1)
    return axes * torch.linspace(1e-3, 3.0, 64, dtype=torch.float64)[:, None]


def test_axis_angle_round_trip(turns):
    assert torch.allclose(matrix_to_axis_angle(axis_angle_to_matrix(turns)), turns, atol=1e-6)


def test_matrices_are_rotations(turns):
    matrices = axis_angle_to_matrix(turns)
    assert torch.allclose(matrices @ matrices.mT, torch.eye(3, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(64, dtype=torch.float64), atol=1e-6)


def test_quarter_turn_about_y_takes_z_to_x():
    matrix = axis_angle_to_matrix(torch.tensor([0.0, math.pi / 2, 0.0]))
    assert torch.allclose(matrix @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]), atol=1e-6)


def test_rotation_is_differentiable_at_zero():
    zero = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    axis_angle_to_matrix(zero)[..., 2, 1].sum().backward()
    assert torch.allclose(zero.grad, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))


def test_quaternions_are_wxyz_and_multiply_like_matrices(turns):
    matrices = axis_angle_to_matrix(turns)
    quats = matrix_to_quat(matrices)
    assert torch.allclose(quats[:, 0].abs(), (turns.norm(dim=-1) / 2).cos().abs(), atol=1e-6)
    assert torch.allclose(quat_to_matrix(quats), matrices, atol=1e-6)
    assert torch.allclose(quat_to_matrix(3.0 * quats), matrices, atol=1e-6)
    product = quat_multiply(quats, quats.flip(0))
    assert torch.allclose(quat_to_matrix(product), matrices @ matrices.flip(0), atol=1e-6)


def test_rigid_inverse_undoes(turns):
    transforms = rigid(axis_angle_to_matrix(turns), turns.flip(0))
    assert torch.allclose(rigid_inverse(transforms) @ transforms, torch.eye(4, dtype=torch.float64), atol=1e-6)
    points = turns[None, :5].expand(64, 5, 3)
    back = transform_points(rigid_inverse(transforms), transform_points(transforms, points))
    assert torch.allclose(back, points, atol=1e-6)


def test_rigid_broadcasts():
    assert rigid(torch.eye(3), torch.zeros(2, 5, 3)).shape == (2, 5, 4, 4)


def test_batch_dimensions_are_kept():
    batch = torch.zeros(2, 5, 3)
    assert axis_angle_to_matrix(batch).shape == (2, 5, 3, 3)
    assert matrix_to_axis_angle(axis_angle_to_matrix(batch)).shape == (2, 5, 3)


def test_slerp_takes_the_short_way_at_constant_speed() -> None:
    first = axis_angle_to_matrix(torch.tensor([[0.0, 0.0, 3.0]]))
    second = axis_angle_to_matrix(torch.tensor([[0.0, 0.0, -3.0]]))  # 0.283 rad away, across pi
    middle = matrix_to_axis_angle(slerp(first, second, torch.tensor([0.5])))
    assert abs(float(middle.norm()) - math.pi) < 1e-3
    quarter = slerp(first, second, torch.tensor([0.25]))
    step = matrix_to_axis_angle(first.transpose(1, 2) @ quarter)
    assert float(step.norm()) == pytest.approx((2 * math.pi - 6) / 4, abs=1e-4)


def test_slerp_reaches_both_ends() -> None:
    a = axis_angle_to_matrix(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    b = axis_angle_to_matrix(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose(slerp(a, b, torch.zeros(5)), a, atol=1e-5)
    assert torch.allclose(slerp(a, b, torch.ones(5)), b, atol=1e-5)


def test_the_mean_of_opposite_turns_is_none_and_turns_with_the_world(turns):
    small = axis_angle_to_matrix(0.2 * turns)
    both = torch.cat((small, small.mT))
    assert torch.allclose(mean_rotation(both), torch.eye(3, dtype=torch.float64), atol=1e-9)
    world = axis_angle_to_matrix(turns[40])
    assert torch.allclose(mean_rotation(world @ both), world, atol=1e-9)
    half = axis_angle_to_matrix(torch.tensor([[0.0, 0.0, 3.1], [0.0, 3.1, 0.0]], dtype=torch.float64))
    assert torch.linalg.det(mean_rotation(half)) == pytest.approx(1.0)  # never a mirror
