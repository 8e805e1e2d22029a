"""Figures of an evaluation: pooled, with intervals of blocks, by region, over time; protocols and tables."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from capture.checking.drawings import round_numbers
from recon.avatars import load_avatar
from recon.comparison_table import compare, read_metrics
from recon.evaluate import evaluate
from recon.judging import Frames, Judged, Temporal, body_regions, intervals, ms_ssim, pooled
from recon.protocols import held_out_keys
from recon.train import train
from recon.train_config import TrainConfig
from studio.cameras import Camera
from studio.captures import Split
from studio.errors import StudioError
from tests.recon.ball import ball_head, ball_track


def frames(errors, pixels=100, similarity=0.9):
    return Frames(
        [Judged(t, 0, {"full": (e * pixels, similarity * pixels, pixels)}, None) for t, e in enumerate(errors)]
    )


def test_psnr_is_of_the_pooled_error():
    figures = frames([0.01, 0.03]).figures()["full"]
    assert figures["psnr"] == pytest.approx(-10 * math.log10(0.02), abs=1e-3)
    assert figures["ssim"] == 0.9
    assert figures["psnr_95"] is None  # two frames are one block
    assert pooled(np.zeros((3, 3))) == {"psnr": None, "ssim": None, "pixels": 0}


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Frames come in correlated runs of ten; intervals of single frames would be far too narrow."""
    random, inside, widths = np.random.default_rng(1), 0, []
    for _ in range(60):
        runs = np.repeat(random.exponential(0.01, 30), 10)
        sums = np.stack((100 * runs, np.full(300, 90.0), np.full(300, 100.0)), 1)
        blocks = [np.arange(k, k + 10) for k in range(0, 300, 10)]
        low, high = intervals(sums, blocks)["psnr"]
        inside += low <= 20.0 <= high
        widths.append(high - low)
    assert inside >= 50
    assert np.mean(widths) > 2 * np.mean([np.diff(intervals(sums, [np.array([k]) for k in range(300)])["psnr"])])


def test_ms_ssim_is_one_for_equal_images_and_falls_with_noise():
    image = torch.rand(1, 180, 200, 3, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    values = [ms_ssim(image, (image + strength * noise).clamp(0, 1)) for strength in (0.0, 0.05, 0.2)]
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert values[0] > values[1] > values[2] > 0
    assert ms_ssim(image[:, :100], image[:, :100]) is None


def test_ms_ssim_of_a_shift_in_brightness_by_hand():
    """Constant images: structure is 1 at every scale, so only the coarsest scale's luminance counts."""
    a, b = torch.full((1, 176, 176, 3), 0.5), torch.full((1, 176, 176, 3), 0.6)
    luminance = (2 * 0.5 * 0.6 + 1e-4) / (0.25 + 0.36 + 1e-4)
    assert ms_ssim(a, b) == pytest.approx(luminance**0.1333, abs=1e-3)


def test_temporal_error_sees_flicker_and_not_constant_error():
    random, person = np.random.default_rng(0), np.ones((32, 32), bool)
    truth = random.integers(60, 200, (32, 32, 3)).astype(np.uint8)
    still, flickering = Temporal(), Temporal()
    for index in range(4):
        still.add(truth, truth - 20, person)
        flickering.add(truth, truth - 20 * (index % 2), person)
    assert still.figures() == {"rms": 0.0, "visible": 0.0, "pixels": 3 * 32 * 32}
    assert flickering.figures()["rms"] == pytest.approx(20, abs=0.5)
    assert flickering.figures()["visible"] > 5
    assert "not measured" in Temporal().figures()


def test_hair_is_above_the_chin_and_torso_below(cameras):
    person = np.ones((cameras.height, cameras.width), bool)
    face = np.zeros_like(person)
    ball, codes = ball_head(), ball_track().codes[0]
    places = ball.landmark_faces.clone()
    middles = ball.template[ball.faces].mean(1)
    places[[152, 10]] = torch.stack([middles[:, 1].argmin(), middles[:, 1].argmax()])  # chin and forehead: the poles
    head = replace(ball, landmark_faces=places).with_identity(torch.tensor([0.3]))
    assert body_regions(ball.with_identity(torch.tensor([0.3])), codes, cameras[1], face, person) == {}  # no chin
    regions = body_regions(head, codes, cameras[1], face, person)
    assert regions["hair"][:10].all()
    assert regions["torso"][-1].mean() > 0.5
    assert (regions["hair"] | regions["torso"]).all()
    assert not (regions["hair"] & regions["torso"]).any()


def _many(capture, cameras, steps):
    count = capture.cameras
    many = Camera(count.viewmats[:1].expand(cameras, 4, 4), count.Ks[:1].expand(cameras, 3, 3), 48, 48)
    return replace(capture, cameras=many, timestep_ids=tuple(f"{index:05d}" for index in range(steps)))


def test_protocols(capture):
    rig = _many(capture, 16, 5)
    assert held_out_keys("nersemble", rig, None) == Split((0, 1, 2, 3, 4), (3, 6, 11, 15))
    assert held_out_keys("gaussian_avatars", rig, None).cameras == (8,)
    assert held_out_keys("tail", rig, None).timesteps == (4,)
    clip = _many(capture, 1, 1000)
    assert held_out_keys("insta", clip, None).timesteps == tuple(range(650, 1000))
    seen_elsewhere = Split(tuple(range(5)), (0, 1, 2))
    assert held_out_keys("nersemble", rig, seen_elsewhere)
    for name, one, trained, words in (
        ("nersemble", clip, None, "16 cameras"),
        ("insta", rig, None, "last 350"),
        ("gaussian_avatars", clip, None, "camera 8"),
        ("tails", rig, None, "unknown protocol"),
        ("nersemble", rig, Split((0,), (3,)), "trained on what"),
        ("tail", clip, Split((999,), (0,)), "got 1 of 200 photos"),
    ):
        with pytest.raises(StudioError, match=words):
            held_out_keys(name, one, trained)


@pytest.fixture(scope="module")
def evaluated(capture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    config = TrainConfig(gaussians=200, iterations=2)
    avatar = load_avatar(train(capture, ball_track(), ball_head(), config, folder / "run"))
    metrics = evaluate(avatar, capture, ball_track(), "test", folder / "eval/test")
    chosen = "tail", held_out_keys("tail", capture, None)
    other = evaluate(avatar, capture, ball_track(), "tail", folder / "tail", protocol=chosen)
    return folder, metrics, other


def test_an_evaluation_is_a_page_that_needs_nothing_else(evaluated):
    folder, metrics, other = evaluated
    page = (folder / "eval/test/report.html").read_text()
    for part in ("<video", "data:video/mp4", "data:image/jpeg", "<svg", "PSNR, full", "face"):
        assert part in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    listed = json.loads((folder / "eval/test/frames.json").read_text())
    assert len(listed) == metrics["frames"] == 6
    assert {"face", "foreground"} <= metrics["regions"].keys()
    assert metrics["lpips"].startswith("not measured")
    assert metrics["ms_ssim"].startswith("not measured")
    assert "last 20 %" in other["protocol"]


def test_a_name_is_not_markup(evaluated, tmp_path):
    from recon.report_page import write_report

    folder, metrics, _ = evaluated
    for name in ("truth.mp4", "render.mp4"):
        (tmp_path / name).write_bytes((folder / "eval/test" / name).read_bytes())
    judged = Frames([Judged(0, 0, {"full": (1.0, 90.0, 100)}, None)])
    write_report(tmp_path, "<script>alert(1)</script>", metrics, judged, None, [])
    assert "<script>" not in (tmp_path / "report.html").read_text()


def test_tables(evaluated):
    folder, metrics, other = evaluated
    better = json.loads(json.dumps(metrics))
    better["regions"]["full"]["psnr"] = 99.0
    markdown, latex = compare({"a_1": read_metrics(folder), "b": better})
    assert "| **99.00** |" in markdown
    assert "Protocol: " in markdown
    assert r"a\_1" in latex
    assert r"\textbf{99.00}" in latex
    assert latex.count(r"\\") == 3
    mixed, _ = compare({"a": metrics, "b": other})
    assert "Not comparable" in mixed
    assert "**" not in mixed
    with pytest.raises(StudioError, match="no evaluation"):
        read_metrics(folder / "run" / "avatar")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-5.94, 105, [0, 20, 40, 60, 80, 100]),
        (22.6, 38.6, [25, 30, 35]),
        (-0.13, 0.29, [-0.1, 0.0, 0.1, 0.2]),
        (3, 3.1, None),
    ],
)
def test_axes_are_labelled_with_round_numbers(low, high, expected):
    found = round_numbers(low, high)
    assert len(found) >= 3
    assert expected is None or found == pytest.approx(expected)
