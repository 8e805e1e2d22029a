"""What the drivers of a project give, kept by the content of everything that it depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reenact.curves.hashing import source_hash
from reenact.drivers import Driver, Driving, driver_class
from studio import __version__
from studio.building import build
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.logs import say
from studio.media.audio import Audio

_LIVE = ("udp",)  # sources that are not the same twice: never kept


class SourceCache:
    """Tracks and sounds of drivers in a folder, named by a hash of the settings and of the files they read.

    Args:
        folder: the cache; made when something is kept.

    Attributes:
        computed: names of the sources that had to be made anew.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.computed: list[str] = []

    def driving(self, name: str, settings: Mapping[str, Any], base: Path) -> tuple[Driving, bool]:
        """What a source gives, and whether its motion is to be transferred relative to neutral.

        Args:
            name: of the source.
            settings: ``kind`` and the fields of the driver; "relative" overrides the driver's way.
            base: what relative paths are relative to.

        Raises:
            StudioError: settings that do not fit, or the source cannot be used.
        """
        driver, relative = make_source(name, settings, base)
        key = _key(driver)
        place = self._folder / f"source_{key}"
        if key and place.is_dir():
            try:
                return _load(place), relative
            except (StudioError, OSError, ValueError, KeyError):
                shutil.rmtree(place, ignore_errors=True)  # ours: a copy that was damaged
        say(f"{name}: {settings['kind']} {settings.get('source', '')} …")
        driving = driver.drive()
        self.computed.append(name)
        if key:
            _save(place, driving)
        return driving, relative


def make_source(name: str, settings: Mapping[str, Any], base: Path) -> tuple[Driver, bool]:
    """The driver of a source, and whether it is relative."""
    chosen = driver_class(str(settings["kind"]))
    values = {key: value for key, value in settings.items() if key not in ("kind", "relative", "at")}
    for key, hint in typing.get_type_hints(chosen).items():
        takes_path = Path in (hint, *typing.get_args(hint))
        if takes_path and isinstance(values.get(key), str) and values[key] not in _LIVE:
            values[key] = str(base / Path(values[key]).expanduser())
    driver = build(chosen, values, name)
    relative = settings.get("relative", driver.relative)
    if not isinstance(relative, bool):
        raise StudioError(f"wrong value of {name}.relative", got=relative, expected="true or false")
    return driver, relative


def _key(driver: Driver) -> str:
    """A hash of the driver's settings and of the files that they name; empty for what is never the same twice."""
    parts: list[Any] = [__version__, type(driver).__name__]
    for item in dataclasses.fields(driver):  # type: ignore[arg-type]
        value = getattr(driver, item.name)
        if isinstance(value, Path):
            if str(value) in _LIVE:
                return ""
            parts.append([item.name, source_hash(value) if value.exists() else str(value)])
        else:
            parts.append([item.name, repr(value)])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _save(place: Path, driving: Driving) -> None:
    extras = dict(driving.track.extras)
    if driving.audio is not None:
        extras |= {"driving/samples": driving.audio.samples, "driving/rate": np.array(driving.audio.rate)}
    if driving.rest is not None:
        extras |= {f"driving/rest/{name}": value.numpy() for name, value in driving.rest.tensors().items()}
    track = dataclasses.replace(driving.track, extras=extras)
    track.save(place, parents=driving.parents)


def _load(place: Path) -> Driving:

    track = CodeTrack.load(place)
    own = {name: value for name, value in track.extras.items() if name.startswith("driving/")}
    extras = {name: value for name, value in track.extras.items() if name not in own}
    audio = Audio(own["driving/samples"], int(own["driving/rate"])) if "driving/rate" in own else None
    parts = {name.removeprefix("driving/rest/"): value for name, value in own.items() if "/rest/" in name}
    rest = (
        Codes(track.codes.space, **{name: torch.from_numpy(value) for name, value in parts.items()}) if parts else None
    )
    parents = read_manifest(place, kind="track", verify=True).parents
    return Driving(dataclasses.replace(track, extras=extras), audio, parents, rest=rest)
