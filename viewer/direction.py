"""A timeline that is edited while it plays: plain values as in a project file, composed anew after every change."""

from __future__ import annotations

import copy
import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from recon.avatars import load_avatar
from reenact.project.job import Composed, compose_project
from reenact.project.scene import Actor, scene_camera, staged
from reenact.project.schema import Character, Project, parse_project, read_project
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.media.whole_files import whole_file
from studio.rotations import rigid_inverse, transform_points
from viewer.session import Listener

CACHE = ".viewer.cache"
_NAME = "avatar"  # of the character, in projects with one
_OF_CHARACTER = tuple(item.name for item in fields(Character))
Data = dict[str, Any]
_NUMBERS = {"gain": 1.0, "delay": 0.0, "smoothing": 0.0}


@dataclass(frozen=True)
class Take:
    """What came of the values.

    Args:
        made: the codes of all characters.
        own: the character that the viewer's avatar plays.
        avatars: of all characters.
        stages: [4, 4] for each, from its own world to that of the scene.
    """

    made: Composed
    own: str
    avatars: Mapping[str, Avatar]
    stages: Mapping[str, torch.Tensor]

    @property
    def track(self) -> CodeTrack:
        """Of the viewer's avatar, in its own world."""
        return self.made.tracks[self.own]

    @property
    def company(self) -> tuple[Actor, ...]:
        """The others, in the world of the viewer's avatar."""
        back = rigid_inverse(self.stages[self.own])
        others = [name for name in self.avatars if name != self.own]
        return tuple(Actor(self.avatars[n], self.made.tracks[n].codes, back @ self.stages[n]) for n in others)

    def camera(self) -> tuple[Camera, torch.Tensor]:
        """Where a render is seen from without camera keys, and what keys turn round [3]; in the same world."""
        start, target = scene_camera(list(self.avatars.values()), list(self.stages.values()))
        stage = self.stages[self.own]
        return replace(start, viewmats=start.viewmats @ stage), transform_points(rigid_inverse(stage), target[None])[0]


class Direction:
    """A project being edited. All methods may be called from any thread.

    Args:
        avatar: who plays one of the characters; the others are opened when they are needed.
        folder: the avatar's, for the file; None for one without, whose project can be played and not saved.
        base: what relative paths in the project are relative to.
        on_composed: receives what came of a change, on a thread of its own.
        load: opens the avatar of a folder with at most so many Gaussians.

    Attributes:
        data: the project as plain values, always with ``characters`` and a list of sounds; change it through ``edit``.
        problem: why the last change could not be composed; empty when it could.
        take: the newest that could.
    """

    def __init__(
        self,
        avatar: Avatar,
        folder: Path | None,
        base: Path,
        on_composed: Callable[[Take], object],
        load: Callable[[Path, int | None], Avatar] = lambda path, most: load_avatar(path, "auto", most),
    ) -> None:
        self._avatar = avatar
        self._base = base.resolve()
        self._on_composed = on_composed
        self._load = load
        self._loaded: dict[tuple[Path, int | None], Avatar] = {}
        self._listeners: list[Listener] = []
        self._changed = threading.Condition()
        self._wanted: Data | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._saved: set[Path] = set()
        self._path = _NAME if folder is None else os.path.relpath(folder.resolve(), self._base)
        self._chosen = _NAME
        cast = {_NAME: _newcomer(self._path)}
        self.data: Data = {"fps": 25, "characters": cast, "sources": {}, "sound": [], "cameras": []}
        self.problem = ""
        self.take: Take | None = None

    @property
    def own(self) -> str:
        """The character that the viewer's avatar plays."""
        return self._own_of(self.data)

    @property
    def chosen(self) -> str:
        """The character that is being directed."""
        return self._chosen if self._chosen in self.data["characters"] else self.own

    @property
    def character(self) -> Data:
        """The values of the one that is being directed; change them through ``direct``."""
        values: Data = self.data["characters"][self.chosen]
        return values

    def choose(self, name: str) -> None:
        """Direct another character."""
        self._chosen = name

    def add(self, name: str, folder: Path) -> None:
        """A further character, played by the avatar of a folder. Raises StudioError when the name is taken."""
        path = os.path.relpath(folder.resolve(), self._base)
        if name in self.data["characters"] or path == self._path:
            raise StudioError("this character is there already", got=name, next="choose another name and avatar")
        self.edit(lambda data: data["characters"].update({name: _newcomer(path)}))
        self._chosen = name

    def remove(self, name: str) -> None:
        """Without a character. Raises StudioError for the viewer's own."""
        if name == self.own:
            raise StudioError("the avatar that was opened stays", got=name)
        self.edit(lambda data: data["characters"].pop(name, None))

    def direct(self, change: Callable[[Data], object]) -> None:
        """Change the values of the character that is being directed, as ``edit`` does."""
        name = self.chosen
        self.edit(lambda data: change(data["characters"][name]))

    def on_news(self, listener: Listener) -> None:
        """Called when something was composed, or could not be."""
        self._listeners.append(listener)

    def edit(self, change: Callable[[Data], object]) -> None:
        """Change the values; what comes of them follows on a thread of its own, the newest only."""
        with self._changed:
            data = copy.deepcopy(self.data)
            change(data)
            self.data = self._wanted = data
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="viewer-direction", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Compose nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def project(self) -> Project:
        """The values, checked. Raises StudioError where they make no project."""
        return parse_project(tidied(self.data), self._base)

    def save(self, path: Path) -> None:
        """Write a project file that ``studio render`` takes.

        Raises:
            StudioError: the values make no project, or the file is somebody else's.
        """
        self.project()
        if path.exists() and path not in self._saved:
            raise StudioError(f"{path.name} exists already", next="choose another name, or open it first")
        data = tidied(self.data)
        _move(data, self._base, path.parent)
        (name, character), *others = data["characters"].items()
        if not others and name == _NAME and "place" not in character:
            data = {**character, **{key: value for key, value in data.items() if key != "characters"}}
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # ours: saved or opened before
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._saved.add(path)

    def open(self, path: Path) -> None:
        """Go on with a project file; the viewer's avatar plays the character of its folder, or else the first.

        Raises:
            StudioError: it is no project.
        """
        read_project(path)
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "characters" not in data:
            data["characters"] = {_NAME: {name: data.pop(name) for name in _OF_CHARACTER if name in data}}
        data = {**{"fps": 25, "cameras": []}, **data}
        data["sound"] = [data["sound"]] if isinstance(data.get("sound"), str) else data.get("sound", [])
        _move(data, path.parent, self._base)
        for character in data["characters"].values():
            character["channels"] = {name: _first(routes) for name, routes in character["channels"].items()}
            character.setdefault("emotion", [])
        if self._path not in [character["avatar"] for character in data["characters"].values()]:
            next(iter(data["characters"].values()))["avatar"] = self._path
        self._saved.add(path)
        self._chosen = self._own_of(data)

        def replace_all(old: Data) -> None:
            old.clear()
            old.update(data)

        self.edit(replace_all)

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                data, self._wanted = self._wanted, None
            try:
                if data is not None and data["sources"]:
                    self.take = self._composed(data)
                    self._on_composed(self.take)
                self.problem = ""
            except StudioError as error:
                self.problem = str(error)
            except Exception as error:  # a driver of somebody's must not end the viewer
                self.problem = f"{type(error).__name__}: {error}"
            for listener in self._listeners:
                listener()

    def _composed(self, data: Data) -> Take:
        project, own = parse_project(tidied(data), self._base), self._own_of(data)
        wanted = {
            name: ((self._base / character.avatar).resolve(), character.gaussians)
            for name, character in project.characters.items()
            if name != own
        }
        self._loaded = {key: self._loaded.get(key) or self._load(*key) for key in wanted.values()}
        avatars = {name: self._avatar if name == own else self._loaded[wanted[name]] for name in project.characters}
        made = compose_project(project, avatars, self._base / CACHE)
        places = {name: character.place for name, character in project.characters.items()}
        return Take(made, own, avatars, staged(avatars, places))

    def _own_of(self, data: Data) -> str:
        return next(name for name, values in data["characters"].items() if values["avatar"] == self._path)


def tidied(data: Mapping[str, Any]) -> Data:
    """The values without what says nothing, as a person would write them."""
    result = copy.deepcopy(dict(data))
    if len(result["sound"]) == 1:
        (result["sound"],) = result["sound"]
    result["characters"] = {name: _tidied_character(values) for name, values in result["characters"].items()}
    return _telling(result)


def _tidied_character(values: Data) -> Data:
    channels = {}
    for name, route in values["channels"].items():
        if isinstance(route, dict):
            kept = {k: v for k, v in route.items() if v != _NUMBERS.get(k) and v not in ({}, None)}
            channels[name] = kept["source"] if set(kept) == {"source"} else kept
        else:
            channels[name] = route
    return _telling({**values, "channels": channels})


def _telling(values: Data) -> Data:
    return {name: value for name, value in values.items() if value not in ([], None)}


def _newcomer(avatar: str) -> Data:
    """A character that nothing drives yet."""
    return {"avatar": avatar, "channels": {}, "emotion": []}


def _move(data: Data, before: Path, after: Path) -> None:
    """Make the paths of a project relative to another folder."""
    for holder, name in (
        *((character, "avatar") for character in data["characters"].values()),
        *((character["style"], "source") for character in data["characters"].values() if character.get("style")),
        *((source, "source") for source in data["sources"].values() if source.get("source", "udp") != "udp"),
    ):
        holder[name] = os.path.relpath((before / Path(holder[name]).expanduser()).resolve(), after)


def camera_key(at: float, viewmat: torch.Tensor, fov: float, start: Camera, start_fov: float, reach: float) -> Data:
    """A view as a camera key.

    Args:
        at: seconds.
        viewmat: [4, 4] of the view.
        fov: its vertical field of view, radians.
        start: the avatar's own camera, about whose target keys turn (C = 1).
        start_fov: vertical field of view that shows the same as its image, in the same window.
        reach: distance of the view from what it looks at, over that of the avatar's own camera.
    """
    turn = viewmat[:3, :3] @ start.viewmats[0, :3, :3].T
    yaw = math.degrees(math.atan2(float(turn[0, 2]), float(turn[0, 0])))
    pitch = math.degrees(math.atan2(float(turn[2, 1]), float(turn[1, 1])))
    zoom = math.tan(start_fov / 2) / math.tan(fov / 2)
    values = {"yaw": round(yaw, 1), "pitch": round(min(max(pitch, -85.0), 85.0), 1)}
    values |= {"zoom": round(min(max(zoom, 0.1), 10.0), 2), "distance": round(min(max(reach, 0.2), 10.0), 2)}
    return {"at": round(at, 2), **values}


def _first(routes: Any) -> Any:
    """What a lane edits: the only route of a channel, whole; several are kept as they are."""
    if isinstance(routes, str):
        return {"source": routes}
    return routes[0] if isinstance(routes, list) and len(routes) == 1 else routes
