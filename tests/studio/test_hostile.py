"""Folders and files made by somebody who means harm: nothing is executed, one line says what is wrong.

What others test already: serialised objects of trackers (test_unpickler), PNG bombs (test_stored_images), tags of YAML
in projects and jobs (test_hostile_requests).
"""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recon.avatars import load_avatar
from recon.avatars.static_splats import StaticSplats, initial_parameters
from recon.train import train
from recon.train_config import TrainConfig
from studio.captures import open_capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, read_manifest
from studio.media.images import read_image
from tests.recon.ball import ball_cameras, ball_head, ball_track, write_ball_capture
from tests.studio.cli.conftest import studio  # noqa: F401 (a fixture)
from tests.studio.cli.test_bad_input import refused


class Bomb:
    """What a pickle of it runs makes a file."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self):
        return Path.touch, (self.flag,)


@pytest.fixture
def flag(tmp_path) -> Path:
    """A file that is made when something is executed; checked at the end of each test."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A capture with a track, and avatars of two kinds. Copied by each test."""
    folder = tmp_path_factory.mktemp("whole")
    capture = write_ball_capture(folder / "capture")
    ball_track().save(folder / "capture/tracks/fitted")
    train(capture, ball_track(), ball_head(), TrainConfig(gaussians=200, iterations=1), folder / "run")
    random = np.random.default_rng(0)
    parameters = initial_parameters(0.05 * random.normal(size=(50, 3)), random.random((50, 3)), sh_degree=0)
    StaticSplats(parameters, ball_cameras()[1]).save(folder / "static", Manifest(kind="avatar"))
    return folder


@pytest.fixture
def home(whole, tmp_path) -> Path:
    shutil.copytree(whole, tmp_path / "home")
    return tmp_path / "home"


def weights(home: Path, kind: str) -> Path:
    return (home / "run/avatar" if kind == "splats" else home / "static") / "weights.safetensors"


KINDS = ("splats", "static_splats")


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_a_pickle(home, flag, kind):
    path = weights(home, kind)
    path.write_bytes(pickle.dumps(Bomb(flag)))
    with pytest.raises(StudioError, match="damaged avatar"):
        load_avatar(path.parent)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2**63 - 1, 2**40, 10**6])
def test_weights_whose_header_claims_to_be_giant(home, kind, size):
    path = weights(home, kind)
    data = path.read_bytes()
    path.write_bytes(struct.pack("<Q", size) + data[8:])
    with pytest.raises(StudioError, match="damaged avatar"):
        load_avatar(path.parent)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(home, kind, value):
    path = weights(home, kind)
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith(("offsets", "means", "colors", "sh")))
    tensors[name] = torch.full_like(tensors[name], value)
    save_file(tensors, path)
    with pytest.raises(StudioError, match="damaged avatar"):
        load_avatar(path.parent)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_another_shape(home, kind):
    path = weights(home, kind)
    tensors = {name: value[:1].clone() if value.ndim else value for name, value in load_file(path).items()}
    save_file(tensors, path)
    try:
        avatar = load_avatar(path.parent)
    except StudioError as error:
        assert "damaged avatar" in str(error)  # noqa: PT017
    else:  # an avatar of a single Gaussian is one, as long as it can be drawn
        avatar.render(avatar.camera, avatar.codes)


@pytest.mark.parametrize("kind", ["../../evil", "os", "__init__", "splats.SplatAvatar", "", "builtins"])
def test_a_kind_of_avatar_that_is_a_module_of_something_else(home, flag, kind):
    (home / "evil.py").write_text(f"open({str(flag)!r}, 'w')")
    path = home / "static/manifest.json"
    data = json.loads(path.read_text())
    data["body"]["kind"] = kind
    path.write_text(json.dumps(data))
    with pytest.raises(StudioError, match="unknown kind of avatar"):
        load_avatar(home / "static")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"kind": ' * 50_000, "\x00" * 1000, '{"kind": NaN}', "[]", "1e999"])
def test_manifests_that_are_none(home, text):
    (home / "static/manifest.json").write_text(text)
    with pytest.raises(StudioError):
        load_avatar(home / "static")


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", "a/../../b"])
def test_names_that_lead_out_of_a_capture(home, name):
    path = home / "capture/manifest.json"
    data = json.loads(path.read_text())
    data["body"]["timestep_ids"][0] = name
    path.write_text(json.dumps(data))
    with pytest.raises(StudioError, match="a name that no file can have"):
        open_capture(home / "capture")
    data["body"]["timestep_ids"][0] = "000"
    path.write_text(json.dumps(data))
    cameras = home / "capture/cameras.json"
    listed = json.loads(cameras.read_text())
    listed["cameras"][0]["id"] = name
    cameras.write_text(json.dumps(listed))
    with pytest.raises(StudioError, match="a name that no file can have"):
        open_capture(home / "capture")


def test_a_track_with_objects_in_it(home, flag):
    path = home / "capture/tracks/fitted/track.npz"
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    arrays["extra/x"] = np.array([Bomb(flag)], dtype=object)
    np.savez(path, **arrays)
    with pytest.raises(StudioError, match="damaged track"):
        CodeTrack.load(path.parent)


def test_a_track_whose_archive_writes_elsewhere(home, tmp_path):
    """Members of an archive are read by name and never unpacked."""
    path = home / "capture/tracks/fitted/track.npz"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../../../slipped.npy", b"x")
        archive.writestr("extra/../../up.npy", b"x")
    with pytest.raises(StudioError, match="damaged track"):
        CodeTrack.load(path.parent)
    assert not list(tmp_path.rglob("slipped*"))


def test_a_track_that_claims_to_be_giant(home):
    """The array's header asks for a terabyte that the file does not have."""
    path = home / "capture/tracks/fitted/track.npz"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**kept, "expression.npy": array}.items():
            archive.writestr(name, data)
    with pytest.raises(StudioError, match="damaged track"):
        CodeTrack.load(path.parent)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_track_that_is_no_numbers(home, value):
    path = home / "capture/tracks/fitted/track.npz"
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    arrays["expression"] = np.full_like(arrays["expression"], value)
    np.savez(path, **arrays)
    with pytest.raises(StudioError, match="damaged track"):
        CodeTrack.load(path.parent)


def test_a_picture_that_claims_to_be_giant(tmp_path):
    size = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    data = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + size + b"\x08\x02\x00\x00\x00" + b"\x00" * 4
    (tmp_path / "a.png").write_bytes(data + b"\x00\x00\x00\x00IEND\xaeB`\x82")
    with pytest.raises(StudioError, match="cannot read the image"):
        read_image(tmp_path / "a.png")


def test_what_hydra_would_instantiate_is_only_text(studio, tmp_path, flag):  # noqa: F811
    target = f"+avatar._target_=pathlib.Path.touch capture={tmp_path}".split()
    assert refused(studio("train", *target))
    assert refused(studio("train", f"capture={tmp_path}", "avatar._target_=os.system"), "unknown setting")
    hostile = tmp_path / "avatar"
    hostile.mkdir()
    (hostile / "config.yaml").write_text(f"_target_: builtins.open\n_args_: [{flag}, w]\n")
    assert refused(studio("eval", f"run={hostile}"))


def test_a_runs_configuration_with_tags(studio, home, flag):  # noqa: F811
    (home / "run/config.yaml").write_text(f"capture: !!python/object/apply:pathlib.Path.touch [{flag}]\n")
    assert refused(studio("eval", f"run={home / 'run'}"), "cannot tell what")


def test_a_manifest_that_names_files_outside(home):
    path = home / "static/manifest.json"
    data = json.loads(path.read_text())
    data["files"]["../../../../etc/passwd"] = "0" * 16
    path.write_text(json.dumps(data))
    with pytest.raises(StudioError, match="leads out of"):
        read_manifest(home / "static", kind="avatar", verify=True)
