"""Learned corrections stay within what the training clip taught, whatever drives them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.binding import PARTS, Rig, sample_surface
from recon.corrections import BasisWeights, CodeStatistics, landmark_motion
from recon.field import FieldConfig, Gaussians, SplatField
from recon.refinement import PoseResiduals
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.heads.mediapipe_points import LIPS
from studio.heads.model import HeadModel


def _clip(frames: int = 60) -> Codes:
    """A jaw and a brow that move by themselves, a neck, and a channel that moves nothing on the ball."""
    generator = torch.Generator().manual_seed(2)
    smile, jaw, brow = torch.rand(3, frames, generator=generator)
    codes = Codes.neutral(ARKIT52, (frames,)).with_channels(mouthSmileLeft=smile, jawOpen=jaw, browInnerUp=brow)
    return replace(codes, neck_pose=0.1 * torch.randn(frames, 3, generator=generator))


def _seen(statistics: CodeStatistics, codes: Codes) -> dict[str, torch.Tensor]:
    return dict(zip(PARTS, statistics.components(codes).split(statistics.sizes.tolist(), dim=-1), strict=True))


def test_training_codes_fill_the_range_and_foreign_codes_do_not_leave_it(head: HeadModel) -> None:
    clip = _clip()
    statistics = CodeStatistics.fit(clip, head.with_identity(torch.zeros(1)), 20)
    z = statistics.components(clip)
    torch.testing.assert_close(z, (clip.vector() - statistics.mean) @ statistics.projection)
    assert float(z.std(0).max()) < 1.1
    wild = Codes.neutral().with_channels(**dict.fromkeys(ARKIT52.channels, 1.0))
    wild = replace(wild, neck_pose=torch.tensor([3.0, -3.0, 3.0]), neck_translation=torch.tensor([1.0, 1.0, 1.0]))
    limited = statistics.components(wild)
    assert (limited >= z.amin(0) - 1e-6).all()
    assert (limited <= z.amax(0) + 1e-6).all()


def test_each_part_sees_its_landmarks_and_the_neck(head: HeadModel) -> None:
    """On the ball the jaw moves the lips alone and the brow nothing that is a landmark of a part."""
    person = head.with_identity(torch.zeros(1))
    statistics = CodeStatistics.fit(_clip(), person, 20)
    assert statistics.sizes.tolist() == [4, 4, 4, 4]  # three turns of the neck, and the jaw or nothing
    rest = Codes.neutral()
    still, jaw = (_seen(statistics, codes) for codes in (rest, rest.with_channels(jawOpen=0.8)))
    assert float((jaw["mouth"] - still["mouth"]).abs().max()) > 0.5
    assert torch.equal(jaw["eyes"], still["eyes"])
    turned = _seen(statistics, replace(rest, neck_pose=torch.tensor([0.1, 0.0, 0.0])))
    assert all(float((turned[part] - still[part]).abs().max()) > 0.5 for part in PARTS)


def test_mixtures_of_channels_that_look_alike_are_the_same(head: HeadModel) -> None:
    """Half of one channel and half of its double: what moves the landmarks alike is seen alike."""
    basis = head.expression_basis.clone()
    basis[ARKIT52.index("mouthFunnel")] = basis[ARKIT52.index("jawOpen")]
    person = replace(head, expression_basis=basis).with_identity(torch.zeros(1))
    statistics = CodeStatistics.fit(_clip(), person, 20)
    one, other = Codes.neutral().with_channels(jawOpen=0.6), Codes.neutral().with_channels(jawOpen=0.2, mouthFunnel=0.4)
    torch.testing.assert_close(statistics.components(one), statistics.components(other), rtol=0, atol=1e-4)


def test_what_moves_no_landmark_changes_nothing(head: HeadModel) -> None:
    statistics = CodeStatistics.fit(_clip(), head.with_identity(torch.zeros(1)), 20)
    still = Codes.neutral()
    torch.testing.assert_close(statistics.components(still.with_channels(tongueOut=1.0)), statistics.components(still))


def test_a_clip_without_motion_and_a_head_without_landmarks_are_no_problem(head: HeadModel) -> None:
    person = head.with_identity(torch.zeros(1))
    blind = replace(person, landmark_valid=torch.zeros_like(person.landmark_valid))
    for clip, known in ((Codes.neutral(ARKIT52, (3,)), person), (_clip(), blind)):
        statistics = CodeStatistics.fit(clip, known, 20)
        assert torch.isfinite(statistics.components(Codes.neutral().with_channels(jawOpen=1.0))).all()


def test_motion_of_landmarks_by_hand(head: HeadModel) -> None:
    """A jaw at 1 lowers the lower lip of the ball by 3 cm, half of its eye distance of 6 cm."""
    person = head.with_identity(torch.zeros(1))
    lower = [index for index in LIPS if float(person.landmarks(person.template)[index, 1]) < -0.035]
    motion = landmark_motion(person, lower)
    jaw = motion[ARKIT52.index("jawOpen")].view(-1, 3) * len(lower) ** 0.5
    torch.testing.assert_close(jaw, torch.tensor([0.0, -0.5, 0.0]).expand_as(jaw), rtol=0, atol=1e-4)
    assert float(motion[ARKIT52.index("jawOpen")].norm()) == pytest.approx(0.5, abs=1e-4)


def _field(head: HeadModel, config: FieldConfig) -> tuple[Rig, SplatField, torch.Tensor]:
    """Fifty Gaussians on the ball; each part sees components of its own: 1, 2, 1 and 1."""
    person = head.with_identity(torch.zeros(1))
    generator = torch.Generator().manual_seed(0)
    binding = sample_surface(person, torch.ones(len(person.faces)), 50, generator)
    return Rig(person, binding), SplatField(binding, 0.06, (1, 2, 1, 1), config, generator), binding.parts


def test_without_corrections_gaussians_sit_on_their_triangles(head: HeadModel) -> None:
    rig, learned, parts = _field(head, FieldConfig(bases=3))
    anchors = rig.pose(Codes.neutral())
    gaussians = learned(anchors, torch.ones(5), parts)
    torch.testing.assert_close(gaussians.means, anchors.origins)
    torch.testing.assert_close(gaussians.quats, anchors.quats)


def test_weights_are_bounded_and_each_part_has_its_own() -> None:
    network = BasisWeights((1, 1, 3), 8, 4, torch.Generator().manual_seed(0))
    weights = network(torch.full((5,), 1e6))
    assert weights.shape == (3, 4)
    assert weights.abs().max() <= 1
    plain = network(torch.zeros(5))
    moved = network(torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]))
    assert torch.equal(moved[:2], plain[:2])
    assert not torch.equal(moved[2], plain[2])


def test_a_part_is_corrected_by_its_own_components(head: HeadModel) -> None:
    rig, learned, parts = _field(head, FieldConfig(bases=3))
    assert torch.bincount(parts, minlength=len(PARTS)).min() > 0
    torch.nn.init.normal_(learned.bases)
    anchors = rig.pose(Codes.neutral())
    plain = learned(anchors, torch.zeros(5), parts)
    eyes = learned(anchors, torch.tensor([0.0, 1.0, -1.0, 0.0, 0.0]), parts)
    moved = (eyes.means - plain.means).norm(dim=-1) > 0
    assert torch.equal(moved, parts == PARTS.index("eyes"))


def test_gradients_reach_everything_that_is_learned(head: HeadModel) -> None:
    rig, learned, parts = _field(head, FieldConfig(bases=3))
    torch.nn.init.normal_(learned.bases)
    gaussians: Gaussians = learned(rig.pose(Codes.neutral()), torch.ones(5), parts)
    sum(value.square().sum() for value in vars(gaussians).values()).backward()
    for name, parameter in learned.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_pose_residuals_have_no_mean(head: HeadModel, track: CodeTrack) -> None:
    rig, learned, parts = _field(head, FieldConfig(bases=1))
    gaussians = learned(rig.pose(Codes.neutral()), torch.ones(5), parts)
    residuals = PoseResiduals(5, 0.06)
    torch.nn.init.constant_(residuals.values, 0.7)
    same = residuals(gaussians, torch.zeros(50), [2])
    torch.testing.assert_close(same.means, gaussians.means)
    torch.nn.init.normal_(residuals.values)
    moved = sum(residuals(gaussians, torch.zeros(50), [index]).means for index in range(5)) / 5
    torch.testing.assert_close(moved, gaussians.means)
