"""The job file: plain YAML, every part of it checked before anything starts, and the tasks that it becomes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reenact.curves.hashing import source_hash
from reenact.jobs.render import Extent, RenderJob, gaussians_of, project_of, render_tasks
from reenact.project.sources import make_source
from studio.building import build
from studio.captures import open_capture
from studio.cli.compose import compose_jobs, to_config
from studio.cli.jobs.work import judge, reconstruct
from studio.cli.rooms import trained_on
from studio.cli.verbs.eval import held_out
from studio.cli.verbs.train import TrainingPlan, plan_training
from studio.errors import StudioError
from studio.folders import MANIFEST, content_hash, read_manifest
from studio.jobs.tasks import Guess, Task
from studio.plain_yaml import read_plain_yaml

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,80}")
_PATHS = ("project", "avatar")
_SECONDS = 10.0  # how long a driver is believed to last of whose length nobody knows before it was run


@dataclass(frozen=True)
class Reconstruct:
    """A training.

    Args:
        capture: capture folder; with * or ?, one training for each folder that fits.
        recipe: as of ``studio train``.
        avatar: kind of avatar.
        track: name of the track, where the capture has several.
        settings: any other setting of ``studio train``, such as "avatar.gaussians: 20000".
    """

    capture: str
    recipe: str = "balanced"
    avatar: str = "splats"
    track: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluate:
    """A judgement.

    Args:
        run: a training of this job, or a run folder.
        split: part of the capture; every part but "train" by default.
        track: name of the track; that of the training by default.
    """

    run: str
    split: str | None = None
    track: str | None = None


@dataclass(frozen=True)
class Request:
    """A job file.

    Args:
        reconstruct: by name.
        render: by name; see ``reenact.jobs.render.RenderJob``. ``avatar`` may name a training of this job.
        evaluate: by name.
        chunk: frames that are drawn and stored at a time.
        seed: of everything random.
        kernels: "auto", "cpu" or "cuda".
    """

    reconstruct: Mapping[str, Reconstruct] = field(default_factory=dict)
    render: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluate: Mapping[str, Evaluate] = field(default_factory=dict)
    chunk: int = 48
    seed: int = 0
    kernels: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.chunk <= 10_000:
            raise StudioError("wrong value of chunk", got=self.chunk, expected="1 to 10000 frames")
        for name in (*self.reconstruct, *self.render, *self.evaluate):
            if not _NAME.fullmatch(name):
                raise StudioError("not a name", got=repr(name)[:90], expected="letters, digits, - _ .")
        if not (self.reconstruct or self.render or self.evaluate):
            raise StudioError("a job with nothing to do", expected="reconstruct, render or evaluate")


@dataclass(frozen=True)
class Planned:
    """The tasks of a request and the content hashes of everything that it starts from."""

    tasks: tuple[Task, ...]
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class _Made:
    """A training of the job: where its run will be, what it will weigh."""

    task: str
    run: Path
    capture: Path
    track: str | None
    extent: Extent


def read_request(path: Path) -> Request:
    """Read a job file. Raises StudioError for what is no plain YAML, unknown, or of the wrong kind."""
    data = read_plain_yaml(path, "job")
    if not isinstance(data, Mapping):
        raise StudioError(f"{path} is no job", got=type(data).__name__, expected="reconstruct, render, evaluate")
    return build(Request, {str(name): value for name, value in data.items()}, "")


def plan(request: Request, base: Path, folder: Path, cores: int, gpus: int) -> Planned:
    """Check a request wholly and make its tasks.

    Args:
        request: what is wanted.
        base: what relative paths are relative to.
        folder: the job folder.
        cores: of the machine on which the job began; threads are shared out by them.
        gpus: devices that drawing and training take, 0 or 1.

    Raises:
        StudioError: the first thing in it that cannot work.
    """
    inputs: dict[str, str] = {}
    tasks: list[Task] = []
    made: dict[str, list[_Made]] = {}
    found = {name: _captures(item, base) for name, item in request.reconstruct.items()}
    threads = max(1, cores // max(1, sum(map(len, found.values()))))
    for name, item in request.reconstruct.items():
        with _within("reconstruct", name):
            for label, capture in found[name].items():
                full = name if len(found[name]) == 1 else f"{name}-{label}"
                task, one = _reconstruct(full, item, capture, request, folder, threads, gpus)
                tasks.append(task)
                made.setdefault(name, []).append(one)
                made.setdefault(full, [one])
                inputs[str(capture)] = content_hash(capture)
    for name, values in request.render.items():
        with _within("render", name):
            tasks.append(_render(name, values, request, base, made, gpus, inputs))
    for name, judged in request.evaluate.items():
        with _within("evaluate", name):
            tasks += _evaluate(name, judged, request, base, made, inputs)
    return Planned(tuple(tasks), inputs)


class _within:
    """Errors inside say which part of the job file they are about."""

    def __init__(self, kind: str, name: str) -> None:
        self._where = f"{kind} {name}"

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StudioError) and not error.what.startswith(self._where):
            more = {"got": error.got, "expected": error.expected}
            raise StudioError(f"{self._where}: {error.what}", **more, next=error.next) from error


def _captures(item: Reconstruct, base: Path) -> dict[str, Path]:
    """The captures of a training by a label, one or as many as fit the pattern."""
    pattern = str(base / Path(item.capture).expanduser())
    if not any(mark in item.capture for mark in "*?["):
        return {Path(pattern).name: Path(pattern)}
    root = Path(pattern).anchor
    folders = sorted(path for path in Path(root).glob(os.path.relpath(pattern, root)) if (path / MANIFEST).is_file())
    if not folders:
        raise StudioError("no capture fits", got=item.capture, expected="capture folders", next="check the path")
    return {"_".join(path.parts[-2:]): path for path in folders}


def _reconstruct(
    name: str, item: Reconstruct, capture: Path, request: Request, folder: Path, threads: int, gpus: int
) -> tuple[Task, _Made]:
    more = [f"{key}={_text(value)}" for key, value in item.settings.items()]
    settings = [f"capture={capture.resolve()}", f"recipe={item.recipe}", f"avatar={item.avatar}"]
    settings += [f"seed={request.seed}", f"kernels={request.kernels}", *more]
    config = to_config("train", compose_jobs("train", settings)[0])
    chosen = plan_training(config, capture, item.track)
    extent, steps = _training_extent(chosen)
    task = f"reconstruct/{name}"
    guess = Guess(20 + 2.5e-7 * steps * extent.work, 1.6e9, 60 * extent.gaussians * 20 + 2e7)
    return (
        Task(
            task,
            reconstruct,
            {"settings": settings, "track": chosen.track},
            kind=f"train {chosen.kind}",
            amount=steps * extent.work,
            threads=threads,
            gpus=gpus,
            guess=guess,
        ),
        _Made(task, folder / task / "run", capture, chosen.track, extent),
    )


def _training_extent(chosen: TrainingPlan) -> tuple[Extent, int]:
    """What a picture of the avatar will be, and how many steps its training has."""
    cameras, settings = chosen.capture.cameras, chosen.settings
    gaussians = int(getattr(settings, "gaussians", 0) or 100_000)
    return Extent(len(chosen.capture), cameras.width * cameras.height, gaussians), int(settings.iterations)


def _render(
    name: str,
    values: Mapping[str, Any],
    request: Request,
    base: Path,
    made: Mapping[str, list[_Made]],
    gpus: int,
    inputs: dict[str, str],
) -> Task:
    arguments: dict[str, Any] = {"kernels": request.kernels, **values}
    own = made.get(str(values.get("avatar")))
    if own is not None and len(own) > 1:
        raise StudioError("several trainings have that name", got=values["avatar"], expected="name-subject_sequence")
    for key in _PATHS:
        if isinstance(arguments.get(key), str):
            arguments[key] = str((base / Path(arguments[key]).expanduser()).resolve())
    if own is not None:
        arguments["avatar"] = str((own[0].run / "avatar").resolve())
    if isinstance(arguments.get("driver"), Mapping):
        arguments["driver"] = _with_paths(arguments["driver"], base)
    job = build(RenderJob, arguments)
    frames = _check_sources(job, inputs)
    extent = _render_extent(job, own[0] if own else None, frames, inputs)
    needs = [own[0].task] if own else []
    return render_tasks(f"render/{name}", arguments, needs, extent, request.chunk, gpus)


def _with_paths(driver: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A driver's settings with absolute paths."""
    values = dict(driver)
    for key, value in values.items():
        if isinstance(value, str) and key not in ("kind", "name", "split") and (base / value).exists():
            values[key] = str((base / value).resolve())
    return values


def _check_sources(job: RenderJob, inputs: dict[str, str]) -> int:
    """Build every driver of a render, note what it reads, and tell how many frames it will have, roughly."""
    if job.project is None:
        listed: Mapping[str, Mapping[str, Any]] = {"driver": job.driver}
        base, fps = Path(), job.render.fps
        seconds = None
    else:
        project = project_of(job)
        listed, base, fps, seconds = project.sources, project.folder, project.fps, project.seconds
        inputs[str(job.project)] = content_hash(job.project)
    longest = 0.0
    for name, settings in listed.items():
        driver, _ = make_source(name, settings, base)
        for value in vars(driver).values():
            if isinstance(value, Path):
                if not value.exists():
                    raise StudioError(f"no such source of {name}: {value}", next="check the path")
                inputs[str(value)] = content_hash(value) if (value / MANIFEST).is_file() else source_hash(value)
        own_fps, frames = _length(driver)
        fps = fps or own_fps
        longest = max(longest, frames / own_fps)
    return max(1, round((seconds if seconds is not None else longest) * (fps or 25.0)))


def _length(driver: Any) -> tuple[float, float]:
    """(frames per second, frames) of a driver, as far as its source tells them without being driven."""
    source = getattr(driver, "source", None)
    if not isinstance(source, Path):
        return 25.0, _SECONDS * 25.0
    if source.is_dir():
        manifest = read_manifest(source, kind=None)
        if manifest.kind == "capture":
            capture = open_capture(source)
            return capture.fps or 25.0, len(capture.split(getattr(driver, "split", "all")).timesteps)
        return float(manifest.body.get("fps", 25.0)), float(manifest.body.get("frames", 250))
    from studio.media.video_reader import probe

    try:
        found = probe(source)
        return float(found.fps), float(found.frames)
    except (StudioError, OSError, AttributeError):
        return 25.0, _SECONDS * 25.0


def _render_extent(job: RenderJob, own: _Made | None, frames: int, inputs: dict[str, str]) -> Extent:
    if own is not None:
        gaussians, pixels = own.extent.gaussians, own.extent.pixels
    else:
        folders = [job.avatar] if job.avatar else []
        if job.project is not None:
            project = project_of(job)
            folders = [project.folder / item.avatar.expanduser() for item in project.characters.values()]
        gaussians = pixels = 0
        for folder in folders:
            manifest = read_manifest(folder, kind="avatar")
            inputs[str(folder)] = content_hash(folder)
            gaussians += gaussians_of(folder, job.gaussians)
            shown = manifest.body.get("camera", {})
            pixels = max(pixels, int(shown.get("width", 512)) * int(shown.get("height", 512)))
    size = job.render.size
    if job.project is not None:
        size = project_of(job).render.size
    return Extent(frames, size[0] * size[1] if size else pixels, gaussians)


def _evaluate(
    name: str,
    item: Evaluate,
    request: Request,
    base: Path,
    made: Mapping[str, list[_Made]],
    inputs: dict[str, str],
) -> list[Task]:
    runs = made.get(item.run)
    if runs is None:
        run = (base / Path(item.run).expanduser()).resolve()
        capture, track = trained_on(run)
        avatar = run / "avatar"
        manifest = read_manifest(avatar, kind="avatar")
        inputs[str(avatar)], inputs[str(capture)] = content_hash(avatar), content_hash(capture)
        cameras = open_capture(capture).cameras
        extent = Extent(0, cameras.width * cameras.height, int(manifest.body.get("gaussians", 100_000)))
        runs = [_Made("", run, capture, track, extent)]
    tasks = []
    for one in runs:
        opened = open_capture(one.capture)
        track = item.track or one.track
        splits: Sequence[str] = [item.split] if item.split else held_out(one.capture, track)
        for split in splits:
            part = opened.split(split)
            label = name if len(runs) == 1 else f"{name}/{Path(one.task).name}"
            frames = len(part.timesteps) * len(part.cameras)
            values = {"avatar": str(one.run / "avatar"), "capture": str(one.capture.resolve()), "track": track}
            tasks.append(
                Task(
                    f"evaluate/{label}/{split}",
                    judge,
                    {**values, "split": split, "kernels": request.kernels},
                    (one.task,) if one.task else (),
                    kind="evaluate",
                    amount=frames * one.extent.work,
                    guess=Guess(3 + 6e-7 * frames * one.extent.work, 9e8, 0.2 * frames * one.extent.pixels),
                )
            )
    return tasks


def _text(value: Any) -> str:
    """A setting as it would be typed."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value).replace(" ", "") if isinstance(value, list) else str(value)
