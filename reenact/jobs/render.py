"""The tasks of a render: ``<name>/codes``, ``<name>/frames/<first>-<last>``, ``<name>/video``."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from recon.forecast import step_work
from reenact.backgrounds import require_background
from reenact.drive import DriveConfig, drive
from reenact.jobs.shot import Cast, Shot
from reenact.pictures import PICTURE, Film, Layers, picture_folder, write_layers, write_pictures
from reenact.project.job import stage_project
from reenact.project.schema import Project, read_project
from reenact.project.sources import make_source
from reenact.render import cameras_of, video_manifest
from reenact.render_config import RenderConfig
from reenact.retarget import RetargetConfig
from reenact.timeline import resample
from studio.building import build
from studio.errors import StudioError
from studio.folders import content_hash
from studio.jobs.results import files_of, read_file
from studio.jobs.tasks import Guess, Place, Task
from studio.media.images import decode_image
from studio.media.video_codecs import is_video
from studio.provenance.claims import avatar_name, origin_of

Form = Literal["mp4", "mov", "webm", "mkv", "images"]
_UNKNOWN_GAUSSIANS = 100_000  # what a ray-marched head costs, roughly, for a first guess
_UNIT = 3e-7  # seconds of a Gaussian's share in a drawn and stored picture (docs/results.md, Jobs); a first guess


@dataclass(frozen=True)
class RenderJob:
    """A render, as a job file describes it.

    Args:
        project: a timeline; it brings avatar, sources and cameras.
        avatar: avatar folder; of a timeline with one character, instead of the one that it names.
        driver: kind of driver and its settings, for renders without a timeline.
        relative: see ``DriveConfig``.
        guard: likewise.
        retarget: likewise.
        render: size, rate, background, cameras, codec, alpha, passes; a timeline brings its own.
        gaussians: finest level of detail with at most so many.
        form: of what is made: a video in this container, or a folder of images.
        kernels: "auto", "cpu" or "cuda".
    """

    project: Path | None = None
    avatar: Path | None = None
    driver: Mapping[str, Any] = field(default_factory=dict)
    relative: bool | None = None
    guard: bool = True
    retarget: RetargetConfig = field(default_factory=RetargetConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    gaussians: int | None = None
    form: Form = "mp4"
    kernels: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if self.gaussians is not None and self.gaussians < 1:
            raise StudioError("wrong value of gaussians", got=self.gaussians, expected="1 or more")
        if self.project is None and (self.avatar is None or "kind" not in self.driver):
            raise StudioError(
                "a render needs a project, or an avatar and a driver", expected="driver: {kind: track, …}"
            )
        if self.project is not None and self.driver:
            raise StudioError("a render has both a project and a driver", next="put the driver into the project")
        if self.project is not None and self.render != RenderConfig():
            raise StudioError("a render has both a project and settings", next="put render into the project")

    def file(self, name: str) -> str:
        """What the video or folder is called."""
        return name if self.form == "images" else f"{name}.{self.form}"


def require_form(job: RenderJob) -> None:
    """Raise StudioError when what is asked for cannot be stored in the form that is wanted, or lacks a background."""
    if job.project is None:
        render = job.render
    else:
        project = project_of(job)
        render = project.render.within(project.folder)
    render.require_fit(Path(job.file("render")))
    require_background(render.background)


@dataclass(frozen=True)
class Extent:
    """How much there is to draw, as far as it is known before: frames, pixels of each, Gaussians of all avatars."""

    frames: int
    pixels: int
    gaussians: int

    @property
    def work(self) -> float:
        """Of one picture."""
        return step_work(self.gaussians, self.pixels)


def render_tasks(
    name: str, arguments: Mapping[str, Any], needs: Sequence[str], extent: Extent, chunk: int, gpus: int
) -> Task:
    """The first task of a render, which brings the others.

    Args:
        name: of the render.
        arguments: fields of ``RenderJob`` as plain values, paths absolute.
        needs: tasks that make its avatar.
        extent: what is expected.
        chunk: frames of a chunk.
        gpus: devices that drawing takes.
    """
    further = functools.partial(_frame_tasks, name, dict(arguments), chunk, gpus)
    return Task(
        f"{name}/codes",
        compose_shot,
        {"job": dict(arguments)},
        tuple(needs),
        kind="codes",
        guess=Guess(2.0 + 0.01 * extent.frames, 8e8, 1e4 + 500 * extent.frames),
        then=functools.partial(_tasks_of_shot, further),
        expected=tuple(further(extent)),
    )


def _tasks_of_shot(further: Any, folder: Path) -> list[Task]:
    values = json.loads((folder / "extent.json").read_text())
    tasks: list[Task] = further(Extent(**values))
    return tasks


def _frame_tasks(name: str, arguments: Mapping[str, Any], chunk: int, gpus: int, extent: Extent) -> list[Task]:
    """The chunks of a render and the task that puts them together."""
    shot = f"{name}/codes"
    chunks = []
    for first in range(0, extent.frames, chunk):
        last = min(first + chunk, extent.frames)
        count = last - first
        guess = Guess(_UNIT * extent.work * count, 8e8, 1.5 * extent.pixels * count)
        values = {"shot": shot, "first": first, "last": last, "kernels": arguments.get("kernels", "auto")}
        part = f"{name}/frames/{first:06d}-{last - 1:06d}"
        chunks.append(Task(part, draw_chunk, values, (shot,), kind="draw", gpus=gpus, guess=guess))
    names = [task.name for task in chunks]
    pixels = extent.pixels * extent.frames
    values = {"shot": shot, "chunks": names, "file": build(RenderJob, arguments).file(Path(name).name)}
    guess = Guess(1 + 5e-8 * pixels, 6e8, 0.05 * pixels)
    video = Task(f"{name}/video", assemble, values, (shot, *names), kind="video", guess=guess)
    return [*chunks, video]


def compose_shot(arguments: Mapping[str, Any], place: Place) -> None:
    """Codes, cameras and sound of a render, from its sources."""
    job = build(RenderJob, arguments["job"])
    shot = _project_shot(job, place) if job.project is not None else _driven_shot(job)
    shot.save(place.result)
    gaussians = sum(gaussians_of(item.folder, item.gaussians) for item in shot.cast)
    values = {"frames": len(shot.cameras), "pixels": shot.film.size[0] * shot.film.size[1], "gaussians": gaussians}
    (place.result / "extent.json").write_text(json.dumps(values))


def draw_chunk(arguments: Mapping[str, Any], place: Place) -> None:
    """Pictures ``first`` up to ``last`` of a shot, with their passes, as files."""
    shot = Shot.load(place.of(arguments["shot"]))
    first, last = arguments["first"], arguments["last"]
    for index, layers in enumerate(shot.pictures(first, last, arguments["kernels"]), start=first):
        write_layers(place.result, f"{index:06d}", layers, shot.config)


def assemble(arguments: Mapping[str, Any], place: Place) -> None:
    """The video with its sound, or the folder of images, from chunks whose content is verified."""
    shot, out = Shot.load(place.of(arguments["shot"])), place.result / arguments["file"]
    chunks = [place.of(name) for name in arguments["chunks"]]
    if is_video(out):
        pictures = _decoded(chunks)
        write_pictures(out, pictures, len(shot.cameras), shot.film, shot.config, shot.manifest)
        return
    with picture_folder(out, shot.film, shot.manifest) as temporary:
        for chunk in chunks:
            for name in files_of(chunk):
                (temporary / name).parent.mkdir(exist_ok=True)
                (temporary / name).write_bytes(read_file(chunk, name))


def _decoded(chunks: Sequence[Path]) -> Iterator[Layers]:
    """The pictures of chunks in order, each as it was drawn."""
    for chunk in chunks:
        for name in files_of(chunk):
            image = decode_image(np.frombuffer(read_file(chunk, name), np.uint8), cv2.IMREAD_UNCHANGED)
            if image is None:
                raise StudioError(f"damaged picture: {chunk / name}", next="studio jobs resume")
            order = cv2.COLOR_BGRA2RGBA if image.shape[-1] == 4 else cv2.COLOR_BGR2RGB
            yield {PICTURE: cv2.cvtColor(image, order)}


def _project_shot(job: RenderJob, place: Place) -> Shot:
    project = project_of(job)
    staging = stage_project(project, "final", job.kernels, place.scratch)
    cast = [
        _cast(project.folder / character.avatar.expanduser(), character.gaussians)
        for character in project.characters.values()
    ]
    tracks = [_track(actor.codes, project.fps) for actor in staging.actors]
    stages = torch.stack([actor.stage for actor in staging.actors])
    size, config = (staging.cameras.width, staging.cameras.height), staging.config
    film = Film(project.fps, size, staging.voice, config.timecode)
    return Shot(tuple(cast), tuple(tracks), stages, staging.cameras, film, config, staging.manifest)


def project_of(job: RenderJob) -> Project:
    """The timeline of a render, with the job's avatar where it names one. Raises StudioError as ``read_project``."""
    assert job.project is not None
    project = read_project(job.project)
    if job.avatar is None:
        return project
    if len(project.characters) > 1:
        raise StudioError(
            f"{job.project} has several characters", got=f"avatar: {job.avatar}", next="name the avatars in the project"
        )
    name, character = next(iter(project.characters.items()))
    return replace(project, characters={name: replace(character, avatar=job.avatar)})


def _driven_shot(job: RenderJob) -> Shot:
    from recon.avatars import load_avatar

    assert job.avatar is not None
    avatar = load_avatar(job.avatar, job.kernels, job.gaussians)
    driver, _ = make_source("driver", job.driver, Path())
    driving = drive(avatar, driver, DriveConfig(job.relative, job.guard, job.retarget, job.render))
    if job.render.fps is not None:
        driving = replace(driving, track=resample(driving.track, job.render.fps))
    cast = _cast(job.avatar, job.gaussians)
    driving = replace(driving, parents={avatar_name(job.avatar): cast.hash, **driving.parents})
    cameras = cameras_of(avatar, driving.track, None, job.render)
    timecode = job.render.timecode or driving.timecode
    film = Film(driving.track.fps, (cameras.width, cameras.height), driving.audio, timecode)
    manifest = video_manifest(avatar, driving, cameras, job.render, origin_of(job.avatar))
    track = _track(driving.track.codes, driving.track.fps)
    return Shot((cast,), (track,), torch.eye(4)[None], cameras, film, job.render, manifest)


def _cast(folder: Path, gaussians: int | None) -> Cast:
    return Cast(folder.resolve(), gaussians, content_hash(folder))


def _track(codes: Any, fps: float) -> Any:
    from studio.codes import CodeTrack

    return CodeTrack(codes, fps, torch.ones(codes.batch, dtype=torch.bool))


def gaussians_of(folder: Path, most: int | None) -> int:
    """How many Gaussians an avatar folder draws, or what it costs in Gaussians."""
    body = json.loads((folder / "manifest.json").read_text()).get("body", {})
    count = int(body.get("gaussians", _UNKNOWN_GAUSSIANS))
    return count if most is None else min(count, most)
