"""A task: a pure top-level function, plain arguments, and a folder that it fills, whole or not at all."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.jobs.results import SCRATCH, note_start, path_of, read_result, sealed
from studio.machine import peak_memory


@dataclass(frozen=True)
class Place:
    """Where a task works.

    Args:
        result: the folder to fill; it becomes the task's own when the function returns.
        scratch: a folder of the task that survives a kill, for work that can be continued; removed at the end.
        job: the job folder; results of other tasks are ``Place.of(name)``.
    """

    result: Path
    scratch: Path
    job: Path

    def of(self, name: str) -> Path:
        """The result of a task that this one needs."""
        return path_of(self.job, name)


Work = Callable[[Mapping[str, Any], Place], None]


@dataclass(frozen=True)
class Guess:
    """Seconds on one core, bytes of memory and bytes on disk, by constants.

    What a kind of task took on a machine is kept in units of the guess, so that a guess must grow with the work as the
    task does; its scale the machine finds out.
    """

    seconds: float = 1.0
    memory: float = 4e8
    disk: float = 1e5


@dataclass(frozen=True)
class Task:
    """A piece of a job.

    Args:
        name: where its result lies in the job folder, such as "render/talk/frames/000000-000047".
        work: a top-level function of a module; the same arguments and inputs give the same bytes.
        arguments: plain values.
        needs: names of the tasks whose results it reads; they are verified before it starts.
        kind: what it is to the cost model.
        threads: cores that it uses.
        gpus: devices that it uses.
        guess: what it takes by constants.
        then: further tasks, known only when its result is there; called by the driver with the result's folder.
        expected: what those tasks will be like, for the forecast.
    """

    name: str
    work: Work
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    kind: str = "task"
    threads: int = 1
    gpus: int = 0
    guess: Guess = field(default_factory=lambda: Guess())
    then: Callable[[Path], Sequence[Task]] | None = None
    expected: tuple[Task, ...] = ()

    def call(self, job: Path) -> Call:
        """What a worker needs to know."""
        target = f"{self.work.__module__}:{self.work.__qualname__}"
        return Call(str(job), self.name, target, dict(self.arguments), self.threads)


@dataclass(frozen=True)
class Call:
    """A task as it travels to a worker: made by the driver from code, never read from disk."""

    job: str
    name: str
    target: str
    arguments: dict[str, Any]
    threads: int


def perform(call: Call) -> dict[str, Any]:
    """Do a task in this process, unless its result is there; returns what it took.

    The result is made under a temporary name, its files are hashed and flushed to the disk, then it is renamed.
    """
    job = Path(call.job)
    done = read_result(job, call.name)
    if done is not None:
        return done
    _limit_threads(call.threads)
    module, _, name = call.target.partition(":")
    work: Work = getattr(importlib.import_module(module), name)
    note_start(job, call.name)
    began, used, fresh = time.perf_counter(), time.process_time(), _is_first()
    with sealed(job, call.name) as (temporary, cost):
        scratch = path_of(job, call.name, SCRATCH)
        work(call.arguments, Place(temporary, scratch, job))
        cost["seconds"] = time.perf_counter() - began
        cost["processor"] = time.process_time() - used
        cost["memory"] = peak_memory()
        cost["threads"], cost["fresh"] = call.threads, fresh
    result = read_result(job, call.name)
    if result is None:
        raise StudioError(f"the result of {call.name} is gone", next="is another driver using the job folder?")
    return result


_performed = 0


def _is_first() -> bool:
    """Whether this process does its first task, which waits for imports and compiled kernels."""
    global _performed
    _performed += 1
    return _performed == 1


def _limit_threads(count: int) -> None:
    """The kernels' and torch's threads in this process, whether torch is imported already or not."""
    os.environ["STUDIO_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def described(task: Task) -> dict[str, Any]:
    """A task for the plan on disk, which is for people: nothing of it is run."""
    return {name: getattr(task, name) for name in ("name", "needs", "kind", "threads", "gpus")}
