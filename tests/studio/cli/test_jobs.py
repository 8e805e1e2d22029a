"""``studio jobs``: a job file is checked wholly, and its frames are those of ``studio render``, whatever was killed."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import av
import pytest
import yaml

from studio.jobs.job import status, want
from studio.jobs.results import read_log
from studio.media.video_reader import probe, read_timecode
from tests.studio.cli.test_bad_input import refused

MADE = {"avatar": "sam", "driver": {"kind": "procedural"}}


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
        path.write_text(yaml.safe_dump(json.loads(json.dumps({**values, **changes}))))  # without aliases
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


def test_every_form_that_a_render_can_have(studio, job_file, tmp_path, tiny_demo):
    """ProRes and WebM with alpha and timecode, and EXR with passes, are what one process makes."""
    capture, avatar = tiny_demo / "capture", tiny_demo / "run/avatar"
    driver = {"kind": "track", "source": str(capture), "split": "all"}
    project = {"characters": {"sam": {"avatar": str(avatar), "channels": {"all": "talk"}}}, "seconds": 0.2, "fps": 25}
    project |= {"sources": {"talk": driver}, "render": {"size": [32, 32], "alpha": True, "codec": "vp9"}}
    (tmp_path / "timeline.yaml").write_text(yaml.safe_dump(project))
    (tmp_path / "behind.png").write_bytes((avatar / "preview.png").read_bytes())
    alpha = {"size": [48, 40], "alpha": True}
    layers = {"images": "exr", "passes": ["depth", "alpha"], "background": "behind.png"}
    plain = {"avatar": str(avatar), "driver": driver}
    renders = {
        "cut": {**plain, "form": "mov", "render": {**alpha, "timecode": "01:00:00:00"}},
        "line": {"project": "timeline.yaml", "form": "webm"},
        "layers": {**plain, "form": "images", "render": {"size": [48, 40], **layers}},
    }
    folder = tmp_path / "night"
    outcome = studio("jobs", "run", job_file(reconstruct={}, evaluate={}, render=renders), f"out={folder}")
    assert outcome.code == 0, outcome.err
    assert decoded(folder / "render/cut/video/cut.mov") == ("prores", "01:00:00:00")
    assert decoded(folder / "render/line/video/line.webm")[0] == "libvpx-vp9"
    made = folder / "render/layers/video/layers"
    whole = tmp_path / "whole"
    settings = ["render.size=[48,40]", "render.images=exr", "render.passes=[depth,alpha]"]
    settings += [f"render.background={tmp_path / 'behind.png'}", f"out={whole}"]
    assert studio("render", f"avatar={avatar}", f"track={capture}", *settings).code == 0

    def pictures(place: Path) -> dict[str, bytes]:
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*.exr")}

    assert pictures(made) == pictures(whole)
    assert len(pictures(made)) == 3 * len(list(made.glob("*.exr"))) > 0
    assert (made / "audio.wav").read_bytes() == (whole / "audio.wav").read_bytes()
    for out in (made, folder / "render/cut/video/cut.mov", folder / "render/line/video/line.webm"):
        assert studio("info", f"file={out}").code == 0


def decoded(path: Path) -> tuple[str, str | None]:
    """The decoder and the timecode of a video whose first picture is clear somewhere and opaque somewhere."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.codec_context.name == "vp9":  # FFmpeg's own decoder leaves the alpha out
            decoder: Any = av.CodecContext.create("libvpx-vp9", "r")
            frame = next(f for packet in container.demux(stream) for f in decoder.decode(packet))
        else:
            decoder, frame = stream.codec_context, next(container.decode(video=0))
    alpha = frame.reformat(format="rgba").to_ndarray()[..., 3]
    assert alpha.min() < 10 < 245 < alpha.max()
    return str(decoder.name), read_timecode(path)


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
        ({"render": {"talk": {**MADE, "render": {"alpha": True}}}}, ["render talk", "h264 in .mp4 cannot hold alpha"]),
        ({"render": {"talk": {**MADE, "form": "webm", "render": {"codec": "h264"}}}}, [".webm does not hold this"]),
        ({"render": {"talk": {**MADE, "form": "images", "render": {"codec": "h264"}}}}, ["has no codec"]),
        ({"render": {"talk": {**MADE, "render": {"images": "exr"}}}}, ["EXR images need a folder"]),
        ({"render": {"talk": {**MADE, "render": {"timecode": "1:2"}}}}, ["not a timecode"]),
        ({"render": {"talk": {**MADE, "render": {"background": "no.png"}}}}, ["no such background"]),
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
