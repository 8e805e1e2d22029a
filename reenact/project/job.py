"""A project becomes a video: sources, codes, cameras and pictures, each made anew only where something changed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from reenact.backgrounds import background
from reenact.camera_paths import camera_path, fitted
from reenact.drivers import Driving
from reenact.drivers.track import TrackDriver
from reenact.pictures import PICTURE, Film, Layers, developer, write_pictures
from reenact.project.compose import Played, compose, play, require_frames
from reenact.project.scene import Actor, keyed_cameras, render_scene, scene_camera, staged
from reenact.project.schema import Character, Project, read_project
from reenact.project.sources import SourceCache
from reenact.render import drawn
from reenact.render_config import RenderConfig
from reenact.style import Style, apply_style, learn_style
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.code_guard import Excess
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, content_hash
from studio.logs import say
from studio.media.audio import Audio
from studio.media.images import read_image, write_image
from studio.media.whole_files import whole_file
from studio.provenance.claims import RENDERED, origin_of

Look = Literal["preview", "final"]
_PREVIEW_SIDE = 256  # pixels, the longer side of a preview
_PREVIEW_GAUSSIANS = 8000
_KEPT_BYTES = 2_000_000_000  # of pictures in the cache; the ones that were not used for longest go first


@dataclass(frozen=True)
class Composed:
    """All codes of a project.

    Args:
        tracks: character -> codes.
        beyond: character -> what its avatar has never learned.
        voice: the sound, cut to the project, or None.
        computed: sources that were made anew.
        parents: what it was made from.
    """

    tracks: Mapping[str, CodeTrack]
    beyond: Mapping[str, tuple[Excess, ...]]
    voice: Audio | None
    computed: tuple[str, ...]
    parents: Mapping[str, str]


@dataclass(frozen=True)
class Rendered:
    """What a render did.

    Args:
        out: the video or folder.
        frames: how many pictures it has.
        drawn: how many of them had to be drawn.
        computed: the sources that had to be made.
    """

    out: Path
    frames: int
    drawn: int
    computed: tuple[str, ...]


def compose_project(project: Project, avatars: Mapping[str, Avatar], cache: Path) -> Composed:
    """The codes of all characters. Raises StudioError when a source cannot be used."""
    store = SourceCache(cache)
    driven: dict[str, tuple[Driving, bool, float]] = {}
    for name, settings in project.sources.items():
        driving, relative = store.driving(name, settings, project.folder)
        driven[name] = driving, relative, float(settings.get("at", 0.0))
    longest = max((len(d.track) / d.track.fps + at for d, _, at in driven.values()), default=0.0)
    seconds = project.seconds if project.seconds is not None else longest
    frames = require_frames(seconds, project.fps)
    voices = {name: _placed(driven[name], frames / project.fps) for name in project.sources}
    tracks, beyond = {}, {}
    for name, character in project.characters.items():
        style, used = _style(project, character), _used(character, project)
        played = {source: _played(driven[source], avatars[name], character, style) for source in used}
        own = _mixed([voices[source] for source in project.sound if source in used])
        tracks[name], beyond[name] = compose(character, avatars[name], played, frames, project.fps, own)
    parents = {f"{name}/{key}": value for name, (d, _, _) in driven.items() for key, value in d.parents.items()}
    heard = _mixed([voices[name] for name in project.sound])
    return Composed(tracks, beyond, heard, tuple(store.computed), parents)


def render_project(
    source: Path | Project,
    out: Path,
    look: Look = "final",
    *,
    kernels: str = "auto",
    cache: Path | None = None,
    load: Callable[[Path, str, int | None], Avatar] | None = None,
) -> Rendered:
    """Render a project to ``out``, a video or a folder of images, as its ``render`` section says.

    Args:
        source: the project file, or a project.
        out: a new file or folder.
        look: "final" as the project says; "preview" small and coarse.
        kernels: "auto", "cpu" or "cuda".
        cache: folder of what is kept between renders; beside the project file by default.
        load: opens avatars; ``recon.avatars.load_avatar`` when not given.

    Raises:
        StudioError: a mistake in the project, a source or avatar that cannot be used, or ``out`` exists.
    """
    project = read_project(source) if isinstance(source, Path) else source
    project.render.require_fit(out)
    if cache is None:
        name = source.stem if isinstance(source, Path) else "project"
        cache = project.folder / f".{name}.cache"
    staging = stage_project(project, look, kernels, cache, load)
    actors, cameras, config = staging.actors, staging.cameras, staging.config
    pictures = PictureCache(cache / "pictures")
    behind = background(config.background, actors[0].avatar, cameras.width, cameras.height)
    stamp = hashlib.sha256(json.dumps([staging.hashes, kernels, look, config.alpha, config.watermark]).encode())
    stamp.update(np.ascontiguousarray(behind.numpy()).tobytes())

    kept = config.images == "png" and not (config.alpha or config.passes)  # what a cache of PNG pictures can hold

    def make(frame: int) -> Layers:
        return develop(actors, cameras[frame], frame, behind, config)

    def draw(frame: int) -> Layers:
        if not kept:
            return make(frame)
        return {PICTURE: pictures.get(_picture_key(stamp, actors, cameras, frame), lambda: make(frame)[PICTURE])}

    count = len(cameras)
    film = Film(project.fps, (cameras.width, cameras.height), staging.voice, config.timecode)
    write_pictures(out, drawn(count, draw), count, film, config, staging.manifest)
    pictures.prune(_KEPT_BYTES)
    return Rendered(out, count, pictures.missed if kept else count, staging.computed)


@dataclass(frozen=True)
class Staging:
    """A project, ready to be drawn.

    Args:
        actors: who is on the stage, with all codes.
        cameras: T.
        config: background, alpha and quality; size and rate are in ``cameras`` and ``fps``.
        voice: the sound, or None.
        hashes: of the avatars, in the order of the actors.
        computed: the sources that had to be made.
        manifest: of the video.
    """

    actors: list[Actor]
    cameras: Camera
    config: RenderConfig
    voice: Audio | None
    hashes: list[str]
    computed: tuple[str, ...]
    manifest: Manifest


def stage_project(
    project: Project,
    look: Look,
    kernels: str,
    cache: Path,
    load: Callable[[Path, str, int | None], Avatar] | None = None,
) -> Staging:
    """Everything of a project but its pictures; arguments and errors as of ``render_project``."""
    avatars = _avatars(project, look, kernels, load)
    made = compose_project(project, avatars, cache)
    for name, excesses in made.beyond.items():
        if excesses:
            say(f"{name}: beyond what the avatar has learned: {'; '.join(map(str, excesses[:3]))}")
    actors, cameras = _stage(project, avatars, made, look)
    hashes = [_avatar_hash(project, name) for name in project.characters]
    config = replace(project.render.within(project.folder), size=None, fps=None)
    body = {
        "characters": {name: dict(track.provenance) for name, track in made.tracks.items()},
        "beyond": {name: [dataclasses.asdict(item) for item in items] for name, items in made.beyond.items()},
        "look": look,
        "config": json.loads(json.dumps(dataclasses.asdict(config), default=str)),
    }
    parents = {**made.parents, **{f"avatar {name}": value for name, value in zip(project.characters, hashes)}}
    origins = [origin_of(_folder(project, character)) for character in project.characters.values()]
    licence, consent = (_all_of([getattr(o, name) for o in origins if o]) for name in ("licence", "consent"))
    body = {"statement": RENDERED, **body}
    manifest = Manifest("video", parents=parents, licence=licence, consent=consent, synthetic=True, body=body)
    return Staging(actors, cameras, config, made.voice, hashes, made.computed, manifest)


class PictureCache:
    """Pictures by a hash of everything that they show.

    Attributes:
        missed: how many were not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.missed = 0

    def get(self, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The picture of that key, made and kept where it is not there."""
        path = self._folder / f"{key}.png"
        if path.is_file():
            try:
                image = read_image(path)
                os.utime(path)
                return image
            except StudioError:
                path.unlink(missing_ok=True)  # ours: damaged
        image = make()
        self.missed += 1
        with whole_file(path) as temporary:
            write_image(temporary, image)
        return image

    def prune(self, most: int) -> None:
        """Remove the pictures that were not used for longest until so many bytes are left."""
        found = sorted(self._folder.glob("*.png"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in found:
            total += path.stat().st_size
            if total > most:
                path.unlink(missing_ok=True)


def _avatars(
    project: Project, look: Look, kernels: str, load: Callable[[Path, str, int | None], Avatar] | None
) -> dict[str, Avatar]:
    if load is None:
        from recon.avatars import load_avatar

        load = load_avatar
    avatars = {}
    for name, character in project.characters.items():
        coarse = _PREVIEW_GAUSSIANS if look == "preview" else None
        avatars[name] = load(_folder(project, character), kernels, character.gaussians or coarse)
    return avatars


def _folder(project: Project, character: Character) -> Path:
    return project.folder / character.avatar.expanduser()


def _all_of(terms: Sequence[str]) -> str:
    """The terms of several avatars."""
    return "; ".join(dict.fromkeys(terms)) or "unknown"


def _avatar_hash(project: Project, name: str) -> str:
    folder = _folder(project, project.characters[name])
    return content_hash(folder) if folder.exists() else name


def _played(driven: tuple[Driving, bool, float], avatar: Avatar, character: Character, style: Style | None) -> Played:
    driving, relative, at = driven
    track = driving.track
    if style is not None and character.style is not None and bool(track.valid.any()):
        track = apply_style(track, style, character.style.strength)
    return play(track, relative, driving.rest, avatar, character, at)


def _style(project: Project, character: Character) -> Style | None:
    """The style of a character: read from its file, or learned from its track."""
    if character.style is None:
        return None
    path = project.folder / character.style.source.expanduser()
    return Style.load(path) if path.suffix == ".json" else learn_style(TrackDriver(path).drive().track)


def _used(character: Character, project: Project) -> list[str]:
    named = {route.source for routes in character.channels.values() for route in routes}
    return [name for name in project.sources if name in named]


def _placed(driven: tuple[Driving, bool, float], seconds: float) -> Audio | None:
    """A source's sound on the project's clock."""
    driving, _, at = driven
    return None if driving.audio is None else driving.audio.between(-at, seconds - at)


def _mixed(voices: list[Audio | None]) -> Audio | None:
    """Sounds of the same length, added up."""
    present = [voice for voice in voices if voice is not None]
    if len(present) < 2:
        return present[0] if present else None
    rate = max(voice.rate for voice in present)
    mono = [voice.resampled(rate).samples.mean(1) for voice in present]
    length = max(map(len, mono))
    total = np.sum([np.pad(part, (0, length - len(part))) for part in mono], axis=0)
    return Audio(np.clip(total, -1, 1).astype(np.float32)[:, None], rate)


def _stage(project: Project, avatars: Mapping[str, Avatar], made: Composed, look: Look) -> tuple[list[Actor], Camera]:
    places = {name: character.place for name, character in project.characters.items()}
    stages = staged(avatars, places)
    actors = [Actor(avatars[name], made.tracks[name].codes, stages[name]) for name in avatars]
    start, target = scene_camera(list(avatars.values()), list(stages.values()))
    frames = len(next(iter(made.tracks.values())))
    if project.cameras:
        cameras = keyed_cameras(project.cameras, start, target, frames, project.fps)
    else:
        path = project.render.within(project.folder).camera
        cameras = camera_path(path, start, target, frames, project.fps)
    size = project.render.size or (cameras.width, cameras.height)
    if look == "preview":
        scale = min(1.0, _PREVIEW_SIDE / max(size))
        size = (max(2, 2 * round(size[0] * scale / 2)), max(2, 2 * round(size[1] * scale / 2)))
    return actors, fitted(cameras, *size) if size != (cameras.width, cameras.height) else cameras


def _picture_key(stamp: Any, actors: list[Actor], cameras: Camera, frame: int) -> str:
    digest = stamp.copy()
    digest.update(cameras.viewmats[frame].numpy().tobytes() + cameras.Ks[frame].numpy().tobytes())
    digest.update(str((cameras.width, cameras.height)).encode())
    for actor in actors:
        state = actor.state(frame)
        for value in state.tensors().values():
            digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    return str(digest.hexdigest()[:32])


def develop(actors: list[Actor], camera: Camera, frame: int, behind: torch.Tensor, config: RenderConfig) -> Layers:
    """A picture of the scene and its passes, as they are stored."""
    return developer(behind, config)(render_scene(actors, camera, frame))
