"""Training of a static scene: it shows views that it never saw, learns exposures, and resumes bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recon.avatars import load_avatar
from recon.avatars.static_splats import StaticSplats
from recon.densify import McmcConfig
from recon.evaluate import evaluate
from recon.loop import Step
from recon.train_static import StaticConfig, StaticSession, train_static
from studio.captures import Capture
from studio.errors import StudioError
from studio.media.images import read_image, to_uint8, write_image
from tests.textured_plane import noise_texture, plane_capture

EYES = [[-0.5, 0.1, 3.0], [0.5, 0.0, 3.0], [0.0, 0.5, 2.9], [0.1, -0.5, 3.1], [0.05, 0.1, 3.0]]
CONFIG = StaticConfig(
    iterations=30,
    random_points=200,
    levels=((0.5, 0.5), (1.0, 1.0)),
    mcmc=McmcConfig(budget=1200, every=5, growth=1.3),
    check_every=10,
    checkpoint_every=10,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    folder = tmp_path_factory.mktemp("plane") / "capture"
    return plane_capture(folder, noise_texture(256, 12), EYES, 160, test=(4,))


def test_a_held_out_view_is_shown(photos: Capture, tmp_path: Path) -> None:
    avatar = load_avatar(train_static(photos, replace(CONFIG, iterations=1000), tmp_path / "run"))
    metrics = evaluate(avatar, photos, None, "test", tmp_path / "eval")
    assert metrics["regions"]["full"]["psnr"] > 22.0
    assert metrics["regions"]["full, exposure matched"]["psnr"] > 22.0
    assert isinstance(avatar, StaticSplats)
    assert len(avatar.parameters["means"]) == 1200


def test_resuming_repeats_the_same_bits(photos: Capture, tmp_path: Path) -> None:
    whole = load_avatar(train_static(photos, CONFIG, tmp_path / "whole"))

    def stop(step: Step) -> None:
        if step.step == 27:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train_static(photos, CONFIG, tmp_path / "broken", stop)
    with pytest.raises(StudioError, match="resume=true"):
        train_static(photos, CONFIG, tmp_path / "broken")
    steps: list[int] = []
    resumed = load_avatar(train_static(photos, CONFIG, tmp_path / "broken", lambda s: steps.append(s.step), True))
    assert steps[0] == 21
    assert isinstance(whole, StaticSplats)
    assert isinstance(resumed, StaticSplats)
    for name, value in whole.parameters.items():
        assert torch.equal(value, resumed.parameters[name]), name


def test_an_exposure_that_changed_is_found(photos: Capture, tmp_path: Path) -> None:
    """One training photo is darkened by a third: its gain falls below the others', the scene keeps its brightness."""
    plane_capture(tmp_path / "c", noise_texture(256, 12), EYES, 160, test=(4,))
    path = tmp_path / "c" / "images" / "1" / "0.png"
    write_image(path, to_uint8(read_image(path) * (0.66 / 255)))
    session = StaticSession(replace(photos, folder=tmp_path / "c"), replace(CONFIG, iterations=300))
    for step in range(300):
        session.step(step)
    gains = session.exposures.values[:, 0].detach()
    assert int(gains.argmin()) == 1
    assert float(gains[1] - gains[[0, 2, 3]].mean()) < -0.1
    assert abs(float(gains.mean())) < 1e-5
