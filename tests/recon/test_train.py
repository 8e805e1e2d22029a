"""Training end to end on a tiny capture: it learns, stops and resumes bit by bit, and its avatar loads alone."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.evaluate import evaluate
from recon.field import FieldConfig
from recon.loop import Step
from recon.splat_session import SplatSession
from recon.train import train
from recon.train_config import TrainConfig
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.heads.model import HeadModel
from studio.rotations import axis_angle_to_matrix, rigid, rigid_inverse

CONFIG = TrainConfig(
    gaussians=400,
    iterations=24,
    check_every=12,
    checkpoint_every=10,
    validation=0.2,
    model=FieldConfig(bases=3, hidden=8),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, capture: Capture, track: CodeTrack, head: HeadModel) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(capture, track, head, replace(CONFIG, iterations=120), folder)
    return folder


@pytest.fixture(scope="module")
def avatar(run: Path) -> SplatAvatar:
    loaded = load_avatar(run / "avatar")
    assert isinstance(loaded, SplatAvatar)
    return loaded


def test_it_learns_to_show_held_out_states(run: Path, avatar: SplatAvatar, capture: Capture, track: CodeTrack) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["validation_psnr"] > lines[0]["validation_psnr"]
    metrics = evaluate(avatar, capture, track, "test", run / "eval")
    assert metrics["regions"]["full"]["psnr"] > 24
    assert set(metrics["regions"]) == {"full", "foreground", "foreground, colour matched", "face", "mouth", "eyes"}
    assert "not measured" in metrics["lpips"]
    assert "not measured" in metrics["flicker"]  # two frames are too few
    assert set(evaluate(avatar, capture, track, "train", run / "seen")["flicker"]) == {"what", "full", "person"}
    assert {path.name for path in (run / "eval").iterdir()} == {
        "manifest.json", "metrics.json", "frames.json", "report.html", "truth.mp4", "render.mp4", "sheet.png"
    }  # fmt: skip


def test_resuming_repeats_the_same_bits(tmp_path: Path, capture: Capture, track: CodeTrack, head: HeadModel) -> None:
    whole = load_avatar(train(capture, track, head, CONFIG, tmp_path / "whole"))

    def interrupt(step: Step) -> None:
        if step.step == 13:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(capture, track, head, CONFIG, tmp_path / "broken", interrupt)
    assert not (tmp_path / "broken" / "avatar").exists()
    steps: list[int] = []
    resumed = train(capture, track, head, CONFIG, tmp_path / "broken", lambda s: steps.append(s.step), resume=True)
    assert steps[0] == 14
    other = load_avatar(resumed)
    assert isinstance(whole, SplatAvatar)
    assert isinstance(other, SplatAvatar)
    for name, value in whole.learned.state_dict().items():
        assert torch.equal(value, other.learned.state_dict()[name]), name


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, capture: Capture, track: CodeTrack, head: HeadModel
) -> None:
    config = replace(CONFIG, iterations=22)

    def stop(step: Step) -> None:
        if step.step == 21:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(capture, track, head, config, tmp_path / "run", stop)
    newest = tmp_path / "run" / "checkpoints" / "step_0000020" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    steps: list[int] = []
    train(capture, track, head, config, tmp_path / "run", lambda s: steps.append(s.step), resume=True)
    assert steps[0] == 11


def test_what_is_inside_returns_to_its_first_colours(capture: Capture, track: CodeTrack, head: HeadModel) -> None:
    toothed = replace(head, region_names=("teeth_upper", "scalp"))
    session = SplatSession(capture, track, toothed, CONFIG)
    colors = session.avatar.learned.colors
    first = colors.detach().clone()
    inside = session.avatar.head.region_faces("teeth_upper")[session.avatar.binding.faces]
    assert 0 < int(inside.sum()) < len(inside)
    with torch.no_grad():
        colors += 0.2
    session.held.pull(session.avatar, 0.25)
    torch.testing.assert_close(colors.detach() - first, torch.where(inside, 0.15, 0.2)[:, None].expand(-1, 3))


def test_corrections_without_gradient_fade(capture: Capture, track: CodeTrack, head: HeadModel) -> None:
    """Weight decay acts on the bases alone: after a step without gradient they are smaller, the rest is as it was."""
    session = SplatSession(capture, track, head, CONFIG)
    learned = session.avatar.learned
    with torch.no_grad():
        learned.bases.fill_(1.0)
    before = {name: value.detach().clone() for name, value in learned.named_parameters()}
    for parameter in learned.parameters():
        parameter.grad = torch.zeros_like(parameter)
    session.optimizer.step()
    for name, parameter in learned.named_parameters():
        factor = 1 - CONFIG.rates.bases * CONFIG.rates.decay if name == "bases" else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_a_run_is_never_overwritten_nor_resumed_with_other_settings(
    run: Path, capture: Capture, track: CodeTrack, head: HeadModel
) -> None:
    with pytest.raises(StudioError, match="exists already"):
        train(capture, track, head, CONFIG, run)
    with pytest.raises(StudioError, match="another configuration"):
        train(capture, track, head, CONFIG, run, resume=True)
    done = train(capture, track, head, replace(CONFIG, iterations=120), run, resume=True)
    assert done == run / "avatar"


def test_a_run_is_not_resumed_on_another_track_or_head(
    run: Path, capture: Capture, track: CodeTrack, head: HeadModel
) -> None:
    config = replace(CONFIG, iterations=120)
    codes = track.codes.with_channels(jawOpen=track.codes.expression[:, 17] + 1e-4)
    other = replace(head, template=head.template * 1.001)
    for changed in (replace(track, codes=codes), replace(track, extras={"identity": np.array([0.4])})):
        with pytest.raises(StudioError, match="got another track; expected what the run was started with"):
            train(capture, changed, head, config, run, resume=True)
    with pytest.raises(StudioError, match="got another head model;"):
        train(capture, track, other, config, run, resume=True)
    assert set(read_manifest(run / "avatar", kind="avatar").parents) == {capture.folder.name, "track", "head model"}


def _assert_same_but_for_rounding(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Nearly equal, except that rounding may decide whether a Gaussian at α = 1/255, the limit, is drawn in a pixel."""
    error = (found - expected).abs().amax(-1)
    assert float(error.max()) < 2 / 255
    assert float((error > 1e-4).float().mean()) < 0.01


def test_only_the_relative_place_of_head_and_camera_matters(avatar: SplatAvatar) -> None:
    move = rigid(axis_angle_to_matrix(torch.tensor([0.3, 2.0, -0.5])), torch.tensor([3.0, -1.0, 2.0]))
    codes = avatar.codes
    moved = replace(codes, head_to_world=move @ codes.head_to_world)
    camera = replace(avatar.camera, viewmats=avatar.camera.viewmats @ rigid_inverse(move))
    here, there = avatar.render(avatar.camera, codes), avatar.render(camera, moved)
    _assert_same_but_for_rounding(there.rgb, here.rgb)


def test_exported_gaussians_are_the_rendered_ones(avatar: SplatAvatar) -> None:
    from studio.kernels.splat import rasterize_splats

    codes = avatar.codes.with_channels(jawOpen=0.7)
    splats = avatar.gaussians(codes)
    drawn = rasterize_splats(
        splats.means, splats.quats, splats.scales, splats.opacities, splats.sh, avatar.camera, sh_degree=0
    )
    _assert_same_but_for_rounding(drawn.rgb, avatar.render(avatar.camera, codes).rgb)


def test_missing_and_damaged_files_are_named(run: Path, tmp_path: Path) -> None:
    import shutil

    for name, damage in (
        ("weights.safetensors", None),
        ("weights.safetensors", b"no weights"),
        ("manifest.json", b"{"),
    ):
        folder = tmp_path / f"{name}-{damage}"
        shutil.copytree(run / "avatar", folder)
        (folder / name).unlink() if damage is None else (folder / name).write_bytes(damage)
        with pytest.raises(StudioError) as caught:
            load_avatar(folder)
        assert "\n" not in str(caught.value)
    with pytest.raises(StudioError, match="no such folder"):
        load_avatar(tmp_path / "nothing")
