"""``studio jobs``: a job file becomes a job folder, whose tasks are done whatever happens in between."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.errors import StudioError
from studio.folders import Manifest, next_free
from studio.jobs.engines import EngineName
from studio.logs import say

if TYPE_CHECKING:
    from studio.cli.jobs.plan import Planned
    from studio.jobs.engines import Engine
    from studio.jobs.job import Status

Action = Literal["run", "forecast", "status", "pause", "resume", "cancel", "retry"]
_DIFFERS = (
    "Same inputs, seed, kernels, threads and versions give the same bytes on one kind of machine. What could differ "
    "elsewhere: the processor's vector width and FFmpeg's threads (last bits of sums, bytes of the video), versions of "
    "packages, kernels=cuda (atomic sums), the number of cores where the job began (threads of a training)."
)
_TELL_EVERY = 20.0  # seconds between lines about progress


def run(config: Config) -> None:
    """Do what is asked of a job file or a job folder."""
    action: Action = config.get("action", Action)
    path = config.path("job")
    if action in ("run", "forecast"):
        _begin(config, path, action)
        return
    from studio.jobs.job import forget_failures, require_job, status, want

    require_job(path)
    if action == "status":
        _print_status(path, status(path))
    elif action in ("pause", "cancel"):
        want(path, "pause" if action == "pause" else "cancel")
        said = "stops when its running tasks are done" if action == "pause" else "stops at once"
        finish(next=f"jobs resume {path}") if status(path).state != "running" else say(f"{path} {said}")
    else:
        if action == "retry":
            say(f"{forget_failures(path)} failed tasks will be tried again")
        _go_on(config, path)


def _begin(config: Config, path: Path, action: Action) -> None:
    """Check a job file, tell what it will take, and run it."""
    from studio.cli.jobs.plan import plan
    from studio.cli.jobs.request import read_request
    from studio.jobs.job import REQUEST, create_job
    from studio.kernels.workers import worker_count
    from studio.machine import processor

    folder = config.optional_path("out") or next_free(Path("outputs") / path.stem)
    if (folder / REQUEST).is_file():
        raise StudioError(f"{folder} is a job already", next=f"studio jobs resume {folder}")
    request, cores, gpus = read_request(path), worker_count(), _gpus()
    planned = plan(request, path.parent.resolve(), folder.resolve(), cores, gpus)
    if action == "forecast":
        engine = _engine(config, folder, cores, gpus)
        _require_room(folder, planned, engine)
        engine.close(kill=False)
        return
    body: dict[str, Any] = {"base": str(path.parent.resolve()), "cores": cores, "gpus": gpus, "processor": processor()}
    manifest = Manifest(
        kind="job",
        seed=request.seed,
        kernels=request.kernels,
        parents=planned.inputs,
        body={**body, "differs": _DIFFERS},
    )
    engine = _engine(config, folder, cores, gpus)
    _require_room(folder, planned, engine)
    create_job(folder, path.read_text(encoding="utf-8"), manifest)
    _drive(folder, planned, engine)


def _go_on(config: Config, folder: Path) -> None:
    """Continue a job, with the sources that it began with."""
    from studio.cli.jobs.plan import plan
    from studio.cli.jobs.request import read_request
    from studio.jobs.job import REQUEST, require_job, require_same, want

    body = require_job(folder).body
    request = read_request(folder / REQUEST)
    cores, gpus = int(body["cores"]), int(body["gpus"])
    planned = plan(request, Path(body["base"]), folder.resolve(), cores, gpus)
    require_same(folder, planned.inputs, (folder / REQUEST).read_text(encoding="utf-8"))
    want(folder, "run")
    _drive(folder, planned, _engine(config, folder, cores, gpus))


def _drive(folder: Path, planned: Planned, engine: Engine) -> None:
    from studio.jobs.costs import Costs, in_words
    from studio.jobs.driver import Driver
    from studio.jobs.job import owned, status

    with owned(folder):
        driver = Driver(folder, planned.tasks, engine, Costs())
        say(f"forecast: {driver.forecast}")
        began, told = time.perf_counter(), 0.0

        def on_progress(done: int, known: int) -> None:
            nonlocal told
            now = time.perf_counter() - began
            if now - told >= _TELL_EVERY:
                told = now
                remaining = status(folder).remaining
                if remaining is not None:
                    say(f"{done} of {known} tasks done, about {in_words(remaining)} to go")

        outcome = driver.run(on_progress)
        took = time.perf_counter() - began
    say(
        f"{outcome.state}: {outcome.performed} tasks in {in_words(took)} (forecast {in_words(driver.forecast.seconds)})"
    )
    if outcome.failed:
        name = outcome.failed[0]
        raise StudioError(
            f"{len(outcome.failed)} tasks failed, the first is {name}",
            got=driver.failed[name]["error"],
            next=f"studio jobs retry {folder}",
        )
    results = sorted((folder / "render").glob("*/video/*")) if outcome.state == "done" else []
    finish(*(path for path in results if path.name != "done.json" and path.suffix != ".json"), folder)


def _require_room(folder: Path, planned: Planned, engine: Engine) -> None:
    """Tell the forecast. Raises StudioError when the disk has less room than that."""
    from studio.jobs.costs import Costs, forecast
    from studio.machine import free_disk

    cores = engine.cores if engine.cores < 1e6 else len(planned.tasks)
    told, free = forecast(planned.tasks, Costs(), int(cores), engine.memory), free_disk(folder)
    print(f"{len(planned.tasks)} tasks to begin with: {told}", flush=True)
    if told.disk > free:
        raise StudioError(
            f"no room for the job at {folder}",
            got=f"{free / 1e9:.2f} GB free",
            expected=f"about {told.disk / 1e9:.2f} GB",
            next="free some space, or give out=… on another disk",
        )


def _engine(config: Config, folder: Path, cores: int, gpus: int) -> Engine:
    from studio.jobs.engines import LocalEngine, RayEngine, SlurmEngine
    from studio.jobs.results import WORKERS

    name: EngineName = config.get("engine", EngineName)
    address = config.get("address", str | None)
    if name == "ray":
        return RayEngine(address)
    if name == "slurm":
        return SlurmEngine(folder.parent / f".{folder.name}.slurm", address)
    return LocalEngine(config.get("workers", int | None) or cores, gpus=gpus, log=folder / WORKERS)


def _gpus() -> int:
    import torch

    return min(torch.cuda.device_count(), 1) if torch.cuda.is_available() else 0


def _print_status(folder: Path, found: Status) -> None:
    from studio.jobs.costs import in_words

    to_go = "" if found.remaining is None else f", about {in_words(found.remaining)} to go"
    print(f"{folder}: {found.state}, {found.done} of {found.tasks} tasks done{to_go}")
    for kind, (done, known) in found.by_kind.items():
        print(f"  {kind:<16} {done} of {known}")
    for name, error in found.failed.items():
        print(f"  failed: {name}: {error}")
    if found.state in ("paused", "cancelled", "interrupted"):
        print(f"next: studio jobs resume {folder}")
    if found.state == "failed":
        print(f"next: studio jobs retry {folder}; details are in {json.dumps('failures.json')}")
