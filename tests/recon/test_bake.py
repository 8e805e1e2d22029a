"""A radiance field becomes Gaussians: renders of its states, an avatar that loads alone, and what is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recon.avatars import load_avatar
from recon.avatars.hash_codes import HashCodes
from recon.avatars.splats import SplatAvatar
from recon.bake import BakeConfig, bake
from studio.captures import Capture, open_capture
from studio.cli.compose import compose_jobs, to_config
from studio.cli.verbs.export import run
from studio.errors import StudioError
from tests.contracts.avatar_examples import EXAMPLES
from tests.recon.ball import ball_head, ball_track, write_ball_capture

CONFIG = BakeConfig(gaussians=300, iterations=4, frames=6, cameras=2, size=32)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    return write_ball_capture(tmp_path_factory.mktemp("ball") / "capture")


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> HashCodes:
    avatar = load_avatar(EXAMPLES["hash_codes"](tmp_path_factory.mktemp("field")))
    assert isinstance(avatar, HashCodes)
    return replace(avatar, head_hash=ball_head().hash)


def test_a_field_becomes_gaussians(capture: Capture, field: HashCodes, tmp_path: Path) -> None:
    splats, figures = bake(field, capture, ball_track(), ball_head(), CONFIG, tmp_path / "work")
    assert isinstance(splats, SplatAvatar)
    assert len(splats.learned) == 300
    assert figures["psnr"] > 5.0
    assert figures["splats_ms"] > 0 < figures["field_ms"]
    assert torch.equal(splats.camera.viewmats, field.camera.viewmats)
    renders = open_capture(tmp_path / "work/renders")
    assert (len(renders), len(renders.cameras), renders.cameras.width) == (6, 2, 32)
    assert renders.split("test").timesteps == (3,)
    assert renders.split("train").timesteps == (0, 1, 2, 4, 5)
    states = renders.track("baked").codes  # those of the training part
    assert torch.equal(states.expression, ball_track().codes.expression[:6])
    shown = field.render(renders.cameras, states[2]).alpha[1]
    assert float((torch.from_numpy(renders.matte(2, 1)).float() / 255 - shown).abs().max()) < 0.003


def test_another_head_model_is_refused(capture: Capture, field: HashCodes, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="head model to bake onto"):
        bake(replace(field, head_hash="x"), capture, ball_track(), ball_head(), CONFIG, tmp_path / "work")


def test_the_verb_writes_an_avatar_folder(
    capture: Capture, field: HashCodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.folders import Manifest, read_manifest

    field.save(tmp_path / "field", Manifest(kind="avatar", licence="mine"))
    if not (capture.folder / "tracks").exists():
        ball_track().save(capture.folder / "tracks/truth")
    monkeypatch.setattr("studio.cli.rooms.chosen_head", lambda config, track=None: ball_head())
    small = [f"bake.{name}={value}" for name, value in vars(CONFIG).items()]
    given = [f"avatar={tmp_path}/field", f"capture={capture.folder}", f"out={tmp_path}/splats", "bits=32", *small]
    (job,) = compose_jobs("export", given)
    run(to_config("export", job))
    manifest = read_manifest(tmp_path / "splats", kind="avatar")
    assert manifest.licence == "mine"
    assert set(manifest.body["baked"]) == {"psnr", "field_ms", "splats_ms"}
    assert isinstance(load_avatar(tmp_path / "splats"), SplatAvatar)
    assert [path.name for path in tmp_path.iterdir()].count("splats") == 1
    assert not list(tmp_path.glob(".bake*"))
