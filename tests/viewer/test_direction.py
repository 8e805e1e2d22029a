"""A timeline that is edited while it plays, and the file that comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reenact.project.scene import Actor, render_scene, scene_camera
from reenact.project.schema import read_project
from studio.cameras import Camera
from studio.codes import Codes
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid
from tests.viewer.avatars import CardAvatar, own_camera, still
from viewer.direction import Direction, Take, camera_key, tidied
from viewer.modes import Sight, paint
from viewer.panels.lane import curves_of, offsets_of


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    track = still(Codes.neutral(), frames=50)
    opening = torch.linspace(0.0, 0.8, 50)
    replace(track, codes=track.codes.with_channels(jawOpen=opening)).save(tmp_path / "talk")
    return tmp_path / "talk"


@pytest.fixture
def made() -> list[Take]:
    return []


@pytest.fixture
def direction(tmp_path: Path, talk: Path, made: list[Take]) -> Iterator[Direction]:
    direction = Direction(CardAvatar(), tmp_path / "anna", tmp_path, made.append)
    yield direction
    direction.close()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def jaw(made: list[Take]) -> float:
    """The widest that the newest composition opens the jaw."""
    track = made[-1].track
    return float(track.codes.expression[:, track.codes.space.index("jawOpen")].max())


def direct(data: dict[str, object]) -> None:
    data["sources"] = {"talk": {"kind": "track", "source": "talk"}}
    own: Any = data["characters"]["avatar"]  # type: ignore[index]
    own |= {"channels": {"all": {"source": "talk", "gain": 1.0, "offset": {}}}, "guard": False}


def test_edits_are_heard_and_saved_as_a_project(tmp_path: Path, direction: Direction, made: list[Take]) -> None:
    direction.edit(direct)
    wait_for(lambda: bool(made))
    assert jaw(made) == pytest.approx(0.8, abs=0.02)
    direction.direct(lambda own: own["channels"].update(jaw={"source": "talk", "gain": 0.5, "delay": 0.0}))
    wait_for(lambda: jaw(made) < 0.5)
    direction.direct(lambda own: own["emotion"].append({"at": 0.5, "do": "smile", "strength": 0.7}))
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
    assert other.character["channels"]["jaw"] == {"source": "talk", "gain": 0.5}
    other.save(path)
    assert read_project(path) == project
    other.close()


def test_several_characters_have_lanes_of_their_own(tmp_path: Path, talk: Path, made: list[Take]) -> None:
    opened: list[Path] = []

    def load(folder: Path, most: int | None) -> CardAvatar:
        opened.append(folder)
        return CardAvatar()

    direction = Direction(CardAvatar(), tmp_path / "anna", tmp_path, made.append, load)
    direction.edit(direct)
    direction.add("bea", tmp_path / "bea" / "avatar")
    assert direction.chosen == "bea"
    assert not direction.character["channels"], "the lanes of the first were shown for the second"
    direction.direct(lambda bea: bea.update(channels={"all": {"source": "talk", "gain": 0.25}}, guard=False))
    wait_for(lambda: bool(made) and bool(made[-1].company) and "bea" in made[-1].made.tracks)
    wait_for(lambda: 0.1 < opening_of(made[-1], "bea") < 0.3)
    assert jaw(made) == pytest.approx(0.8, abs=0.02)
    assert opened == [tmp_path / "bea" / "avatar"], "opened once, whatever else was changed"
    with pytest.raises(StudioError, match="stays"):
        direction.remove("avatar")
    with pytest.raises(StudioError, match="already"):
        direction.add("bea", tmp_path / "carl")
    direction.save(tmp_path / "shots" / "two.yaml")
    project = read_project(tmp_path / "shots" / "two.yaml")
    assert {name: c.channels["all"][0].gain for name, c in project.characters.items()} == {"avatar": 1.0, "bea": 0.25}
    folders = {(tmp_path / "shots" / c.avatar).resolve() for c in project.characters.values()}
    assert folders == {tmp_path / "anna", tmp_path / "bea" / "avatar"}
    other = Direction(CardAvatar(), tmp_path / "bea" / "avatar", tmp_path, made.append, load)
    other.open(tmp_path / "shots" / "two.yaml")
    assert other.own == other.chosen == "bea"
    other.remove("avatar")
    assert list(tidied(other.data)["characters"]) == ["bea"]
    direction.close()
    other.close()


def opening_of(take: Take, name: str) -> float:
    codes = take.made.tracks[name].codes
    return float(codes.expression[:, codes.space.index("jawOpen")].max())


def test_the_others_stand_where_a_render_puts_them(tmp_path: Path, talk: Path, made: list[Take]) -> None:
    direction = Direction(CardAvatar(), tmp_path / "anna", tmp_path, made.append, lambda folder, most: CardAvatar())
    direction.edit(direct)
    direction.add("bea", tmp_path / "bea")
    wait_for(lambda: bool(made) and bool(made[-1].company))
    direction.close()
    take, frame, size = made[-1], 20, (180, 120)
    cast = [Actor(take.avatars[name], take.made.tracks[name].codes, take.stages[name]) for name in take.avatars]
    camera, _ = scene_camera([actor.avatar for actor in cast], [actor.stage for actor in cast])
    rendered = render_scene(cast, camera.resized(*size), frame).pixels(torch.zeros(3))[0]
    start, _ = take.camera()
    company = tuple(replace(actor, codes=actor.codes[frame : frame + 1]) for actor in take.company)
    sight = Sight(
        take.avatars[take.own], start.resized(*size), take.track.codes[frame], torch.zeros(3), company=company
    )
    difference = np.abs(rendered.astype(int) - paint("colour", sight))
    assert (difference > 2).mean() < 0.01  # single pixels at the cards' edges
    columns = np.flatnonzero(rendered.max((0, 2)) > 50)
    assert np.diff(columns).max() > 5, "one card, not two beside each other"


def test_mistakes_are_told_and_the_last_good_one_plays_on(direction: Direction, made: list[Take]) -> None:
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
