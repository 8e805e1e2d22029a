"""The main job from end to end, at a tiny size: what it leaves behind, and going on after a stop."""

import json
import os
import shutil
import signal
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.captures import open_capture
from studio.cli.verbs import train
from studio.folders import read_manifest
from studio.media.images import read_image
from studio.media.video_reader import probe, read_audio
from tests.studio.cli.conftest import TINY


def test_what_the_demo_leaves(tiny_demo):
    summary = json.loads((tiny_demo / "summary.json").read_text())
    names = [item["stage"] for item in summary["stages"]]
    assert names[:2] == ["capture", "train"]
    assert names[-3:] == ["driver", "self", "cross"]
    assert summary["seconds"] == pytest.approx(sum(item["seconds"] for item in summary["stages"]), abs=0.1)
    assert set(summary["metrics"]) == {"novel_view", "novel_expression", "novel_view_expression"}
    for values in summary["metrics"].values():
        assert {"protocol", "split", "resolution", "mask", "regions"} <= set(values)
        assert values["regions"]["foreground"]["psnr"] > 12
    for path in summary["files"].values():
        assert (tiny_demo / path).exists()
    (trained,) = (item for item in summary["stages"] if item["stage"] == "train")
    assert trained["forecast"]["seconds"] > 0
    assert trained["actual"]["memory"] > trained["forecast"]["memory"] / 2
    assert read_image(tiny_demo / "contact_sheet.png").std() > 10
    assert not [path for path in tiny_demo.rglob(".*")], "temporary files are left"


def test_every_folder_is_whole(tiny_demo):
    for kind, folder in {"capture": "capture", "run": "run", "avatar": "run/avatar"}.items():
        read_manifest(tiny_demo / folder, kind=kind, verify=True)
    assert read_manifest(tiny_demo / "capture", kind="capture").synthetic
    avatar = read_manifest(tiny_demo / "run" / "avatar", kind="avatar")
    assert avatar.code_space == "arkit52"


@pytest.mark.parametrize(("name", "frames"), [("self", 24), ("cross", 12)])
def test_videos_have_pictures_and_sound(tiny_demo, name, frames):
    video = tiny_demo / f"{name}.mp4"
    info = probe(video)
    assert (info.frames, info.width, info.height, info.has_audio) == (frames, 64, 64, True)
    sound = read_audio(video)
    assert np.abs(sound.samples).max() > 0.01
    assert sound.duration == pytest.approx(frames / 25, abs=0.06)
    assert json.loads(video.with_suffix(".json").read_text())["synthetic"] is True


def test_an_existing_demo_is_refused_and_a_free_name_is_taken(tiny_demo, studio, tmp_path, monkeypatch):
    outcome = studio("demo", f"out={tiny_demo}", *TINY)
    assert outcome.code == 2
    assert "exists already" in outcome.line
    assert "resume=true" in outcome.line


def test_a_finished_demo_is_not_done_again(tiny_demo, studio):
    stamp = (tiny_demo / "run" / "avatar" / "weights.safetensors").stat().st_mtime_ns
    outcome = studio("demo", f"out={tiny_demo}", "resume=true", *TINY)
    assert outcome.code == 0
    assert "train: done already" in outcome.err
    assert (tiny_demo / "run" / "avatar" / "weights.safetensors").stat().st_mtime_ns == stamp


def test_another_job_is_not_continued(tiny_demo, studio):
    outcome = studio("demo", f"out={tiny_demo}", "resume=true", *TINY, "avatar.iterations=61")
    assert outcome.code == 2
    assert "was begun with other settings" in outcome.line
    assert "avatar" in outcome.line


@contextmanager
def _bar_that_interrupts(title):
    """In place of the progress bar: Ctrl-C at step 20."""

    def on_step(state):
        if state.step == 20:
            os.kill(os.getpid(), signal.SIGINT)

    yield on_step


def test_a_stop_during_training_loses_nothing(tiny_demo, studio, tmp_path, monkeypatch):
    """``resume=true`` gives the very avatar that an unbroken run gives."""
    out = tmp_path / "stopped demo"
    monkeypatch.setattr(train, "step_bar", _bar_that_interrupts)
    outcome = studio("demo", f"out={out}", *TINY)
    assert outcome.code == 130
    assert outcome.line.startswith("stopped; nothing lost; continue with: studio demo 'out=")
    assert outcome.line.endswith("resume=true")
    assert not (out / "run" / "avatar").exists()
    monkeypatch.undo()
    assert studio("demo", f"out={out}", *TINY, "resume=true").code == 0
    made, expected = (folder / "run" / "avatar" / "weights.safetensors" for folder in (out, tiny_demo))
    assert made.read_bytes() == expected.read_bytes()


def test_an_avatar_loads_alone(tiny_demo, studio, tmp_path):
    avatar = tmp_path / "alone" / "avatar"
    shutil.copytree(tiny_demo / "run" / "avatar", avatar)
    track = tmp_path / "track"
    shutil.copytree(tiny_demo / "capture" / "tracks" / "truth", track)
    outcome = studio("render", f"avatar={avatar}", f"track={track}", f"out={tmp_path / 'a b.mp4'}", "render.fps=5")
    assert outcome.code == 0
    assert "a b.mp4" in outcome.out
    assert "next: studio view" in outcome.out
    assert probe(tmp_path / "a b.mp4").frames == 5


def test_info_tells_what_folders_are(tiny_demo, studio):
    for folder in ("capture", "run", "run/avatar", "capture/tracks/truth"):
        outcome = studio("info", f"folder={tiny_demo / folder}", "verify=true")
        assert outcome.code == 0, outcome.err
        assert "content verified" in outcome.out


def test_eval_finds_the_capture_of_a_run(tiny_demo, studio, tmp_path):
    outcome = studio("eval", f"run={tiny_demo / 'run'}", "split=novel_view_expression", f"out={tmp_path / 'judged'}")
    assert outcome.code == 0, outcome.err
    metrics = json.loads((tmp_path / "judged" / "novel_view_expression" / "metrics.json").read_text())
    before = json.loads((tiny_demo / "run" / "eval" / "novel_view_expression" / "metrics.json").read_text())
    assert metrics == before


def test_frames_without_a_face_are_not_judged(tiny_demo, studio, tmp_path):
    capture = tmp_path / "capture"
    shutil.copytree(tiny_demo / "capture", capture)
    opened = open_capture(capture)
    track, split = opened.track("truth"), opened.split("novel_expression")
    valid = torch.ones(len(track), dtype=torch.bool)
    valid[list(split.timesteps)] = False
    replace(track, valid=valid).save(capture / "tracks" / "none")
    valid[split.timesteps[0]] = True
    replace(track, valid=valid).save(capture / "tracks" / "one")
    run = f"run={tiny_demo / 'run'}"
    outcome = studio("eval", run, f"capture={capture}", "track=none", f"out={tmp_path / 'none'}")
    assert outcome.code == 0
    assert "novel_expression is not judged" in outcome.err
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["novel_view"]
    outcome = studio("eval", run, f"capture={capture}", "track=none", "split=novel_expression", f"out={tmp_path / 'x'}")
    assert outcome.code == 2
    assert "nothing to judge" in outcome.line
    outcome = studio("eval", run, f"capture={capture}", "track=one", "split=novel_expression", f"out={tmp_path / 'x'}")
    metrics = json.loads((tmp_path / "x" / "novel_expression" / "metrics.json").read_text())
    assert metrics["frames"] == len(split.cameras)


def test_exports(tiny_demo, studio, tmp_path):
    avatar, track = tiny_demo / "run" / "avatar", tiny_demo / "capture" / "tracks" / "truth"
    assert studio("export", f"avatar={avatar}", f"track={track}", "frame=3", f"out={tmp_path / 'a.ply'}").code == 0
    assert (tmp_path / "a.ply").read_bytes().startswith(b"ply")
    capture, small = tiny_demo / "capture", "format.texture=64"
    assert studio("export", f"avatar={avatar}", "format=glb", small, f"out={tmp_path / 'a.glb'}").code == 0
    assert (tmp_path / "a.glb").read_bytes().startswith(b"glTF")
    assert studio("export", f"avatar={avatar}", f"track={capture}", "format=web", f"out={tmp_path / 'web'}").code == 0
    assert {"index.html", "avatar.js"} <= {path.name for path in (tmp_path / "web").iterdir()}
    assert studio("export", f"avatar={tmp_path / 'a.ply'}", f"out={tmp_path / 'still'}").code == 0
    assert read_manifest(tmp_path / "still", kind="avatar", verify=True).body["kind"] == "static_splats"
    assert studio("export", f"track={track}", f"out={tmp_path / 'a.csv'}").code == 0
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 25
    assert studio("export", f"avatar={avatar}", "bits=8", f"out={tmp_path / 'small'}").code == 0
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (tmp_path / "small", avatar)]
    assert sizes[0] < 0.4 * sizes[1]
    manifest = read_manifest(tmp_path / "small", kind="avatar", verify=True)
    assert manifest.body["bits"] == 8
    assert list(manifest.parents) == ["avatar"]
