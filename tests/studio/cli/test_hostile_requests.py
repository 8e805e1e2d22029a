"""Job files, timelines and captures by somebody who means harm, through the commands that take them.

One line, exit code 2; nothing is executed, and nothing is written beside what was asked for.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from recon.train import train
from recon.train_config import TrainConfig
from tests.recon.ball import ball_head, ball_track, write_ball_capture
from tests.studio.cli.test_bad_input import refused


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A capture with a track, and a run that was trained on it. Copied by tests that change it."""
    folder = tmp_path_factory.mktemp("whole")
    capture = write_ball_capture(folder / "capture")
    ball_track().save(folder / "capture/tracks/fitted")
    train(capture, ball_track(), ball_head(), TrainConfig(gaussians=100, iterations=1), folder / "run")
    (folder / "run/config.yaml").write_text("capture: ../capture\ntrack: fitted\n")
    return folder


@pytest.fixture
def flag(tmp_path) -> Path:
    """A file that is made when something is executed; checked at the end of each test."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


def timeline(whole: Path, **changes: Any) -> dict[str, Any]:
    """A project that can be rendered."""
    return {
        "avatar": str(whole / "run/avatar"),
        "sources": {"talk": {"kind": "track", "source": str(whole / "capture")}},
        "channels": {"all": {"source": "talk"}},
        "render": {"size": [32, 32], "background": "grey"},
        "seconds": 0.08,
        "fps": 25,
        **changes,
    }


def job(whole: Path, **changes: Any) -> dict[str, Any]:
    """A job that can be done."""
    driver = {"kind": "track", "source": str(whole / "capture")}
    return {"render": {"talk": {"avatar": str(whole / "run/avatar"), "driver": driver}}, **changes}


def tagged(flag: Path) -> list[str]:
    """Values that other readers of YAML make objects of."""
    return [
        f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{flag}]]",
        f"!!python/object/new:os.system ['touch {flag}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!binary aGVsbG8=",
        "!evil {a: 1}",
    ]


def test_tags_in_jobs_and_timelines(studio, whole, flag, tmp_path):
    path, before = tmp_path / "asked.yaml", sorted(tmp_path.iterdir())
    for value in tagged(flag):
        for data in (timeline(whole), job(whole)):
            for text in (f"{yaml.safe_dump(data)}evil: {value}\n", f"? {value}\n: 1\n", f"{value}\n"):
                path.write_text(text)
                verb = ("render", f"project={path}") if "avatar" in data else ("jobs", "run", path)
                assert refused(studio(*verb, f"out={tmp_path / 'out'}"), "asked.yaml", "a tag")
    path.unlink()
    assert sorted(tmp_path.iterdir()) == before


def test_files_that_grow_when_they_are_read(studio, tmp_path):
    path = tmp_path / "asked.yaml"
    doubling = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    for text in (doubling, "[" * 100_000, "{a: " * 50_000, "a: " + "9" * 5000, "x" * 2_000_000):
        path.write_text(text)
        assert refused(studio("render", f"project={path}", f"out={tmp_path / 'a.mp4'}"), "asked.yaml")
        assert refused(studio("jobs", "run", path, f"out={tmp_path / 'out'}"), "asked.yaml")
    assert [item.name for item in tmp_path.iterdir()] == ["asked.yaml"]


NUMBERS = [float("nan"), float("inf"), -(10**400), 1e308, "1e999", -5]


@pytest.mark.parametrize(
    "place",
    [
        ("fps",),
        ("seconds",),
        ("render", "size", 0),
        ("render", "fps"),
        ("channels", "all", "gain"),
        ("channels", "all", "smoothing"),
        ("channels", "all", "fade"),
    ],
)
def test_numbers_that_are_none_in_timelines(studio, whole, tmp_path, place):
    for value in NUMBERS:
        data = timeline(whole)
        inner: Any = data
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        (tmp_path / "line.yaml").write_text(yaml.safe_dump(data))
        assert refused(studio("render", f"project={tmp_path / 'line.yaml'}", f"out={tmp_path / 'a.mp4'}"))
        assert [item.name for item in tmp_path.iterdir()] == ["line.yaml"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1e999"])
def test_places_and_times_that_are_no_numbers(studio, whole, tmp_path, value):
    for changes in (
        {"channels": {"all": {"source": "talk", "delay": value}}},
        {"channels": {"all": {"source": "talk", "start": value}}},
        {"channels": {"all": {"source": "talk", "offset": {"jawOpen": value}}}},
        {"cameras": [{"yaw": value}]},
        {"cameras": [{"at": value}]},
        {"emotion": [{"valence": value}]},
        {"emotion": [{"at": value, "do": "smile"}]},
        {"retarget": {"expression": value}},
        {"sources": {"talk": {"kind": "track", "source": str(whole / "capture"), "at": value}}},
    ):
        (tmp_path / "line.yaml").write_text(yaml.safe_dump(timeline(whole, **changes)))
        outcome = studio("render", f"project={tmp_path / 'line.yaml'}", f"out={tmp_path / 'a.mp4'}")
        assert refused(outcome), changes
        assert [item.name for item in tmp_path.iterdir()] == ["line.yaml"]


@pytest.mark.parametrize("name", ["chunk", "seed", "gaussians", "size", "iterations"])
def test_numbers_that_are_none_in_jobs(studio, whole, tmp_path, name):
    for value in NUMBERS if name != "seed" else NUMBERS[:-1]:  # a seed may be below 0
        data = job(whole)
        if name in ("chunk", "seed"):
            data[name] = value
        elif name == "iterations":
            data["reconstruct"] = {"sam": {"capture": str(whole / "capture"), "settings": {"avatar.iterations": value}}}
        else:
            data["render"]["talk"].update(
                {"gaussians": value} if name == "gaussians" else {"render": {"size": [value, 9]}}
            )
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(data))
        assert refused(studio("jobs", "run", tmp_path / "job.yaml", f"out={tmp_path / 'out'}")), value
        assert [item.name for item in tmp_path.iterdir()] == ["job.yaml"]


EVIL = ["../../evil", "/tmp/evil", "a\x00b"]


def test_names_that_lead_elsewhere_in_jobs(studio, whole, flag, tmp_path):
    (tmp_path / "evil.py").write_text(f"open({str(flag)!r}, 'w')")
    one = job(whole)["render"]["talk"]
    for name in EVIL:
        named = {
            "render": {"render": {name: one}},
            "reconstruct": {"reconstruct": {name: {"capture": str(whole / "capture")}}},
            "evaluate": {"evaluate": {name: {"run": str(whole / "run")}}},
            "split": {"evaluate": {"a": {"run": str(whole / "run"), "split": name or "?"}}},
            "kind": {"render": {"talk": {**one, "driver": {"kind": name}}}},
            "avatar": {"reconstruct": {"a": {"capture": str(whole / "capture"), "avatar": name}}},
            "recipe": {"reconstruct": {"a": {"capture": str(whole / "capture"), "recipe": name}}},
            "form": {"render": {"talk": {**one, "form": name}}},
            "kernels": {**job(whole), "kernels": name},
        }
        for what, data in named.items():
            (tmp_path / "job.yaml").write_text(yaml.safe_dump(data))
            outcome = studio("jobs", "run", tmp_path / "job.yaml", f"out={tmp_path / 'out'}")
            assert refused(outcome), (what, name)
            assert sorted(item.name for item in tmp_path.iterdir()) == ["evil.py", "job.yaml"]


def test_modules_in_timelines(studio, whole, flag, tmp_path):
    (tmp_path / "evil.py").write_text(f"open({str(flag)!r}, 'w')")
    for kind in ("../../evil", "os", "__init__", "track.TrackDriver", "builtins", ""):
        data = timeline(whole, sources={"talk": {"kind": kind, "source": "x"}})
        (tmp_path / "line.yaml").write_text(yaml.safe_dump(data))
        outcome = studio("render", f"project={tmp_path / 'line.yaml'}", f"out={tmp_path / 'a.mp4'}")
        assert refused(outcome, "unknown kind of source talk")
    data = timeline(whole)
    data["sources"]["talk"]["_target_"] = "os.system"
    (tmp_path / "line.yaml").write_text(yaml.safe_dump(data))
    assert refused(studio("render", f"project={tmp_path / 'line.yaml'}", f"out={tmp_path / 'a.mp4'}"), "_target_")


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "..", "a/b"])
def test_a_split_that_leads_out_of_what_is_written(studio, whole, tmp_path, name):
    """Its name becomes that of a folder of the evaluation."""
    shutil.copytree(whole, tmp_path / "home")
    path = tmp_path / "home/capture/manifest.json"
    data = json.loads(path.read_text())
    data["body"]["splits"] = {"train": data["body"]["splits"]["train"], name: data["body"]["splits"]["test"]}
    path.write_text(json.dumps(data))
    outcome = studio("eval", f"run={tmp_path / 'home/run'}", f"out={tmp_path / 'a/b/judged'}")
    assert refused(outcome, "a name that no file can have")
    assert [item.name for item in tmp_path.iterdir()] == ["home"]
