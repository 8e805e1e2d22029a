"""What every driver keeps: found by discovery, tried on its example in driver_examples.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from reenact.drivers import Driver, Driving, driver_class, drivers
from studio.codes import SPACES, CodeTrack
from studio.errors import StudioError
from tests.contracts.driver_examples import EXAMPLES


class Example(NamedTuple):
    """A driver that has driven, and the folder that holds all it knows."""

    driver: Driver
    driving: Driving
    folder: Path


@pytest.fixture(params=sorted(drivers()), scope="module")
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    assert request.param in EXAMPLES, f"driver {request.param} needs an example in tests/contracts/driver_examples.py"
    folder = tmp_path_factory.mktemp(request.param)
    driver = EXAMPLES[request.param](folder)
    return Example(driver, driver.drive(), folder)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_gives_whole_codes_of_a_known_space(example: Example) -> None:
    assert isinstance(example.driving, Driving)
    track = example.driving.track
    space = track.codes.space
    assert SPACES[space.name].hash == space.hash
    assert len(track) > 0
    assert track.fps > 0
    assert bool(track.valid.any())
    for name, value in track.codes.tensors().items():
        assert value.dtype == torch.float32, name
        assert bool(torch.isfinite(value).all()), name
    assert float(track.codes.expression.min()) >= space.low
    assert float(track.codes.expression.max()) <= space.high
    rotation = track.codes.head_to_world[:, :3, :3]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3).expand_as(rotation), atol=1e-4)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(len(track)), atol=1e-4)


def test_says_where_its_codes_come_from(example: Example) -> None:
    driving = example.driving
    assert "expression" in driving.track.provenance
    assert driving.parents
    if driving.audio is not None:
        assert abs(driving.audio.duration - len(driving.track) / driving.track.fps) < 0.5


def test_drives_the_same_twice_and_leaves_its_source_alone(example: Example) -> None:
    before = _contents(example.folder)
    second = example.driver.drive()
    assert _contents(example.folder) == before
    for name, value in example.driving.track.codes.tensors().items():
        assert torch.equal(value, second.track.codes.tensors()[name]), name


def test_survives_being_stored(example: Example, tmp_path: Path) -> None:
    track = example.driving.track
    track.save(tmp_path / "stored")
    back = CodeTrack.load(tmp_path / "stored")
    assert back.fps == track.fps
    for name, value in track.codes.tensors().items():
        assert torch.equal(value, back.codes.tensors()[name]), name


def test_settings_are_frozen_and_a_missing_source_is_one_line(example: Example, tmp_path: Path) -> None:
    driver = example.driver
    assert dataclasses.is_dataclass(driver)
    assert isinstance(driver.relative, bool)
    with pytest.raises(dataclasses.FrozenInstanceError):
        driver.source = tmp_path
    missing = dataclasses.replace(driver, source=tmp_path / "nowhere")
    with pytest.raises(StudioError, match="nowhere"):
        missing.drive()


def test_unknown_driver_names_those_there_are() -> None:
    with pytest.raises(StudioError, match=r"livelink.*track"):
        driver_class("telepathy")
