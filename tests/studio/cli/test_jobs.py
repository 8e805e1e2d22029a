"""``studio jobs``: a job file is checked wholly, and its frames are those of ``studio render``, whatever was killed."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import yaml

from studio.jobs.job import status, want
from studio.jobs.results import read_log
from studio.media.video_reader import probe
from tests.studio.cli.test_bad_input import refused


@pytest.fixture(autouse=True)
def costs_of_the_test(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("STUDIO_COSTS", str(tmp_path / "costs.json"))


@pytest.fixture
def job_file(tmp_path, tiny_demo):
    """Writes a job file about the tiny demo."""
    capture = tiny_demo / "capture"

    def write(**changes) -> Path:
        small = {"head": "procedural", "avatar.gaussians": 500, "avatar.iterations": 4}
        values = {
            "chunk": 5,
            "reconstruct": {"sam": {"capture": str(capture), "settings": small}},
            "render": {
                "talk": {
                    "avatar": str(tiny_demo / "run/avatar"),
                    "driver": {"kind": "track", "source": str(capture), "split": "all"},
                    "render": {"camera": {"kind": "orbit"}, "size": [48, 48], "background": "grey"},
                }
            },
            "evaluate": {"sam": {"run": "sam"}},
        }
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump({**values, **changes}))
        return path

    return write


def frames(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("0*.png"))}


def test_from_a_job_file_to_avatar_video_and_figures(studio, job_file, tmp_path, tiny_demo):
    """Stopped in the middle and resumed; frames and sound are those that one process draws in one go."""
    path, folder = job_file(), tmp_path / "night"
    told = studio("jobs", "forecast", path, f"out={folder}")
    assert (told.code, told.out.count("GB of memory")) == (0, 1)
    assert not folder.exists()

    def stop() -> None:
        while not folder.exists() or status(folder).done < 3:
            time.sleep(0.02)
        want(folder, "cancel")

    thread = threading.Thread(target=stop)
    thread.start()
    assert studio("jobs", "run", path, f"out={folder}").code == 0
    thread.join()
    assert status(folder).state == "cancelled"
    outcome = studio("jobs", "resume", folder)
    assert outcome.code == 0, outcome.err
    assert status(folder).state == "done"
    assert (folder / "reconstruct/sam/run/avatar/manifest.json").is_file()
    judged = sorted((folder / "evaluate/sam").glob("*/report/metrics.json"))
    assert judged
    assert json.loads(judged[0].read_text())["regions"]["full"]["psnr"] > 5
    values = yaml.safe_load(path.read_text())["render"]["talk"]
    whole = tmp_path / "whole"
    settings = ["render=orbit", "render.size=[48,48]", "render.background=grey", f"out={whole}"]
    assert studio("render", f"avatar={values['avatar']}", f"track={values['driver']['source']}", *settings).code == 0
    assert frames(folder / "render/talk/frames") == frames(whole)
    video = folder / "render/talk/video/talk.mp4"
    assert probe(video).frames == len(frames(whole))
    assert json.loads(video.with_suffix(".json").read_text())["synthetic"] is True
    starts = [event["task"] for event in read_log(folder) if event["event"] == "start"]
    assert len(starts) - len(set(starts)) <= 2  # what was in flight when it was cancelled
    said = studio("jobs", "status", folder)
    assert "done" in said.out
    assert studio("jobs", "resume", folder).code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rendr": {}}, ["unknown setting rendr", "expected render"]),
        ({"chunk": 0}, ["wrong value of chunk"]),
        ({"reconstruct": {"../x": {"capture": "x"}}}, ["not a name"]),
        ({"reconstruct": {"sam": {"capture": "nowhere"}}}, ["reconstruct sam", "no such folder"]),
        ({"reconstruct": {"sam": {"capture": "none/*"}}}, ["no capture fits"]),
        ({"evaluate": {"sam": {"run": "nobody"}}}, ["evaluate sam", "no such folder"]),
        ({"evaluate": {"sam": {"run": "sam", "split": "tast"}}}, ["evaluate sam", "no split tast"]),
        ({"render": {"talk": {"avatar": "nowhere", "driver": {"kind": "procedural"}}}}, ["render talk"]),
        ({"render": {"talk": {"project": "nowhere.yaml"}}}, ["render talk", "no such project"]),
        ({"render": {"talk": {"avatar": "sam"}}}, ["an avatar and a driver"]),
        ({"render": {"talk": {"avatar": "sam", "driver": {"kind": "trick"}}}}, ["render talk", "unknown driver"]),
        ({"render": {"talk": {"avatar": "sam", "driver": {"kind": "track", "source": "gone"}}}}, ["no such"]),
    ],
)
def test_a_mistake_anywhere_is_found_before_anything_starts(studio, job_file, tmp_path, changes, words):
    path = job_file(**changes)
    assert refused(studio("jobs", "run", path, f"out={tmp_path / 'night'}"), *words)
    assert not (tmp_path / "night").exists()


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['touch x']", "a: &x 1\nb: *x", "[1, 2]", "a: {"])
def test_files_that_are_no_job(studio, tmp_path, text):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    assert refused(studio("jobs", "run", path), "job.yaml")


def test_folders_that_are_no_job(studio, tmp_path):
    for action in ("status", "pause", "resume", "cancel", "retry"):
        assert refused(studio("jobs", action, tmp_path / "nothing"), "no such folder")


def test_a_job_whose_sources_changed_is_not_resumed(studio, job_file, tmp_path, monkeypatch):
    from studio.jobs.driver import Driver

    path, folder = job_file(reconstruct={}, evaluate={}), tmp_path / "night"

    def stopped(self, on_progress):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "run", stopped)
        assert studio("jobs", "run", path, f"out={folder}").code == 130
    job = json.loads((folder / "manifest.json").read_text())
    source = next(name for name in job["parents"] if "avatar" in name)
    job["parents"][source] = "0" * 16
    (folder / "manifest.json").write_text(json.dumps(job))
    assert refused(studio("jobs", "resume", folder), "begun with other sources")
