"""Folders: whole or not at all, never overwritten, checked when read."""

import errno
import json

import pytest

from studio.errors import StudioError
from studio.folders import Manifest, content_hash, next_free, read_manifest, require_new, write_folder, write_json

RUN = Manifest(kind="run", seed=3, body={"note": "x"})


def _make(folder, manifest=RUN):
    with write_folder(folder, manifest) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "data.bin").write_bytes(b"12345")
    return folder


def _fill_the_disk(folder):
    with write_folder(folder, RUN) as temporary:
        (temporary / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")


def test_round_trip_with_hashes(tmp_path):
    folder = _make(tmp_path / "deep" / "run")
    manifest = read_manifest(folder, kind="run", verify=True)
    assert (manifest.seed, manifest.body["note"]) == (3, "x")
    assert manifest.files == {"inner/data.bin": content_hash(folder / "inner" / "data.bin")}
    assert {"python", "torch"} <= set(manifest.versions)


def test_nothing_is_left_when_writing_fails(tmp_path):
    with pytest.raises(OSError, match="No space"):
        _fill_the_disk(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), write_folder(tmp_path / "run", RUN):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_refused_and_untouched(tmp_path):
    folder = _make(tmp_path / "run")
    with pytest.raises(StudioError, match=r"exists already.*expected a new name"):
        _make(folder)
    assert (folder / "inner" / "data.bin").read_bytes() == b"12345"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_empty_folder_and_file_in_the_way(tmp_path):
    (tmp_path / "empty").mkdir()
    assert read_manifest(_make(tmp_path / "empty"), kind="run").kind == "run"
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudioError, match="exists already"):
        require_new(tmp_path / "file")


def test_next_free(tmp_path):
    assert next_free(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").mkdir()
    assert next_free(tmp_path / "demo") == tmp_path / "demo-3"


def test_missing_and_damaged_files_are_named(tmp_path):
    folder = _make(tmp_path / "run")
    data = folder / "inner" / "data.bin"
    data.write_bytes(b"54321")
    assert read_manifest(folder, kind="run").kind == "run"
    with pytest.raises(StudioError, match=r"damaged file: .*data\.bin"):
        read_manifest(folder, kind="run", verify=True)
    data.unlink()
    with pytest.raises(StudioError, match=r"missing file: .*data\.bin"):
        read_manifest(folder, kind="run")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "\x00\x01"])
def test_damaged_manifest(tmp_path, text):
    folder = _make(tmp_path / "run")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(StudioError, match="damaged manifest"):
        read_manifest(folder, kind="run")


def test_wrong_kind_newer_schema_no_folder(tmp_path):
    folder = _make(tmp_path / "run")
    with pytest.raises(StudioError, match="got run; expected avatar"):
        read_manifest(folder, kind="avatar")
    assert read_manifest(folder, kind=None).kind == "run"
    data = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(data | {"schema": 99}))
    with pytest.raises(StudioError, match="made by a newer studio"):
        read_manifest(folder, kind="run")
    with pytest.raises(StudioError, match="no such folder"):
        read_manifest(tmp_path / "none", kind="run")
    with pytest.raises(StudioError, match=r"got no manifest\.json"):
        read_manifest(tmp_path, kind="run")


def test_unknown_manifest_keys_of_the_same_schema_are_ignored(tmp_path):
    folder = _make(tmp_path / "run")
    data = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(data | {"mood": "good"}))
    assert read_manifest(folder, kind="run").kind == "run"


def test_json_is_replaced_whole_and_holds_no_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]
