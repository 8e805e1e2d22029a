"""``studio eval`` as it is typed: tables over runs, and submissions as the NeRSemble server expects them."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from recon.submission import TASKS
from recon.train import train
from recon.train_config import TrainConfig
from studio.media.video_reader import probe
from studio.rotations import axis_angle_to_matrix, rigid
from tests.recon.ball import SIZE, ball_head, ball_track, write_ball_capture
from tests.studio.cli.test_bad_input import refused

PERSON, SEQUENCE = "393", "FREE"
SERIALS = TASKS["mono_flame_avatar"].serials  # the capture has the first three


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A capture whose cameras have serials, the calibration of its rig, and two runs of a few Gaussians."""
    folder = tmp_path_factory.mktemp("a home")
    capture = write_ball_capture(folder / "capture")
    ball_track().save(folder / "capture/tracks/fitted")
    for name, count in (("small_1", 100), ("big", 300)):
        train(capture, ball_track(), ball_head(), TrainConfig(gaussians=count, iterations=20), folder / name)
        (folder / name / "config.yaml").write_text("capture: ../capture\ntrack: fitted\n")
    listed = json.loads((folder / "capture/cameras.json").read_text())
    for camera, serial in zip(listed["cameras"], SERIALS, strict=False):
        for kind, ending in (("images", ""), ("alpha", ""), ("background", ".png")):
            place = folder / "capture" / kind
            (place / f"{camera['id']}{ending}").rename(place / f"{serial}{ending}")
        camera["id"] = serial
    (folder / "capture/cameras.json").write_text(json.dumps(listed))
    turn = rigid(axis_angle_to_matrix(torch.tensor([0.2, -0.4, 0.1])), torch.zeros(3)).double()
    views = {s: (capture.cameras.viewmats[i % 3].double() @ turn).tolist() for i, s in enumerate(SERIALS)}
    rig = {"world_2_cam": views, "intrinsics": capture.cameras.Ks[0].tolist(), "width": SIZE, "height": SIZE}
    (folder / "camera_params.json").write_text(json.dumps(rig))
    # What was moved is no longer what the manifest lists.
    manifest = json.loads((folder / "capture/manifest.json").read_text())
    (folder / "capture/manifest.json").write_text(json.dumps({**manifest, "files": {}}))
    return folder


@pytest.fixture(scope="module")
def judged(home, tmp_path_factory) -> Path:
    """Both runs, evaluated by the command."""
    from studio.cli.main import main

    out = tmp_path_factory.mktemp("judged")
    for name in ("small_1", "big"):
        assert main(["eval", f"run={home / name}", f"out={out / name}"]) == 0
    return out


def test_a_table_over_two_runs(studio, judged, tmp_path):
    small, big = judged / "small_1", judged / "big/test"
    outcome = studio("eval", f"compare=[{small},{big}]", f"out={tmp_path / 'table'}")
    assert outcome.code == 0, outcome.err
    markdown, latex = ((tmp_path / "table" / name).read_text() for name in ("table.md", "table.tex"))
    assert markdown in outcome.out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line[:1] == "|"]
    assert rows[0][:2] == ["run", "full, dB"]
    assert [row[0] for row in rows[2:]] == [str(small), str(big)]
    assert {len(row) for row in rows} == {len(rows[0])}
    for folder, row in ((judged / "small_1/test", rows[2]), (big, rows[3])):
        figures = json.loads((folder / "metrics.json").read_text())
        assert row[1].strip("*") == f"{figures['regions']['full']['psnr']:.2f}"
        assert row[rows[0].index("SSIM")].strip("*") == f"{figures['regions']['full']['ssim']:.4f}"
    best = max(rows[2:], key=lambda row: float(row[1].strip("*")))
    assert best[1].startswith("**")
    assert sum(row[1].startswith("**") for row in rows[2:]) == 1
    assert "; test, 6 photos of 48×48." in markdown.splitlines()[-1]
    lines = latex.splitlines()
    assert lines[0] == r"\begin{tabular}{l" + "r" * (len(rows[0]) - 1) + "}"
    assert [line for line in lines if line.startswith("\\")][-1] == r"\end{tabular}"
    assert r"small\_1" in latex
    assert {line.count(" & ") for line in lines if line.endswith(r" \\")} == {len(rows[0]) - 1}
    assert json.loads((tmp_path / "table/manifest.json").read_text())["kind"] == "comparison"


def test_what_cannot_be_compared(studio, judged, tmp_path):
    big, out = judged / "big/test", tmp_path / "table"

    def told(*listed: Path, words: tuple[str, ...]) -> None:
        assert refused(studio("eval", f"compare=[{','.join(map(str, listed))}]", f"out={out}"), *words)
        assert not out.exists()

    told(big, words=("two evaluations", "got 1"))
    told(big, big, words=("two evaluations", "got 1"))
    told(big, tmp_path / "nowhere", words=("no such folder", "nowhere", "check the path"))
    (tmp_path / "empty").mkdir()
    told(big, tmp_path / "empty", words=("no evaluation in", "studio eval run="))
    for number, text in enumerate(
        ("{", "[" * 100_000, "[]", '{"regions": {}}', '{"regions": {"full": {"psnr": "a"}}}')
    ):
        folder = tmp_path / f"damaged{number}"
        folder.mkdir()
        (folder / "metrics.json").write_text(text)
        told(big, folder, words=("damaged evaluation", folder.name, "evaluate again"))
    figures = json.loads((big / "metrics.json").read_text())
    figures["regions"]["full"]["psnr"] = float("nan")
    (tmp_path / "damaged0/metrics.json").write_text(json.dumps(figures))
    told(big, tmp_path / "damaged0", words=("damaged evaluation",))


def submission(home: Path, out: Path, **changes: object) -> list[str]:
    values = {"task": "mono_flame_avatar", "person": PERSON, "sequence": SEQUENCE, **changes}
    values.setdefault("calibration", home / "camera_params.json")
    return [f"run={home / 'big'}", *(f"submission.{name}={value}" for name, value in values.items()), f"out={out}"]


def test_a_submission_is_what_the_server_wants(studio, home, tmp_path):
    out = tmp_path / "mono v1.2"
    outcome = studio("eval", *submission(home, out))
    assert outcome.code == 0, outcome.err
    expected = [f"{PERSON}/{SEQUENCE}/cam_{serial}.mp4" for serial in SERIALS]
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == expected
    for name in expected:
        info = probe(out / name)
        assert (info.width, info.height, info.frames) == (512, 512, len(ball_track()))
        assert float(info.fps) == pytest.approx(24.3, abs=0.01)
    with zipfile.ZipFile(tmp_path / "mono v1.2.zip") as archive:
        assert archive.namelist() == expected
    assert "the server would miss 76 videos: 393/EMO-1" in outcome.err
    # The next sequence joins the folder; what is there is never written over.
    assert refused(studio("eval", *submission(home, out)), "exists already")
    assert studio("eval", *submission(home, out, sequence="EMO-1-shout+laugh")).code == 0
    with zipfile.ZipFile(tmp_path / "mono v1.2-2.zip") as archive:
        assert len(archive.namelist()) == 8


def test_submissions_that_cannot_be(studio, home, tmp_path):
    out = tmp_path / "out"

    def told(*words: str, **changes: object) -> None:
        assert refused(studio("eval", *submission(home, out, **changes)), *words)
        assert not out.exists()
        assert not list(tmp_path.glob("*.zip"))

    told("unknown task of the benchmark", "nvs | mono_flame_avatar", task="mono")
    told("does not have this sequence", "393: EMO-1", sequence="HAIR")
    told("does not have this sequence", person="7")
    told("nowhere.json", calibration=tmp_path / "nowhere.json")
    damaged = tmp_path / "damaged.json"
    for text in ("{", '{"world_2_cam": {}}', "[" * 100_000):
        damaged.write_text(text)
        told("damaged.json", calibration=damaged)
    assert refused(studio("eval", *submission(home, out)[1:]), "a submission needs a run", "run=")
    assert refused(studio("eval", *submission(home, out), f"capture={tmp_path / 'gone'}"), "no such folder", "gone")
    assert refused(studio("eval", *submission(home, out), "track=other"), "other")
    shutil.copytree(home / "big", tmp_path / "alone")
    (tmp_path / "alone/config.yaml").unlink()
    assert refused(studio("eval", f"run={tmp_path / 'alone'}", *submission(home, out)[1:]), "config.yaml")
    assert refused(studio("eval", f"run={tmp_path / 'nobody'}"), "no such folder", "nobody")
