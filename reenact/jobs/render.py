"""The tasks of a render: ``<name>/codes``, ``<name>/frames/<first>-<last>``, ``<name>/video``."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from recon.forecast import step_work
from reenact.drive import DriveConfig, avatar_name, drive, origin_of
from reenact.jobs.shot import Cast, Look, Shot
from reenact.project.job import stage_project
from reenact.project.schema import Project, read_project
from reenact.project.sources import make_source
from reenact.render import PROVENANCE, RenderConfig, VideoSettings, cameras_of, video_manifest, write_pictures
from reenact.retarget import RetargetConfig
from reenact.timeline import resample
from studio.building import build
from studio.errors import StudioError
from studio.folders import content_hash
from studio.jobs.results import read_file
from studio.jobs.tasks import Guess, Place, Task
from studio.media.images import decode_image, write_image

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
        render: size, rate, background, cameras, quality.
        gaussians: finest level of detail with at most so many.
        images: a folder of PNG images instead of a video.
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
    images: bool = False
    kernels: str = "auto"

    def __post_init__(self) -> None:
        if self.project is None and (self.avatar is None or "kind" not in self.driver):
            raise StudioError(
                "a render needs a project, or an avatar and a driver", expected="driver: {kind: track, …}"
            )
        if self.project is not None and self.driver:
            raise StudioError("a render has both a project and a driver", next="put the driver into the project")
        other = [name for name in ("codec", "timecode", "passes") if getattr(self.render, name)]
        other += ["images"] if self.render.images != "png" else []
        if other:
            got = ", ".join(f"render.{name}" for name in other)
            raise StudioError("jobs write H.264 videos or PNG images", got=got, next="studio render writes the others")
        if self.render.alpha and not self.images:
            raise StudioError("an mp4 cannot hold alpha", expected="images: true", got="render.alpha: true")


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
        amount=extent.frames,
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
        amount = extent.work * count
        chunks.append(Task(part, draw_chunk, values, (shot,), kind="draw", amount=amount, gpus=gpus, guess=guess))
    names = [task.name for task in chunks]
    pixels = extent.pixels * extent.frames
    values = {"shot": shot, "chunks": names, "name": Path(name).name, "images": bool(arguments.get("images", False))}
    guess = Guess(1 + 5e-8 * pixels, 6e8, 0.05 * pixels)
    video = Task(f"{name}/video", assemble, values, (shot, *names), kind="video", amount=pixels, guess=guess)
    return [*chunks, video]


def compose_shot(arguments: Mapping[str, Any], place: Place) -> None:
    """Codes, cameras and sound of a render, from its sources."""
    job = build(RenderJob, arguments["job"])
    shot = _project_shot(job, place) if job.project is not None else _driven_shot(job)
    shot.save(place.result)
    gaussians = sum(gaussians_of(item.folder, item.gaussians) for item in shot.cast)
    values = {"frames": len(shot.cameras), "pixels": shot.look.width * shot.look.height, "gaussians": gaussians}
    (place.result / "extent.json").write_text(json.dumps(values))


def draw_chunk(arguments: Mapping[str, Any], place: Place) -> None:
    """Pictures ``first`` up to ``last`` of a shot as PNG files."""
    shot = Shot.load(place.of(arguments["shot"]))
    first, last = arguments["first"], arguments["last"]
    for index, image in enumerate(shot.pictures(first, last, arguments["kernels"]), start=first):
        write_image(place.result / f"{index:06d}.png", image, PROVENANCE)


def assemble(arguments: Mapping[str, Any], place: Place) -> None:
    """The video with its sound, or the folder of images, from chunks whose content is verified."""
    shot = Shot.load(place.of(arguments["shot"]))
    look = shot.look
    ending = "" if arguments["images"] else ".mp4"
    video = VideoSettings(look.fps, (look.width, look.height), shot.voice, look.quality)
    images = _verified(place, arguments["chunks"])
    write_pictures(place.result / f"{arguments['name']}{ending}", images, len(shot.cameras), video, shot.manifest)


def _verified(place: Place, chunks: Sequence[str]) -> Iterator[np.ndarray]:
    """The pictures of chunks in order, each as it was drawn."""
    for chunk in chunks:
        folder = place.of(chunk)
        for path in sorted(folder.glob("*.png")):
            data = np.frombuffer(read_file(folder, path.name), np.uint8)
            image = decode_image(data, cv2.IMREAD_UNCHANGED)
            if image is None:
                raise StudioError(f"damaged picture: {path}", next="studio jobs resume")
            order = cv2.COLOR_BGRA2RGBA if image.shape[-1] == 4 else cv2.COLOR_BGR2RGB
            yield cv2.cvtColor(image, order)


def _project_shot(job: RenderJob, place: Place) -> Shot:
    project = project_of(job)
    staging = stage_project(project, "final", job.kernels, place.scratch)
    cast = [
        _cast(project.folder / character.avatar.expanduser(), character.gaussians)
        for character in project.characters.values()
    ]
    tracks = [_track(actor.codes, project.fps) for actor in staging.actors]
    stages = torch.stack([actor.stage for actor in staging.actors])
    look = _look(staging.config, staging.cameras.width, staging.cameras.height, project.fps)
    return Shot(tuple(cast), tuple(tracks), stages, staging.cameras, look, staging.voice, staging.manifest)


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
    look = _look(job.render, cameras.width, cameras.height, driving.track.fps)
    manifest = video_manifest(avatar, driving, cameras, job.render, origin_of(job.avatar))
    track = _track(driving.track.codes, driving.track.fps)
    return Shot((cast,), (track,), torch.eye(4)[None], cameras, look, driving.audio, manifest)


def _cast(folder: Path, gaussians: int | None) -> Cast:
    return Cast(folder.resolve(), gaussians, content_hash(folder))


def _track(codes: Any, fps: float) -> Any:
    from studio.codes import CodeTrack

    return CodeTrack(codes, fps, torch.ones(codes.batch, dtype=torch.bool))


def _look(config: RenderConfig, width: int, height: int, fps: float) -> Look:
    return Look(width, height, fps, config.background, config.alpha, config.watermark, config.quality)


def gaussians_of(folder: Path, most: int | None) -> int:
    """How many Gaussians an avatar folder draws, or what it costs in Gaussians."""
    body = json.loads((folder / "manifest.json").read_text()).get("body", {})
    count = int(body.get("gaussians", _UNKNOWN_GAUSSIANS))
    return count if most is None else min(count, most)
