"""Bad input through the real command line: one line, exit code 2, nothing lost, nothing half-written."""

import contextlib
import json
import resource
import shutil

import numpy as np
import pytest

from studio.media.video_writer import VideoWriter
from tests.studio.cli.conftest import TINY


def refused(outcome, *words):
    """The command told the user in one line what is wrong."""
    assert outcome.code == 2, outcome.err
    assert outcome.line.startswith("studio: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.line
    return True


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture
def faceless(tmp_path):
    """A clip of moving colours."""
    path = tmp_path / "no face (1).mp4"
    ramp = np.linspace(0, 255, 96 * 96 * 3).reshape(96, 96, 3)
    with VideoWriter(path, 25, (96, 96)) as writer:
        for index in range(20):
            writer.write(np.roll(ramp, 5 * index, axis=1).astype(np.uint8))
    return path


@pytest.mark.parametrize(("verb", "key"), [("ingest", "source"), ("make", "source")])
@pytest.mark.parametrize("content", [None, b"", b"this is not a video", b"\x00\x00\x00\x18ftypmp42 and then nothing"])
def test_missing_empty_and_foreign_files(studio, tmp_path, verb, key, content):
    source = tmp_path / "clip [1] = x.mp4"
    if content is not None:
        source.write_bytes(content)
    before = names(tmp_path)
    assert refused(studio(verb, f"{key}={source}", f"out={tmp_path / 'out'}"), str(source))
    assert names(tmp_path) == before


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("verb", ["ingest", "make"])
def test_a_video_without_a_face(studio, tmp_path, faceless, verb):
    before = names(tmp_path)
    assert refused(studio(verb, f"source={faceless}", f"out={tmp_path / 'out'}"), "face", faceless.name)
    assert names(tmp_path) == before


def test_a_truncated_video(studio, tmp_path, faceless):
    data = faceless.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) // 2])
    assert refused(studio("ingest", f"source={cut}", f"out={tmp_path / 'out'}"), "cut.mp4")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_no_known_format(studio, tmp_path):
    (tmp_path / "things").mkdir()
    outcome = studio("ingest", f"source={tmp_path / 'things'}", f"out={tmp_path / 'out'}")
    assert refused(outcome, "is of no format that is known")


def test_a_missing_driver_is_found_before_the_work_begins(studio, tmp_path, faceless):
    outcome = studio("make", f"source={faceless}", f"driver={tmp_path / 'nobody.mp4'}", f"out={tmp_path / 'out'}")
    assert refused(outcome, "no such driver", "nobody.mp4")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "captur=x"], ["unknown setting", "got captur", "expected capture"]),
        (["train", "capture=x", "avatar.gausians=5"], ["expected avatar.gaussians"]),
        (["train", "capture=x", "avatar=splat"], ["unknown choice of avatar", "expected splats"]),
        (["make", "source=x", "reader.size=big"], ["no such file"]),
        (["train"], ["studio train needs capture"]),
        (["train", "capture=nowhere"], ["no such folder: nowhere"]),
        (["track", "capture=nowhere"], ["no such folder: nowhere"]),
        (["eval", "run=nowhere"], ["no such folder: nowhere"]),
        (["drive", "avatar=nowhere", "driver=./nobody.mp4"], ["no such driver: nobody.mp4"]),
        (["render", "avatar=nowhere", "track=nothing"], ["no such folder: nowhere"]),
        (["view", "avatar=nowhere"], ["no such folder: nowhere"]),
        (["export", "avatar=nowhere", "out=a.fbx"], ["got .fbx", ".ply", ".csv"]),
        (["export", "out=a.ply"], ["needs avatar"]),
    ],
)
def test_wrong_words(studio, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert refused(studio(*arguments), *words)
    assert names(tmp_path) == []


def _remove(path):
    path.unlink()


def _empty(path):
    path.write_bytes(b"")


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scramble(path):
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))


@pytest.mark.parametrize("file", ["weights.safetensors", "manifest.json"])
@pytest.mark.parametrize("damage", [_remove, _empty, _cut, _scramble], ids=lambda damage: damage.__name__.strip("_"))
@pytest.mark.parametrize("verb", ["render", "drive"])
def test_a_damaged_avatar(studio, tiny_demo, tmp_path, verb, file, damage):
    avatar = tmp_path / "avatar"
    shutil.copytree(tiny_demo / "run" / "avatar", avatar)
    damage(avatar / file)
    codes = f"{'track' if verb == 'render' else 'driver'}={tiny_demo / 'driver' / 'tracks' / 'truth'}"
    outcome = studio(verb, f"avatar={avatar}", codes, f"out={tmp_path / 'out.mp4'}")
    assert refused(outcome, "avatar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["avatar"]


@pytest.mark.parametrize("damage", [_remove, _empty, _cut, _scramble], ids=lambda damage: damage.__name__.strip("_"))
@pytest.mark.parametrize("file", ["cameras.json", "images/{camera}/00000.png", "tracks/truth/track.npz"])
def test_a_damaged_capture(studio, tiny_demo, tmp_path, file, damage):
    capture = tmp_path / "capture"
    shutil.copytree(tiny_demo / "capture", capture)
    damage(capture / file.format(camera=sorted(path.name for path in (capture / "images").iterdir())[0]))
    outcome = studio("train", f"capture={capture}", "head=procedural", "avatar.iterations=5", f"out={tmp_path / 'run'}")
    assert refused(outcome, file.rpartition("/")[2])


def test_a_run_that_exists_is_untouched(studio, tiny_demo, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_demo / "run", run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    outcome = studio("train", f"capture={tiny_demo / 'capture'}", "head=procedural", f"out={run}")
    assert refused(outcome, "exists already", "resume=true")
    outcome = studio("train", f"capture={tiny_demo / 'capture'}", "head=procedural", f"out={run}", "resume=true")
    assert refused(outcome, "cannot resume")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("verb", ["render", "export"])
def test_outputs_that_exist_are_untouched(studio, tiny_demo, tmp_path, verb):
    out = tmp_path / {"render": "out.mp4", "export": "out.ply"}[verb]
    out.write_text("precious")
    track = tiny_demo / "capture" / "tracks" / "truth"
    outcome = studio(verb, f"avatar={tiny_demo / 'run' / 'avatar'}", f"track={track}", f"out={out}")
    assert refused(outcome, "exists already")
    assert out.read_text() == "precious"
    assert names(tmp_path) == [out.name]


def test_codes_of_another_space(studio, tiny_demo, tmp_path):
    track = tmp_path / "flame track"
    shutil.copytree(tiny_demo / "capture" / "tracks" / "truth", track)
    manifest = json.loads((track / "manifest.json").read_text())
    manifest |= {"code_space": "flame2023/100"}
    (track / "manifest.json").write_text(json.dumps(manifest))
    outcome = studio("drive", f"avatar={tiny_demo / 'run' / 'avatar'}", f"driver={track}", f"out={tmp_path / 'a.mp4'}")
    assert refused(outcome, "code space", "got flame2023/100", "arkit52")
    assert not (tmp_path / "a.mp4").exists()


def test_no_track_and_several_tracks(studio, tiny_demo, tmp_path):
    capture = tmp_path / "capture"
    shutil.copytree(tiny_demo / "capture", capture)
    shutil.copytree(capture / "tracks" / "truth", capture / "tracks" / "other")
    assert refused(studio("train", f"capture={capture}", f"out={tmp_path / 'run'}"), "several tracks", "other, truth")
    outcome = studio("train", f"capture={capture}", "track=thruth", f"out={tmp_path / 'run'}")
    assert refused(outcome, "no track thruth", "['other', 'truth']")
    assert not (tmp_path / "run").exists()


@contextlib.contextmanager
def _disk_of(size: int):
    """No file can grow beyond ``size`` bytes, as when the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _on_a_full_disk(studio, size, *arguments):
    with _disk_of(size):
        return studio(*arguments)


@pytest.mark.parametrize("size", [0, 1_000])
def test_full_disk_in_capture_render_and_export(studio, tiny_demo, tmp_path, size):
    avatar, track = tiny_demo / "run" / "avatar", tiny_demo / "capture" / "tracks" / "truth"
    commands = {
        "demo": ["demo", f"out={tmp_path / 'demo'}", *TINY],
        "ingest": ["ingest", "reader=synthetic", "reader.size=64", "reader.frames=3", f"out={tmp_path / 'capture'}"],
        "video": ["render", f"avatar={avatar}", f"track={track}", f"out={tmp_path / 'a.mp4'}"],
        "ply": ["export", f"avatar={avatar}", f"out={tmp_path / 'a.ply'}"],
        "csv": ["export", f"track={track}", f"out={tmp_path / 'a.csv'}"],
    }
    for name, command in commands.items():
        outcome = _on_a_full_disk(studio, size, *command)
        assert refused(outcome, "the disk is full"), name
        assert names(tmp_path) == [], name


def test_full_disk_in_training_keeps_what_was_there(studio, tiny_demo, tmp_path):
    command = ["train", f"capture={tiny_demo / 'capture'}", "head=procedural", "avatar.iterations=20"]
    command += [
        "avatar.gaussians=1500",
        "avatar.check_every=10",
        "avatar.checkpoint_every=10",
        f"out={tmp_path / 'run'}",
    ]
    outcome = _on_a_full_disk(studio, 40_000, *command)
    assert refused(outcome, "the disk is full")
    assert not [name for name in names(tmp_path) if name.startswith(".")], "half-written files are left"
    assert studio(*command, "resume=true").code == 0
    assert (tmp_path / "run" / "avatar" / "weights.safetensors").is_file()


def test_no_right_to_write(studio, tiny_demo, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    track = tiny_demo / "capture" / "tracks" / "truth"
    outcome = studio("render", f"avatar={tiny_demo / 'run' / 'avatar'}", f"track={track}", f"out={blocked / 'a.mp4'}")
    assert refused(outcome, str(blocked))
    assert blocked.read_text() == "not a folder"
