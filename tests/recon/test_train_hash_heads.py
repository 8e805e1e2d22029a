"""Radiance fields of moving heads: they learn a ball that moves its jaw, follow codes, resume bit by bit, stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from recon.avatars import load_avatar
from recon.avatars.hash_codes import HashCodes
from recon.avatars.hash_ensemble import HashEnsemble
from recon.evaluate import evaluate
from recon.hash_config import HashEnsembleConfig
from recon.head_field import HeadFieldShape, faded_weights
from recon.loop import Step
from recon.train_hash_codes import HashCodesConfig, HashCodesSession, train_hash_codes
from recon.train_hash_ensemble import HashEnsembleSession, train_hash_ensemble
from studio.captures import Capture
from studio.cli.compose import compose_jobs
from studio.cli.config import Config
from studio.errors import StudioError
from studio.folders import Manifest
from tests.recon.ball import ball_head, ball_track, write_ball_capture

SHAPE = HeadFieldShape(
    n_hash_encodings=4,
    n_levels=4,
    log2_hashmap_size=12,
    base_resolution=8,
    per_level_scale=1.7,
    latent_dim_time_deform=4,
    n_freq_pos=2,
    mlp_num_layers=2,
    mlp_layer_width=16,
    skip_connection=0,
    hidden=16,
)
CONFIG = HashEnsembleConfig(
    iterations=30,
    samples=4096,
    train_num_rays_per_batch=512,
    render_step_size=0.005,
    cells=16,
    field=SHAPE,
    check_every=10,
    checkpoint_every=10,
)
CODES = HashCodesConfig(**{name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__})
Train = Callable[..., Path]


def _ensemble(capture: Capture, config: Any, folder: Path, *options: Any) -> Path:
    return train_hash_ensemble(capture, ball_track(), config, folder, *options)


def _codes(capture: Capture, config: Any, folder: Path, *options: Any) -> Path:
    return train_hash_codes(capture, ball_track(), ball_head(), config, folder, *options)


KINDS = [pytest.param(_ensemble, CONFIG, id="hash_ensemble"), pytest.param(_codes, CODES, id="hash_codes")]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    return write_ball_capture(tmp_path_factory.mktemp("ball") / "capture")


def test_the_ensemble_shows_what_was_filmed(capture: Capture, tmp_path: Path) -> None:
    """From a camera that it has not seen, at a timestep that it has."""
    avatar = load_avatar(_ensemble(capture, replace(CONFIG, iterations=150), tmp_path / "run"))
    assert isinstance(avatar, HashEnsemble)
    metrics = evaluate(avatar, capture, ball_track(), "train", tmp_path / "eval")
    assert metrics["regions"]["foreground"]["psnr"] > 20.0


def test_codes_drive_the_field(capture: Capture, tmp_path: Path) -> None:
    """Unseen timesteps and an unseen camera; and a head that is moved in the world moves in the picture."""
    avatar = load_avatar(_codes(capture, replace(CODES, iterations=150), tmp_path / "run"))
    assert isinstance(avatar, HashCodes)
    metrics = evaluate(avatar, capture, ball_track(), "test", tmp_path / "eval")
    assert metrics["regions"]["foreground"]["psnr"] > 18.0
    codes, moved = avatar.codes, avatar.codes.head_to_world.clone()
    moved[0, 3] += 0.02
    poses, columns = (codes.head_to_world, moved), torch.arange(avatar.camera.width)
    shown = [avatar.render(avatar.camera, replace(codes, head_to_world=pose)).alpha[0] > 0.5 for pose in poses]
    middles = [float((mask.sum(0) * columns).sum() / mask.sum()) for mask in shown]
    assert middles[1] - middles[0] == pytest.approx(0.02 / 0.6 * float(avatar.camera.Ks[0, 0, 0]), rel=0.25)


@pytest.mark.parametrize(("train", "config"), KINDS)
def test_resuming_repeats_the_same_bits(train: Train, config: Any, capture: Capture, tmp_path: Path) -> None:
    whole: Any = load_avatar(train(capture, config, tmp_path / "whole"))

    def stop(step: Step) -> None:
        if step.step == 27:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(capture, config, tmp_path / "broken", stop)
    steps: list[int] = []
    resumed: Any = load_avatar(train(capture, config, tmp_path / "broken", lambda s: steps.append(s.step), True))
    assert steps[0] == 21
    for name, value in whole.field.parameters.items():
        assert torch.equal(value, resumed.field.parameters[name]), name
    first, second = (avatar.render(avatar.camera, avatar.codes).rgb for avatar in (whole, resumed))
    assert torch.equal(first, second)


def test_driving_codes_choose_the_nearest_timestep(capture: Capture) -> None:
    avatar = HashEnsembleSession(capture, ball_track(), CONFIG).avatar
    codes = ball_track().codes
    assert [avatar.timestep(codes[t]) for t in range(6)] == list(range(6))  # those trained on, exactly
    assert avatar.timestep(codes[1].with_channels(jawOpen=float(codes.expression[1].max()) + 0.01)) == 1


def test_tables_fade_in() -> None:
    codes = torch.tensor([[0.5, 2.0, 3.0]])
    assert faded_weights(codes, 1.0).tolist() == [[1.0, 0.0, 0.0]]
    assert faded_weights(codes, 3.0)[0].tolist() == pytest.approx([0.5, 2.0, 3.0])
    half = faded_weights(codes, 1.5)[0].tolist()  # first: half way from 1 to 0.5; second: half of half of its code
    assert half == pytest.approx([0.75, 0.5, 0.0])


def test_everything_that_can_be_asked_for_learns(capture: Capture) -> None:
    """The paper's skip connection, appearance and colours of cameras, the masked loss: every parameter moves."""
    shape = replace(SHAPE, mlp_num_layers=3, skip_connection=2, appearance=3)
    config = replace(CONFIG, field=shape, camera_colors=True, use_masked_rgb_loss=True, window_hash_encodings_end=0.2)
    session = HashEnsembleSession(capture, ball_track(), config)
    before = {name: value.detach().clone() for name, value in session.parameters.items()}
    before |= {name: value.detach().clone() for name, value in session.embeddings().items()}
    for step in range(12):
        session.step(step)
    after = {**session.parameters, **session.embeddings()}
    assert "deform_stem" in before
    assert [name for name, value in before.items() if torch.equal(value, after[name])] == []


def test_unseen_codes_are_bounded(capture: Capture) -> None:
    """What the network says of codes ten times as large is what it says at the edge of what it has seen."""
    avatar = HashCodesSession(capture, ball_track(), ball_head(), CODES).avatar
    far, farther = (avatar.codes.with_channels(jawOpen=value, browInnerUp=value) for value in (10.0, 100.0))
    one, other = avatar.moment(far), avatar.moment(farther)
    assert torch.equal(one.weights, other.weights)
    assert bool(torch.isfinite(avatar.render(avatar.camera, farther).rgb).all())


def test_captures_without_mattes_are_refused(capture: Capture) -> None:
    class Bare:
        def __getattr__(self, name: str) -> Any:
            return getattr(capture, name)

        def frame(self, timestep: int, camera: int) -> Any:
            return replace(capture.frame(timestep, camera), alpha=None)

    with pytest.raises(StudioError, match="no matte"):
        HashEnsembleSession(Bare(), ball_track(), CONFIG)  # type: ignore[arg-type]


def test_saved_and_loaded_it_says_the_same(capture: Capture, tmp_path: Path) -> None:
    session = HashCodesSession(capture, ball_track(), ball_head(), CODES)
    session.step(0)
    avatar = session.avatar
    avatar.save(tmp_path / "avatar", Manifest(kind="avatar"))
    again = load_avatar(tmp_path / "avatar")
    codes = ball_track().codes[5]
    assert torch.equal(avatar.render(avatar.camera, codes).rgb, again.render(avatar.camera, codes).rgb)


def test_the_papers_recipe_learns_with_smaller_tables(capture: Capture, tmp_path: Path) -> None:
    """All of ``recipe=nersemble`` but its sizes: the schedule lets everything in, and the avatar loads."""
    (values,) = compose_jobs("train", ["recipe=nersemble", "capture=here", "out=there"])
    recipe = Config(values["avatar"]).to(HashEnsembleConfig, seed=0, kernels="auto")
    assert recipe.iterations == 300_000
    assert recipe.field == HeadFieldShape()
    sizes = {"n_hash_encodings": 4, "log2_hashmap_size": 10, "mlp_layer_width": 32, "latent_dim_time_deform": 16}
    config = replace(
        recipe,
        iterations=30,
        samples=4096,
        cells=16,
        render_step_size=0.005,
        cache_megabytes=1,
        field=replace(recipe.field, **sizes),
    )
    session = HashEnsembleSession(capture, ball_track(), config)
    losses = [session.step(step) for step in range(config.iterations)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert session.hash_reach(config.iterations) == 4.0
    assert bool((session.frequency_window(config.iterations) == 1).all())
    session.avatar.save(tmp_path / "avatar", Manifest(kind="avatar"))
    avatar = load_avatar(tmp_path / "avatar")
    assert bool(torch.isfinite(avatar.render(avatar.camera, avatar.codes).rgb).all())
