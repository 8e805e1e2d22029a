"""A timeline that is edited while it plays: plain values as in a project file, composed anew after every change."""

from __future__ import annotations

import copy
import math
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from reenact.project.job import Composed, compose_project
from reenact.project.schema import Project, parse_project, read_project
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.errors import StudioError
from studio.media.whole_files import whole_file
from viewer.session import Listener

CACHE = ".viewer.cache"
_NAME = "avatar"  # of the character, in projects with one
Data = dict[str, Any]
_NUMBERS = {"gain": 1.0, "delay": 0.0, "smoothing": 0.0}


class Direction:
    """A project being edited. All methods may be called from any thread.

    Args:
        avatar: who plays it.
        folder: the avatar's, for the file; None for one without, whose project can be played and not saved.
        base: what relative paths in the project are relative to.
        on_composed: receives what came of a change, on a thread of its own.

    Attributes:
        data: the project as plain values; change it through ``edit`` only.
        problem: why the last change could not be composed; empty when it could.
        composed: the newest that could.
    """

    def __init__(
        self, avatar: Avatar, folder: Path | None, base: Path, on_composed: Callable[[Composed], object]
    ) -> None:
        self._avatar = avatar
        self._base = base.resolve()
        self._on_composed = on_composed
        self._listeners: list[Listener] = []
        self._changed = threading.Condition()
        self._wanted: Data | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._saved: set[Path] = set()
        path = _NAME if folder is None else os.path.relpath(folder.resolve(), self._base)
        self.data: Data = {"avatar": path, "fps": 25, "sources": {}, "channels": {}, "emotion": [], "cameras": []}
        self.problem = ""
        self.composed: Composed | None = None

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
        data["avatar"] = os.path.relpath(self._base / data["avatar"], path.parent)
        for source in data["sources"].values():
            if "source" in source and source["source"] != "udp":
                source["source"] = os.path.relpath(self._base / source["source"], path.parent)
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # ours: saved or opened before
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._saved.add(path)

    def open(self, path: Path) -> None:
        """Go on with a project file of one character. Raises StudioError when it cannot be edited here."""
        project = read_project(path)
        if len(project.characters) != 1:
            raise StudioError("the viewer directs one character", got=f"{len(project.characters)}")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "characters" in data:
            data |= next(iter(data.pop("characters").values()))
        data["channels"] = {name: _first(routes) for name, routes in data.get("channels", {}).items()}
        for source in data["sources"].values():
            if "source" in source and source["source"] != "udp":
                source["source"] = os.path.relpath(path.parent / source["source"], self._base)
        data["avatar"] = self.data["avatar"]
        data = {**{"fps": 25, "emotion": [], "cameras": []}, **data}
        self._saved.add(path)

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
                    project = parse_project(tidied(data), self._base)
                    name = next(iter(project.characters))
                    self.composed = compose_project(project, {name: self._avatar}, self._base / CACHE)
                    self._on_composed(self.composed)
                self.problem = ""
            except StudioError as error:
                self.problem = str(error)
            except Exception as error:  # a driver of somebody's must not end the viewer
                self.problem = f"{type(error).__name__}: {error}"
            for listener in self._listeners:
                listener()


def tidied(data: Mapping[str, Any]) -> Data:
    """The values without what says nothing, as a person would write them."""
    result = copy.deepcopy(dict(data))
    channels = {}
    for name, route in result["channels"].items():
        if isinstance(route, dict):
            kept = {k: v for k, v in route.items() if v != _NUMBERS.get(k) and v not in ({}, None)}
            channels[name] = kept["source"] if set(kept) == {"source"} else kept
        else:
            channels[name] = route
    result["channels"] = channels
    return {name: value for name, value in result.items() if value not in ([], None)}


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
