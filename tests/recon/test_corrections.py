"""Learned corrections stay within what the training clip taught, whatever drives them."""

from __future__ import annotations

from dataclasses import replace

import torch

from recon.binding import Rig, sample_surface
from recon.corrections import BasisWeights, CodeStatistics
from recon.field import FieldConfig, Gaussians, SplatField
from recon.refinement import PoseResiduals
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.heads.model import HeadModel


def _clip(frames: int = 60) -> Codes:
    generator = torch.Generator().manual_seed(2)
    smile, jaw = torch.rand(2, frames, generator=generator)
    codes = Codes.neutral(ARKIT52, (frames,)).with_channels(mouthSmileLeft=smile, mouthSmileRight=smile, jawOpen=jaw)
    return replace(codes, neck_pose=0.1 * torch.randn(frames, 3, generator=generator))


def test_training_codes_fill_the_range_and_foreign_codes_do_not_leave_it() -> None:
    clip = _clip()
    statistics = CodeStatistics.fit(clip, 20)
    z = statistics.components(clip)
    torch.testing.assert_close(z, (clip.vector() - statistics.mean) @ statistics.projection)
    assert float(z.std(0).max()) < 1.1
    wild = Codes.neutral().with_channels(**dict.fromkeys(ARKIT52.channels, 1.0))
    wild = replace(wild, neck_pose=torch.tensor([3.0, -3.0, 3.0]), neck_translation=torch.tensor([1.0, 1.0, 1.0]))
    limited = statistics.components(wild)
    assert (limited >= z.amin(0) - 1e-6).all()
    assert (limited <= z.amax(0) + 1e-6).all()


def test_correlated_channels_share_a_component() -> None:
    """Two smiles that always go together, a jaw and three neck angles: five directions."""
    assert CodeStatistics.fit(_clip(), 20).projection.shape[1] == 5


def test_a_channel_that_never_moved_changes_nothing() -> None:
    statistics = CodeStatistics.fit(_clip(), 20)
    still = Codes.neutral()
    torch.testing.assert_close(statistics.components(still.with_channels(tongueOut=1.0)), statistics.components(still))


def test_a_clip_without_motion_is_no_problem(head: HeadModel) -> None:
    statistics = CodeStatistics.fit(Codes.neutral(ARKIT52, (3,)), 20)
    assert torch.isfinite(statistics.components(Codes.neutral().with_channels(jawOpen=1.0))).all()


def _field(head: HeadModel, config: FieldConfig) -> tuple[Rig, SplatField]:
    person = head.with_identity(torch.zeros(1))
    generator = torch.Generator().manual_seed(0)
    binding = sample_surface(person, torch.ones(len(person.faces)), 50, generator)
    return Rig(person, binding), SplatField(binding, 0.06, 4, config, generator)


def test_without_corrections_gaussians_sit_on_their_triangles(head: HeadModel) -> None:
    rig, learned = _field(head, FieldConfig(bases=3))
    anchors = rig.pose(Codes.neutral())
    gaussians = learned(anchors, torch.ones(4))
    torch.testing.assert_close(gaussians.means, anchors.origins)
    torch.testing.assert_close(gaussians.quats, anchors.quats)


def test_weights_are_bounded() -> None:
    network = BasisWeights(4, 8, 3, torch.Generator().manual_seed(0))
    assert network(torch.full((4,), 1e6)).abs().max() <= 1


def test_gradients_reach_everything_that_is_learned(head: HeadModel) -> None:
    rig, learned = _field(head, FieldConfig(bases=3))
    torch.nn.init.normal_(learned.bases)
    gaussians: Gaussians = learned(rig.pose(Codes.neutral()), torch.ones(4))
    sum(value.square().sum() for value in vars(gaussians).values()).backward()
    for name, parameter in learned.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_pose_residuals_have_no_mean(head: HeadModel, track: CodeTrack) -> None:
    rig, learned = _field(head, FieldConfig(bases=1))
    gaussians = learned(rig.pose(Codes.neutral()), torch.ones(4))
    residuals = PoseResiduals(5, 0.06)
    torch.nn.init.constant_(residuals.values, 0.7)
    same = residuals(gaussians, torch.zeros(50), 2)
    torch.testing.assert_close(same.means, gaussians.means)
    torch.nn.init.normal_(residuals.values)
    moved = sum(residuals(gaussians, torch.zeros(50), index).means for index in range(5)) / 5
    torch.testing.assert_close(moved, gaussians.means)
