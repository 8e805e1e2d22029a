"""A timeline that is edited while it plays, and the file that comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reenact.project.job import Composed
from reenact.project.schema import read_project
from studio.cameras import Camera
from studio.codes import Codes
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid
from tests.viewer.avatars import CardAvatar, own_camera, still
from viewer.direction import Direction, camera_key
from viewer.panels.lane import curves_of, offsets_of


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    track = still(Codes.neutral(), frames=50)
    opening = torch.linspace(0.0, 0.8, 50)
    replace(track, codes=track.codes.with_channels(jawOpen=opening)).save(tmp_path / "talk")
    return tmp_path / "talk"


@pytest.fixture
def made() -> list[Composed]:
    return []


@pytest.fixture
def direction(tmp_path: Path, talk: Path, made: list[Composed]) -> Iterator[Direction]:
    direction = Direction(CardAvatar(), tmp_path / "anna", tmp_path, made.append)
    yield direction
    direction.close()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def jaw(made: list[Composed]) -> float:
    """The widest that the newest composition opens the jaw."""
    (track,) = made[-1].tracks.values()
    return float(track.codes.expression[:, track.codes.space.index("jawOpen")].max())


def direct(data: dict[str, object]) -> None:
    data["sources"] = {"talk": {"kind": "track", "source": "talk"}}
    data["channels"] = {"all": {"source": "talk", "gain": 1.0, "offset": {}}}
    data["guard"] = False


def test_edits_are_heard_and_saved_as_a_project(tmp_path: Path, direction: Direction, made: list[Composed]) -> None:
    direction.edit(direct)
    wait_for(lambda: bool(made))
    assert jaw(made) == pytest.approx(0.8, abs=0.02)
    direction.edit(lambda data: data["channels"].update(jaw={"source": "talk", "gain": 0.5, "delay": 0.0}))
    wait_for(lambda: jaw(made) < 0.5)
    direction.edit(lambda data: data["emotion"].append({"at": 0.5, "do": "smile", "strength": 0.7}))
    path = tmp_path / "shots" / "first.yaml"
    direction.save(path)
    project = read_project(path)
    character = project.characters["avatar"]
    assert (path.parent / project.sources["talk"]["source"]).resolve() == tmp_path / "talk"
    assert (path.parent / character.avatar).resolve() == tmp_path / "anna"
    assert character.channels["jaw"][0].gain == 0.5
    assert character.emotion[0].do == "smile"
    direction.save(path)  # its own file may be written again
    other = Direction(CardAvatar(), tmp_path / "anna", tmp_path, made.append)
    with pytest.raises(StudioError, match="exists already"):
        other.save(path)
    other.open(path)
    assert other.data["channels"]["jaw"] == {"source": "talk", "gain": 0.5}
    other.save(path)
    assert read_project(path) == project
    other.close()


def test_mistakes_are_told_and_the_last_good_one_plays_on(direction: Direction, made: list[Composed]) -> None:
    direction.edit(direct)
    wait_for(lambda: bool(made))
    direction.edit(lambda data: data["sources"].update(voice={"kind": "track", "source": "nowhere"}))
    wait_for(lambda: "nowhere" in direction.problem)
    assert len(made) == 1
    direction.edit(lambda data: data["sources"].pop("voice"))
    wait_for(lambda: not direction.problem)


@pytest.mark.parametrize(("yaw", "pitch", "zoom"), [(0.0, 0.0, 1.0), (25.0, 0.0, 2.0), (-40.0, 12.0, 0.8)])
def test_a_view_becomes_the_key_that_shows_it(yaw: float, pitch: float, zoom: float) -> None:
    start: Camera = own_camera()
    turn = axis_angle_to_matrix(torch.tensor((math.radians(pitch), 0.0, 0.0)))
    turn = turn @ axis_angle_to_matrix(torch.tensor((0.0, math.radians(yaw), 0.0)))
    viewmat = rigid(turn, torch.zeros(3)) @ start.viewmats[0]
    fov = 2 * math.atan(math.tan(0.25) / zoom)
    key = camera_key(1.5, viewmat, fov, start, 0.5, 1.0)
    assert key == {"at": 1.5, "yaw": pytest.approx(yaw, abs=0.1), "pitch": pytest.approx(pitch, abs=0.1)} | {
        "zoom": pytest.approx(zoom, abs=0.01),
        "distance": 1.0,
    }


def test_lanes_show_what_moves() -> None:
    track = still(Codes.neutral(), frames=3000)
    codes = track.codes.with_channels(jawOpen=torch.linspace(0, 1, 3000))
    times, names, curves = curves_of("jaw", replace(track, codes=codes))
    assert names[0] == "jawOpen"
    assert len(times) == len(curves[0]) <= 1000
    assert curves[0][-1] == pytest.approx(1.0, abs=0.01)
    assert curves_of("head", track)[1] == ("nod", "turn", "tilt")
    assert "browInnerUp" in offsets_of("brows")
    assert offsets_of("all") == ()
