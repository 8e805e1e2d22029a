"""The terms of the loss that are off by default."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.binding import PARTS
from recon.field import FieldConfig
from recon.losses import LossConfig
from recon.objective import component_noise
from recon.splat_session import SplatSession
from recon.temporal import restlessness
from recon.train_config import TrainConfig
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.heads.model import HeadModel

CONFIG = TrainConfig(gaussians=300, iterations=10, validation=0.0, model=FieldConfig(bases=3, hidden=8))


def test_restlessness_is_what_the_weights_change(capture: Capture, track: CodeTrack, head: HeadModel) -> None:
    avatar = SplatSession(capture, track, head, CONFIG).avatar
    before, after = track.codes[1], track.codes[2]
    rest = PARTS.index("rest")
    one, two = (avatar.learned.weights(avatar.statistics.components(codes))[rest] for codes in (before, after))
    assert float(restlessness(avatar, before, before)) == 0.0
    torch.testing.assert_close(restlessness(avatar, before, after), ((two - one) ** 2).mean())


def test_it_counts_for_frames_that_another_follows(capture: Capture, track: CodeTrack, head: HeadModel) -> None:
    plain, calm = (
        SplatSession(capture, track, head, replace(CONFIG, loss=LossConfig(temporal=weight))) for weight in (0.0, 2.0)
    )
    for timestep, wanted in ((1, True), (5, False)):  # 5 is the last that is trained on
        view = plain.views[(timestep, 0)]
        more = calm.objective.loss(calm.avatar, [view], [0]) - plain.objective.loss(plain.avatar, [view], [0])
        term = 2 * restlessness(calm.avatar, track.codes[timestep], track.codes[timestep + 1])
        torch.testing.assert_close(more, term if wanted else torch.zeros(()), atol=1e-5, rtol=0)


def test_a_loss_by_lpips_asks_for_its_weights(capture: Capture, track: CodeTrack, head: HeadModel) -> None:
    with pytest.raises(StudioError, match=r"perceptual\.backbone"):
        SplatSession(capture, track, head, replace(CONFIG, loss=LossConfig(lpips=0.1)))


def test_lids_and_brows_get_twice_the_noise() -> None:
    sizes = torch.tensor([2000, 3000, 4000, 5000])
    noise = component_noise(sizes, 0.25, torch.Generator().manual_seed(0)).split(sizes.tolist())
    spread = {part: float(values.std()) for part, values in zip(PARTS, noise, strict=True)}
    assert spread == pytest.approx({"mouth": 0.25, "eyes": 0.5, "brows": 0.5, "rest": 0.25}, rel=0.05)
    assert component_noise(sizes, 0.0, torch.Generator()).abs().max() == 0
