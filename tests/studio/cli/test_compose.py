"""Settings: composed as written, text taken literally, mistakes answered with the nearest valid name."""

import ast
import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.cli.compose import compose_jobs, to_config
from studio.cli.config import Config
from studio.cli.help import CONFIGS, default_choices, group_choices, overview, verb_help
from studio.cli.verbs import VERBS
from studio.errors import StudioError

ALL_CHOICES = [
    (verb, group, choice) for verb in VERBS for group in default_choices(verb) for choice in group_choices(group)
]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_composes_and_explains_itself(verb):
    (composed,) = compose_jobs(verb, [])
    text = verb_help(verb)
    assert f"studio {verb}: " in text
    for key in composed:
        assert key in text, f"studio {verb} --help does not mention {key}"


@pytest.mark.parametrize(("verb", "group", "choice"), ALL_CHOICES)
def test_every_choice_composes(verb, group, choice):
    (composed,) = compose_jobs(verb, [f"{group}={choice}"])
    assert group in composed or group == "recipe"  # a recipe changes other groups


def room_dataclasses() -> dict[str, type]:
    """The dataclass that each file of a config group becomes, where its values are the dataclass's own defaults."""
    from capture.synthetic import SyntheticConfig
    from capture.tracking import TrackConfig
    from capture.video import IngestConfig
    from recon.hash_config import HashEnsembleConfig
    from recon.train_config import TrainConfig
    from recon.train_hash import HashStaticConfig
    from recon.train_hash_codes import HashCodesConfig
    from recon.train_static import StaticConfig
    from reenact.render_config import RenderConfig

    return {
        "reader/video": IngestConfig,
        "reader/synthetic": SyntheticConfig,
        "tracker/standard": TrackConfig,
        "avatar/splats": TrainConfig,
        "avatar/static_splats": StaticConfig,
        "avatar/hash_static": HashStaticConfig,
        "avatar/hash_ensemble": HashEnsembleConfig,
        "avatar/hash_codes": HashCodesConfig,
        "render/video": RenderConfig,
    }


@pytest.mark.parametrize("file", list(room_dataclasses()))
def test_a_group_builds_its_dataclass_with_the_same_defaults(file):
    values = yaml.safe_load((CONFIGS / f"{file}.yaml").read_text(encoding="utf-8"))
    cls = room_dataclasses()[file]
    assert Config(values).to(cls) == cls()
    given_by_the_verb = {"seed", "kernels"}
    missing = {item.name for item in dataclasses.fields(cls)} - set(values) - given_by_the_verb
    assert not missing, f"{file}.yaml does not offer {missing}"


def test_photometric_tracking_has_the_same_defaults():
    from recon.code_fit import CodeFitConfig

    values = yaml.safe_load((CONFIGS / "track.yaml").read_text(encoding="utf-8"))
    assert Config(values).build(CodeFitConfig, "photometric") == CodeFitConfig()
    assert set(values["photometric"]) == {item.name for item in dataclasses.fields(CodeFitConfig)}


def test_baking_has_the_same_defaults():
    from recon.bake import BakeConfig

    values = yaml.safe_load((CONFIGS / "export.yaml").read_text(encoding="utf-8"))
    assert Config(values).build(BakeConfig, "bake") == BakeConfig()
    assert set(values["bake"]) == {item.name for item in dataclasses.fields(BakeConfig)}


def test_a_live_stream_has_the_same_defaults():
    from recon.online import OnlineConfig

    (values,) = compose_jobs("live", [])
    assert Config(values).build(OnlineConfig, "stream") == OnlineConfig()
    assert set(values["stream"]) == {item.name for item in dataclasses.fields(OnlineConfig)}


def test_checks_and_colours_have_the_same_defaults():
    from capture.checking.run import CheckConfig
    from capture.recolour import ColourConfig
    from capture.rematte import MatteConfig

    for verb, cls in (("check", CheckConfig), ("colour", ColourConfig), ("matte", MatteConfig)):
        values = yaml.safe_load((CONFIGS / f"{verb}.yaml").read_text(encoding="utf-8"))
        own = {name: values[name] for name in (item.name for item in dataclasses.fields(cls))}
        assert Config(own).to(cls) == cls()


def test_every_driver_has_its_config():
    from reenact.drivers import drivers

    for name, cls in drivers().items():
        values = yaml.safe_load((CONFIGS / "driver" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert set(values) - {"kind"} == {item.name for item in dataclasses.fields(cls)}
        assert Config({**values, "source": "x"}).to(cls) == cls(source=Path("x"))


def test_every_format_has_its_config():
    from capture.writers import writers
    from reenact.curves import WRITERS
    from reenact.exporters import exporters

    for name, cls in exporters().items():
        values = yaml.safe_load((CONFIGS / "format" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert set(values) - {"kind"} == {item.name for item in dataclasses.fields(cls)}
        assert Config(values).to(cls) == cls()
    assert set(group_choices("format")) == {"auto", *exporters(), *WRITERS, *writers()}


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_setting_is_described(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# "), "the first line says what it is"
    for line in lines:
        is_setting = ":" in line and not line.lstrip().startswith(("#", "- ")) and not line.endswith(":")
        assert not is_setting or " # " in line, f"{path.name}: {line} is not described"


def test_no_config_is_left_over():
    groups = {group for verb in VERBS for group in default_choices(verb)}
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(VERBS)
    assert {path.name for path in CONFIGS.iterdir() if path.is_dir() and path.name != "__pycache__"} == groups


# Text that hydra's own grammar would read as something else.
AWKWARD = [
    "my clip (1).mp4",
    "a=b.mp4",
    "[x].mp4",
    "it's.mp4",
    "a,b.mp4",
    "007",
    "{a}",
    "back\\slash\\",
    'say "hi"',
    "",
]


@pytest.mark.parametrize("text", [*AWKWARD, "", "~/x", "ünïcode", "null.mp4", "#1.mp4", "a:b", "end\\'", "\\\\'x"])
def test_text_is_taken_literally(text):
    (composed,) = compose_jobs("info", [f"folder={text}"])
    assert to_config("info", composed).text("folder") == text


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20))
def test_any_text_is_taken_literally(text):
    if "${" in text or text in ("null", "???"):
        return  # references to other settings, nothing and missing are hydra's
    (composed,) = compose_jobs("info", [f"folder={text}"])
    assert to_config("info", composed).text("folder") == text


@pytest.mark.parametrize(
    ("verb", "given_settings", "message"),
    [
        ("info", ["fodler=x"], r"unknown setting; got fodler; expected folder; next: studio info --help"),
        ("info", ["x"], r"not of the form key=value; got x; next: studio info folder=x"),
        ("info", ["+new=1"], r"not of the form key=value; got \+new=1"),
        ("track", [], "studio track needs capture"),
        ("train", ["head=procedual"], r"unknown choice of head; got procedual; expected procedural"),
        ("train", ["avatar.iteratons=5"], r"unknown setting; got avatar.iteratons; expected avatar.iterations"),
        ("train", ["iterations=5"], r"unknown setting; got iterations; expected avatar.iterations"),
        ("train", ["capture=a", "avatar.iterations=1,2"], r"avatar.iterations has several values.*add -m"),
        ("train", ["capture=a", "avatar.iterations=[1"], r"cannot read the settings"),
    ],
)
def test_mistakes(verb, given_settings, message):
    with pytest.raises(StudioError, match=message):
        to_config(verb, compose_jobs(verb, given_settings)[0])


def test_a_sweep_is_every_combination():
    jobs = compose_jobs("info", ["folder=a b,c (1)", "verify=true,false"], multirun=True)
    assert [(job.folder, job.verify) for job in jobs] == [
        ("a b", True),
        ("a b", False),
        ("c (1)", True),
        ("c (1)", False),
    ]


def test_a_sweep_over_choices_and_numbers():
    jobs = compose_jobs("train", ["head=procedural,auto", "avatar.iterations=range(1,4)"], multirun=True)
    assert [job.avatar.iterations for job in jobs] == [1, 2, 3, 1, 2, 3]


def _studio(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "studio.cli.main", *arguments], capture_output=True, text=True)


def test_help_is_quick_and_lists_every_verb():
    began = time.perf_counter()
    run = _studio("--help")
    seconds = time.perf_counter() - began
    assert run.returncode == 0
    assert run.stdout.strip() == overview()
    assert all(f"\n  {verb} " in run.stdout for verb in VERBS)
    assert seconds < 0.7


def test_cfg_prints_yaml_and_runs_nothing(tmp_path):
    run = _studio("make", f"source={tmp_path}/my clip (1).mp4", "--cfg", "job")
    assert run.returncode == 0
    assert f"source: {tmp_path}/my clip (1).mp4" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_verb_has_its_module():
    folder = CONFIGS.parent / "studio" / "cli" / "verbs"
    for verb in VERBS:
        tree = ast.parse(Path(folder / f"{verb}.py").read_text(encoding="utf-8"))
        assert "run" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
