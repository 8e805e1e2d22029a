"""The fused driven frame: posing against the head model, and a whole training step against float64."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recon.binding import Anchors, Rig, sample_surface
from recon.field import FieldConfig, SplatField
from studio.cameras import Camera, intrinsics, orbit
from studio.codes import ARKIT52, Codes
from studio.heads.model import HeadModel
from studio.kernels.photometric import photometric_loss, ssim_reference
from studio.kernels.splat import rasterize_splats
from studio.kernels.splat_reference import rasterize_reference
from studio.rotations import axis_angle_to_matrix
from tests.recon.ball import ball_head
from tests.studio.kernels.scenes import relative


def _rig(head: HeadModel, count: int = 700) -> Rig:
    person = head.with_identity(torch.zeros(1))
    return Rig(person, sample_surface(person, torch.ones(len(person.faces)), count, torch.Generator().manual_seed(0)))


def _skinned_ball() -> HeadModel:
    """The ball with vertices that several joints pull at."""
    head, random = ball_head(), torch.Generator().manual_seed(3)
    return replace(head, skin_weights=torch.softmax(torch.randn(len(head.template), 5, generator=random), dim=-1))


def _states() -> list[Codes]:
    random = torch.Generator().manual_seed(4)
    moved = Codes(
        ARKIT52,
        torch.rand(len(ARKIT52), generator=random),
        *(0.3 * torch.randn(3, generator=random) for _ in range(2)),
        0.02 * torch.randn(3, generator=random),
        0.3 * torch.randn(2, 3, generator=random),
        torch.eye(4),
    )
    return [Codes.neutral(), Codes.neutral().with_channels(jawOpen=1.0, eyeLookOutLeft=0.5), moved]


@pytest.mark.parametrize("state", range(3))
def test_posing_equals_the_head_model(state: int) -> None:
    rig, codes = _rig(_skinned_ball()), _states()[state]
    found, expected = rig.pose(codes), rig.anchors(codes)
    torch.testing.assert_close(found.origins, expected.origins, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.stretch, expected.stretch, rtol=1e-4, atol=0)
    sign = (found.quats * expected.quats).sum(-1, keepdim=True).sign()
    torch.testing.assert_close(found.quats * sign, expected.quats, rtol=0, atol=1e-4)


def test_frames_of_every_orientation_are_right() -> None:
    """Turning the whole mesh by any angle, half turns among them, turns its frames."""
    head, still = ball_head(), None
    for turn in ((0.0, 0.0, 0.0), (math.pi, 0, 0), (0, math.pi, 0), (0, 0, math.pi), (2.0, -1.0, 0.5)):
        matrix = axis_angle_to_matrix(torch.tensor(turn))
        found = _rig(replace(head, template=head.template @ matrix.T)).pose(Codes.neutral())
        still = found if still is None else still
        torch.testing.assert_close(found.rotations, matrix @ still.rotations, rtol=0, atol=1e-4)
        torch.testing.assert_close(found.quats.norm(dim=-1), torch.ones(len(found.quats)))


def test_a_collapsed_triangle_gives_finite_anchors() -> None:
    head = ball_head()
    squeezed = replace(head, expression_basis=-head.template.expand(len(ARKIT52), -1, -1).clone())
    anchors: Anchors = _rig(squeezed).pose(Codes.neutral().with_channels(jawOpen=1.0))
    for value in (anchors.origins, anchors.quats, anchors.stretch):
        assert bool(torch.isfinite(value).all())
    torch.testing.assert_close(anchors.stretch, torch.full_like(anchors.stretch, 0.6))


def test_the_codes_get_a_gradient_where_anchors_are_differentiable() -> None:
    """A step along the gradient of ‖means‖² to the codes changes it by what the gradient says."""
    rig, learned = _rig(_skinned_ball(), 64), _field(64)

    def size(expression: Tensor) -> Tensor:
        anchors = rig.anchors(replace(Codes.neutral(), expression=expression))
        return learned(anchors, torch.ones(4), torch.arange(64) % 3).means.double().square().sum()

    start = torch.full((len(ARKIT52),), 0.3).requires_grad_()
    (gradient,) = torch.autograd.grad(size(start), start)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        change = float(size(start + step) - size(start - step))
    assert change == pytest.approx(float(2 * (gradient * step).sum()), rel=1e-3)


def test_a_rig_made_while_rendering_is_differentiable_later() -> None:
    person = _skinned_ball().with_identity(torch.zeros(1))
    binding = sample_surface(person, torch.ones(len(person.faces)), 64, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        rig = Rig(person, binding)
        rig.pose(Codes.neutral())
    expression = torch.full((len(ARKIT52),), 0.3).requires_grad_()
    rig.anchors(replace(Codes.neutral(), expression=expression)).origins.sum().backward()
    assert float(expression.grad.abs().max()) > 0


def test_anchors_outlive_the_next_pose() -> None:
    """Buffers are used again, but never while somebody holds them."""
    rig = _rig(ball_head())
    first = rig.pose(Codes.neutral())
    kept = first.origins.clone()
    for _ in range(6):
        rig.pose(Codes.neutral().with_channels(jawOpen=1.0))
    assert torch.equal(first.origins, kept)


def _field(count: int) -> SplatField:
    """A field that has learned something: every parameter away from its start."""
    person, random = ball_head().with_identity(torch.zeros(1)), torch.Generator().manual_seed(6)
    binding = sample_surface(person, torch.ones(len(person.faces)), count, torch.Generator().manual_seed(0))
    learned = SplatField(binding, 0.06, (1, 2, 1), FieldConfig(bases=4, hidden=8), random)
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=random)
    return learned


def test_a_training_step_equals_float64() -> None:
    """Pose, corrections, rasteriser and loss, forward and backward: kernels against the float64 references."""
    rig, codes = _rig(_skinned_ball(), 60), Codes.neutral().with_channels(jawOpen=0.7)
    camera = orbit(torch.zeros(3), 0.6, torch.tensor([0.2]), torch.tensor([0.1]), intrinsics(52.0, 24, 24), 24, 24)
    target = torch.rand(1, 24, 24, 3, generator=torch.Generator().manual_seed(7))
    fast, exact = _field(60), _field(60).double()
    anchors = rig.pose(codes)
    exact_anchors = Anchors(anchors.origins.double(), anchors.quats.double(), anchors.stretch.double())

    gaussians = fast(anchors, torch.full((4,), 0.5), torch.arange(60) % 3)
    rgb = rasterize_splats(*vars(gaussians).values(), camera).rgb
    loss = photometric_loss(rgb, target, None, 0.2)
    loss.backward()

    gaussians = exact(exact_anchors, torch.full((4,), 0.5, dtype=torch.float64), torch.arange(60) % 3)
    precise = Camera(camera.viewmats.double(), camera.Ks.double(), 24, 24)
    drawn = rasterize_reference(*vars(gaussians).values(), precise)
    assert bool(drawn.decided.all()), "a threshold decided by rounding: choose another seed"
    wanted = target.double()
    error = 0.8 * (drawn.rgb - wanted).abs() + 0.2 * (1 - ssim_reference(drawn.rgb, wanted))
    error.mean().backward()

    assert float((rgb - drawn.rgb).detach().abs().max()) < 1e-5
    assert float(loss.detach()) == pytest.approx(float(error.mean().detach()), abs=1e-6)
    for (name, parameter), reference in zip(fast.named_parameters(), exact.parameters()):
        assert relative(parameter.grad, reference.grad) < 1e-4, name
