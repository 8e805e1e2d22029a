"""The project file: plain YAML, checked against these dataclasses, every mistake answered with the nearest name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reenact.project.channels import CHANNELS
from reenact.project.handover import Missing
from reenact.render_config import RenderConfig
from reenact.retarget import RetargetConfig
from studio.building import build, convert
from studio.codes import ARKIT52
from studio.errors import StudioError
from studio.nearest import did_you_mean
from studio.plain_yaml import read_plain_yaml

HEAD_OFFSETS = ("yaw", "pitch", "roll")  # degrees: to the subject's left, down, to the right shoulder


@dataclass(frozen=True)
class Route:
    """A stretch of a channel that a source drives. Times are seconds of the project, on whose clock all sources run.

    Args:
        source: name of the source.
        start: when it begins.
        end: when it ends; with the project, or where the next one of the channel has faded in, when not given.
        gain: of the motion away from the avatar's rest.
        offset: added to single channels by name (weights), or to the head's yaw, pitch, roll (degrees).
        delay: how much later than in its recording a motion comes; below 0 earlier.
        smoothing: standard deviation, seconds, of an average over time.
        fade: seconds of the cross-fade from what was before.
        missing: what happens where the source has nothing: its last state is held, it fades to rest, or the procedural
            motion takes over.
    """

    source: str
    start: float = 0.0
    end: float | None = None
    gain: float = 1.0
    offset: Mapping[str, float] = field(default_factory=dict)
    delay: float = 0.0
    smoothing: float = 0.0
    fade: float = 0.25
    missing: Missing = "hold"

    def __post_init__(self) -> None:
        if not 0 <= self.gain <= 5 or not 0 <= self.smoothing <= 5 or not 0 <= self.fade <= 30:
            raise StudioError(
                f"impossible route of {self.source}",
                got=f"gain {self.gain}, smoothing {self.smoothing} s, fade {self.fade} s",
                expected="gain 0 to 5, smoothing 0 to 5 s, fade 0 to 30 s",
            )
        if self.end is not None and self.end <= self.start:
            raise StudioError(f"a route of {self.source} ends before it begins", got=f"{self.start} to {self.end} s")
        for name in self.offset:
            if name not in ARKIT52.channels and name not in HEAD_OFFSETS:
                near = did_you_mean(name, (*ARKIT52.channels, *HEAD_OFFSETS))
                raise StudioError(f"unknown offset of {self.source}", got=name, expected=near or "a channel of arkit52")


@dataclass(frozen=True)
class EmotionKey:
    """An emotion or action from a time on.

    Args:
        at: when it begins, seconds.
        do: a direction in plain words, such as "tired smile, brows up"; see ``reenact.emotion.directions``.
        until: when it is over; at the next key when not given.
        strength: of all of it.
        valence: -1 to 1, unpleasant to pleasant; instead of words.
        arousal: -1 to 1, drowsy to excited.
    """

    at: float = 0.0
    do: str = ""
    until: float | None = None
    strength: float = 1.0
    valence: float | None = None
    arousal: float | None = None


@dataclass(frozen=True)
class CameraKey:
    """Where the camera is at a time; in between it moves smoothly.

    Args:
        at: seconds.
        yaw: degrees round the head, to the subject's left.
        pitch: degrees, upwards.
        zoom: 2 shows the head twice as large, from where the camera is.
        distance: times the usual one.
    """

    at: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    zoom: float = 1.0
    distance: float = 1.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.zoom <= 10 or not 0.2 <= self.distance <= 10 or abs(self.pitch) > 85:
            raise StudioError("impossible camera key", got=self, expected="zoom 0.1 to 10, distance 0.2 to 10")


@dataclass(frozen=True)
class Place:
    """Where a character is in a scene of several: metres to the right, up and to the camera, degrees to the right."""

    right: float = 0.0
    up: float = 0.0
    near: float = 0.0
    turn: float = 0.0


@dataclass(frozen=True)
class StyleUse:
    """A style that was learned from a track.

    Args:
        source: a style file, or a track folder or capture to learn it from.
        strength: 0 leaves the motion as it is, 1 takes the style over.
    """

    source: Path
    strength: float = 1.0


@dataclass(frozen=True)
class Character:
    """An avatar and what drives it.

    Args:
        avatar: avatar folder.
        channels: channel -> what drives it, in the order of time; "all" stands for the channels that are not named.
        emotion: emotion keys, added to what the channels do.
        style: a style that is applied to all sources.
        alive: seed of the procedural motion (blinks, gaze, breath, head) of a channel that nobody drives, or whose
            route says ``missing: procedural``; null leaves channels without a source at rest.
        place: in a scene of several.
        guard: bend back what leaves what the avatar has learned.
        retarget: strengths with which the sources are transferred.
        gaussians: finest level of detail with at most so many.
    """

    avatar: Path
    channels: Mapping[str, tuple[Route, ...]]
    emotion: tuple[EmotionKey, ...] = ()
    style: StyleUse | None = None
    alive: int | None = 0
    place: Place = field(default_factory=Place)
    guard: bool = True
    retarget: RetargetConfig = field(default_factory=RetargetConfig)
    gaussians: int | None = None

    def __post_init__(self) -> None:
        if self.gaussians is not None and self.gaussians < 1:
            raise StudioError("wrong value of gaussians", got=self.gaussians, expected="1 or more")
        for name in self.channels:
            if name not in (*CHANNELS, "all"):
                raise StudioError(
                    "unknown channel", got=name, expected=did_you_mean(name, CHANNELS) or ", ".join((*CHANNELS, "all"))
                )


@dataclass(frozen=True)
class Project:
    """A whole timeline.

    Args:
        characters: by name.
        sources: name -> kind of driver and its settings; "at": the second at which it begins, below 0 to leave out its
            beginning; "relative": whether its motion is transferred relative to neutral.
        sound: name of the source whose sound is heard, or several that are mixed.
        fps: frames per second of the render.
        seconds: length; the longest source's when not given.
        cameras: camera keys; the path of ``render.camera`` when there are none.
        render: size, background, quality, camera path.
        folder: what relative paths are relative to.
    """

    characters: Mapping[str, Character]
    sources: Mapping[str, Mapping[str, Any]]
    sound: tuple[str, ...] = ()
    fps: float = 25.0
    seconds: float | None = None
    cameras: tuple[CameraKey, ...] = ()
    render: RenderConfig = field(default_factory=RenderConfig)
    folder: Path = Path()

    def __post_init__(self) -> None:
        if not 1 <= self.fps <= 240 or (self.seconds is not None and not 0 < self.seconds <= 36_000):
            raise StudioError("impossible project", got=f"{self.fps} frames/s, {self.seconds} s")
        for name, character in self.characters.items():
            for routes in character.channels.values():
                for route in routes:
                    self._require_source(route.source, f"character {name}")
        for name in self.sound:
            self._require_source(name, "the sound")

    def _require_source(self, source: str, user: str) -> None:
        if source not in self.sources:
            raise StudioError(
                f"{user} names a source that is not there",
                got=source,
                expected=did_you_mean(source, self.sources) or ", ".join(self.sources) or "sources",
            )


_SINGLE = ("avatar", "channels", "emotion", "style", "alive", "guard", "retarget", "gaussians")


def read_project(path: Path) -> Project:
    """Read and check a project file; relative paths in it are relative to its folder.

    A project with one character may give its settings at the top level. ``channels`` take a source's name, one route or
    a list of routes.

    Raises:
        StudioError: no such file, not YAML, tags or repeated keys, or a setting that is unknown or of the wrong kind.
    """
    return parse_project(read_plain_yaml(path, "project"), path.parent)


def parse_project(data: object, folder: Path = Path()) -> Project:
    """A project of plain values, as YAML gives them. Raises StudioError as ``read_project``."""
    if not isinstance(data, Mapping):
        raise StudioError("a project is a mapping", got=type(data).__name__, expected="avatar, sources, channels …")
    values = {str(name): value for name, value in data.items()}
    for name in values:
        known = (*(item.name for item in fields(Project) if item.name != "folder"), *_SINGLE)
        if name not in known:
            raise StudioError(f"unknown setting {name}", expected=did_you_mean(name, known) or ", ".join(known))
    if "characters" not in values:
        values["characters"] = {"avatar": {name: values.pop(name) for name in _SINGLE if name in values}}
    elif any(name in values for name in _SINGLE):
        given = ", ".join(name for name in _SINGLE if name in values)
        raise StudioError("settings of a single character beside characters", got=given, next="move them into one")
    if not isinstance(values["characters"], Mapping) or not values["characters"]:
        raise StudioError("a project needs an avatar", expected="avatar: <folder>, or characters")
    values["characters"] = {name: _character(item, name) for name, item in values["characters"].items()}
    sound = values.get("sound", ())
    values["sound"] = [sound] if isinstance(sound, str) else sound
    if not isinstance(values.get("sources"), Mapping):
        raise StudioError("a project needs sources", expected="sources: {voice: {kind: audio, source: line.wav}}")
    values["sources"] = {str(name): _source(item, str(name)) for name, item in values["sources"].items()}
    return build(Project, {**values, "folder": folder}, "")


def _character(item: object, name: object) -> object:
    if not isinstance(item, Mapping):
        raise StudioError(f"character {name} is no mapping", got=item, expected="avatar and channels")
    channels = item.get("channels")
    if not isinstance(channels, Mapping):
        raise StudioError("a character needs channels", got=channels, expected="channels: {all: <source>}")
    return {**item, "channels": {str(channel): _routes(routes) for channel, routes in channels.items()}}


def _routes(value: object) -> list[object]:
    items = value if isinstance(value, list) else [value]
    return [{"source": item} if isinstance(item, str) else item for item in items]


def _source(item: object, name: str) -> Mapping[str, Any]:
    from reenact.drivers import drivers

    if not isinstance(item, Mapping) or "kind" not in item:
        raise StudioError(f"source {name} needs a kind", got=item, expected=" | ".join(drivers()))
    if item["kind"] not in drivers():
        near = did_you_mean(str(item["kind"]), drivers())
        raise StudioError(f"unknown kind of source {name}", got=item["kind"], expected=near or " | ".join(drivers()))
    convert(item.get("at", 0.0), float, f"sources.{name}.at")
    return item
