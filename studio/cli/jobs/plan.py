"""From a job file to tasks, every part of it checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reenact.jobs.render import Extent, RenderJob, render_tasks, require_form
from studio.building import build
from studio.captures import open_capture
from studio.cli.compose import compose_jobs, to_config
from studio.cli.jobs.request import Evaluate, Reconstruct, Request
from studio.cli.jobs.sources import Inputs, extent_of, with_absolute_paths
from studio.cli.jobs.work import judge, reconstruct
from studio.cli.rooms import trained_on
from studio.cli.verbs.eval import held_out
from studio.cli.verbs.train import TrainingPlan, plan_training
from studio.errors import StudioError
from studio.folders import MANIFEST, read_manifest
from studio.jobs.tasks import Guess, Task


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
    planner = _Planner(request, base, folder, gpus)
    found = {name: _captures(item, base) for name, item in request.reconstruct.items()}
    threads = max(1, cores // max(1, sum(map(len, found.values()))))
    tasks: list[Task] = []
    for name, item in request.reconstruct.items():
        with _within("reconstruct", name):
            tasks += planner.reconstruct(name, item, found[name], threads)
    for name, values in request.render.items():
        with _within("render", name):
            tasks.append(planner.render(name, values))
    for name, judged in request.evaluate.items():
        with _within("evaluate", name):
            tasks += planner.evaluate(name, judged)
    return Planned(tuple(tasks), planner.inputs.hashes)


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


@dataclass
class _Planner:
    """Makes the tasks of a request; arguments as of ``plan``.

    Attributes:
        inputs: what the tasks so far start from.
        made: the trainings so far by name; a pattern's name stands for all of its trainings.
    """

    request: Request
    base: Path
    folder: Path
    gpus: int
    inputs: Inputs = field(default_factory=Inputs)
    made: dict[str, list[_Made]] = field(default_factory=dict)

    def reconstruct(self, name: str, item: Reconstruct, captures: Mapping[str, Path], threads: int) -> list[Task]:
        """A training for each capture."""
        tasks = []
        for label, capture in captures.items():
            full = name if len(captures) == 1 else f"{name}-{label}"
            task, one = self._train(full, item, capture, threads)
            tasks.append(task)
            self.made.setdefault(name, []).append(one)
            self.made.setdefault(full, [one])
            self.inputs.add(capture)
        return tasks

    def _train(self, name: str, item: Reconstruct, capture: Path, threads: int) -> tuple[Task, _Made]:
        more = [f"{key}={_text(value)}" for key, value in item.settings.items()]
        settings = [f"capture={capture.resolve()}", f"recipe={item.recipe}", f"avatar={item.avatar}"]
        settings += [f"seed={self.request.seed}", f"kernels={self.request.kernels}", *more]
        chosen = plan_training(to_config("train", compose_jobs("train", settings)[0]), capture, item.track)
        extent, steps = _training_extent(chosen)
        name, values = f"reconstruct/{name}", {"settings": settings, "track": chosen.track}
        guess = Guess(10 + 2.5e-7 * steps * extent.work, 1.6e9, 60 * extent.gaussians * 20 + 2e7)
        task = Task(
            name, reconstruct, values, kind=f"train {chosen.kind}", threads=threads, gpus=self.gpus, guess=guess
        )
        return task, _Made(name, self.folder / name / "run", capture, chosen.track, extent)

    def render(self, name: str, values: Mapping[str, Any]) -> Task:
        """The first task of a render, which brings the others."""
        own = self.made.get(str(values.get("avatar")))
        if own is not None and len(own) > 1:
            raise StudioError(
                "several trainings have that name", got=values["avatar"], expected="name-subject_sequence"
            )
        arguments = {"kernels": self.request.kernels, **with_absolute_paths(values, self.base)}
        if own is not None:
            arguments["avatar"] = str((own[0].run / "avatar").resolve())
        job = build(RenderJob, arguments)
        require_form(job)
        extent = extent_of(job, own[0].extent if own else None, self.inputs)
        needs = [own[0].task] if own else []
        return render_tasks(f"render/{name}", arguments, needs, extent, self.request.chunk, self.gpus)

    def evaluate(self, name: str, item: Evaluate) -> list[Task]:
        """A judgement of each run on each split."""
        runs = self.made.get(item.run) or [self._run_folder(item.run)]
        tasks = []
        for one in runs:
            opened, track = open_capture(one.capture), item.track or one.track
            splits: Sequence[str] = [item.split] if item.split else held_out(one.capture, track)
            label = name if len(runs) == 1 else f"{name}/{Path(one.task).name}"
            for split in splits:
                part = opened.split(split)
                frames = len(part.timesteps) * len(part.cameras)
                values = {"avatar": str(one.run / "avatar"), "capture": str(one.capture.resolve()), "track": track}
                values |= {"split": split, "kernels": self.request.kernels}
                needs = (one.task,) if one.task else ()
                guess = Guess(3 + 6e-7 * frames * one.extent.work, 9e8, 0.2 * frames * one.extent.pixels)
                tasks.append(Task(f"evaluate/{label}/{split}", judge, values, needs, kind="evaluate", guess=guess))
        return tasks

    def _run_folder(self, named: str) -> _Made:
        """A run that is there already."""
        run = (self.base / Path(named).expanduser()).resolve()
        capture, track = trained_on(run)
        manifest = read_manifest(run / "avatar", kind="avatar")
        for path in (run / "avatar", capture):
            self.inputs.add(path)
        cameras = open_capture(capture).cameras
        extent = Extent(0, cameras.width * cameras.height, int(manifest.body.get("gaussians", 100_000)))
        return _Made("", run, capture, track, extent)


def _training_extent(chosen: TrainingPlan) -> tuple[Extent, int]:
    """What a picture of the avatar will be, and how many steps its training has."""
    cameras, settings = chosen.capture.cameras, chosen.settings
    gaussians = int(getattr(settings, "gaussians", 0) or 100_000)
    return Extent(len(chosen.capture), cameras.width * cameras.height, gaussians), int(settings.iterations)


def _text(value: Any) -> str:
    """A setting as it would be typed."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value).replace(" ", "") if isinstance(value, list) else str(value)
