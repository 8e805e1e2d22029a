"""What every reader must do: be configurable, refuse bad sources, leave sources and existing folders alone."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from capture.readers import Reader, readers, recognise
from studio.cli.help import CONFIGS
from studio.errors import StudioError

FOOTAGE = [name for name, reader in readers().items() if reader.needs_source]


@pytest.mark.parametrize("name", list(readers()))
def test_has_settings_and_a_config_of_the_same_fields(name):
    reader = readers()[name]
    assert isinstance(reader, Reader)
    assert dataclasses.is_dataclass(reader.settings)
    assert reader.settings.__dataclass_params__.frozen
    values = yaml.safe_load((CONFIGS / "reader" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert set(values) - {"kind"} == {item.name for item in dataclasses.fields(reader.settings)}
    assert values["kind"] == name


@pytest.mark.parametrize("name", list(readers()))
def test_does_not_take_an_empty_folder_for_its_own(name, tmp_path):
    assert not readers()[name].accepts(tmp_path)


@pytest.mark.parametrize("name", FOOTAGE)
@pytest.mark.parametrize("source", ["nothing", "empty", "folder"])
def test_refuses_a_bad_source_and_leaves_nothing(name, source, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    reader = readers()[name]
    with pytest.raises(StudioError):
        reader.read(tmp_path / source, tmp_path / "out", reader.settings())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", list(readers()))
def test_refuses_an_existing_folder(name, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    reader = readers()[name]
    with pytest.raises(StudioError):
        reader.read(tmp_path / "source", tmp_path / "out", reader.settings())
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "precious"]


def test_a_source_of_no_known_format_is_named(tmp_path):
    with pytest.raises(StudioError, match="no such file or folder"):
        recognise(tmp_path / "nothing")
    with pytest.raises(StudioError, match=r"of no format that is known; got a folder; expected calibrated_photos"):
        recognise(tmp_path)
