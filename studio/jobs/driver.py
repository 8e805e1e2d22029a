"""The driver: starts what can be started, takes results in, tries again what was lost, and listens to the user."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from errno import EIO, EROFS
from pathlib import Path

from studio.errors import StudioError, is_disk_full
from studio.folders import write_json
from studio.jobs.costs import Costs, forecast
from studio.jobs.engines import Engine, Lost, Running
from studio.jobs.job import FAILURES, State, failures, wanted, write_plan
from studio.jobs.results import discard, note, path_of, read_result, sweep
from studio.jobs.tasks import Task

_POLL = 0.005  # seconds
_LOSSES = 5  # workers that a task may take with it before it counts as failed
_LEARN_EVERY = 50  # tasks
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Outcome:
    """How a driver's work ended: in which state, how many tasks it did itself, and what failed."""

    state: State
    performed: int
    failed: tuple[str, ...]


class Driver:
    """Runs the tasks of a job folder that it owns (see ``studio.jobs.job.owned``)."""

    def __init__(self, folder: Path, tasks: Sequence[Task], engine: Engine, costs: Costs) -> None:
        self.folder, self.engine, self.costs = folder, engine, costs
        self.tasks: dict[str, Task] = {}
        self.done: set[str] = set()
        self.failed = failures(folder)
        self.running: dict[str, Running] = {}
        self._began: dict[str, float] = {}
        self._losses: Counter[str] = Counter()
        self._suspects: set[str] = set()  # they were running when a worker died: started one at a time
        self._learned: list[tuple[Task, dict[str, object]]] = []
        self.performed = 0
        sweep(folder)
        for task in tasks:
            self._add(task)
        left = [task for task in self.tasks.values() if task.name not in self.done]
        cores = engine.cores if engine.cores < 1e6 else max(1.0, float(len(left)))
        told = forecast(left, costs, int(cores), engine.memory)
        self.forecast = told
        write_plan(folder, list(self.tasks.values()), costs, told, engine.cores)

    def _add(self, task: Task) -> None:
        """Take a task in, and those that its result brings."""
        if task.name in self.tasks:
            return
        self.tasks[task.name] = task
        if read_result(self.folder, task.name, verify=True) is not None:
            self.done.add(task.name)
            self._bring(task)
        elif path_of(self.folder, task.name).exists():
            note(self.folder, "damaged", task=task.name)
            discard(self.folder, task.name)

    def _bring(self, task: Task) -> None:
        if task.then is not None:
            for later in task.then(path_of(self.folder, task.name)):
                self._add(later)

    def run(self, on_progress: OnProgress | None = None) -> Outcome:
        """Work until all is done, nothing more can be done, or the user wants it to stop.

        Raises:
            StudioError: the disk is full or cannot be written; what is done stays.
            KeyboardInterrupt: after Ctrl-C; what is done stays.
        """
        kill = True
        try:
            while True:
                asked = wanted(self.folder)
                self._collect()
                found_damage = asked == "run" and self._start()
                if asked == "cancel" or not (self.running or found_damage):
                    break
                if on_progress is not None:
                    on_progress(len(self.done), len(self.tasks))
                time.sleep(_POLL)
            kill = asked == "cancel"
        finally:
            self.engine.close(kill)
            self.costs.learn(self._learned)
        state = self._state(asked)
        sweep(self.folder)
        note(self.folder, state)
        return Outcome(state, self.performed, tuple(self.failed))

    def _state(self, asked: str) -> State:
        if self.done >= self.tasks.keys():
            return "done"
        if asked != "run":
            return "cancelled" if asked == "cancel" else "paused"
        return "failed"

    def _start(self) -> bool:
        """Start every task whose needs are there and for which there is room; whether a need was damaged."""
        found_damage = False
        for task in self._ready():
            estimate = self.costs.estimate(task)
            if not self._fits(task, estimate.memory):
                break  # in the order of the plan: a large task is not passed by small ones for ever
            damaged = [name for name in task.needs if read_result(self.folder, name, verify=True) is None]
            for name in damaged:
                note(self.folder, "damaged", task=name)
                discard(self.folder, name)
                self.done.discard(name)
            found_damage |= bool(damaged)
            if not damaged:
                self._began[task.name] = time.perf_counter()
                self.running[task.name] = self.engine.start(task.call(self.folder), estimate.memory, task.gpus)
        return found_damage

    def _ready(self) -> list[Task]:
        """What could be started; of the suspects one at a time, and then nothing else."""
        waiting = [
            task
            for name, task in self.tasks.items()
            if name not in self.done and name not in self.failed and name not in self.running
        ]
        ready = [task for task in waiting if self.done.issuperset(task.needs)]
        suspects = [task for task in ready if task.name in self._suspects]
        if suspects or self._suspects & self.running.keys():
            return suspects[:1] if not self.running else []
        return ready

    def _fits(self, task: Task, memory: float) -> bool:
        """Whether there is room beside what is running; a task that needs more than there is runs alone."""
        if not self.running:
            return True
        busy = [self.tasks[name] for name in self.running]
        held = sum(self.costs.estimate(item).memory for item in busy)
        return (
            sum(item.threads for item in busy) + task.threads <= self.engine.cores
            and held + memory <= self.engine.memory
            and sum(item.gpus for item in busy) + task.gpus <= max(self.engine.gpus, 1)
        )

    def _collect(self) -> None:
        """Take in what has ended."""
        ended = [name for name, running in self.running.items() if running.done()]
        if not ended:
            return
        lost: list[tuple[str, Lost]] = []
        for name in ended:
            running, task = self.running.pop(name), self.tasks[name]
            try:
                took = running.result()
            except Lost as error:
                lost.append((name, error))
            except Exception as error:  # whatever a task raises is its failure, not the driver's
                self._fail(name, error)
            else:
                self._finish(task, took)
        for name, loss in lost:
            self._lose(name, loss)

    def _finish(self, task: Task, took: dict[str, object]) -> None:
        self.done.add(task.name)
        self._suspects.discard(task.name)
        self.performed += 1
        note(self.folder, "done", task=task.name, seconds=took["seconds"])
        if self.engine.cores < 1e6:  # nobody queues in between: handing over and sealing are part of what it takes
            took = {**took, "seconds": time.perf_counter() - self._began[task.name]}
        self._learned.append((task, took))
        if len(self._learned) >= _LEARN_EVERY:
            self.costs.learn(self._learned)
            self._learned = []
        if task.then is not None:
            self._bring(task)
            write_plan(self.folder, list(self.tasks.values()), self.costs, None, self.engine.cores)

    def _lose(self, name: str, loss: Lost) -> None:
        """A worker died with the task: once more, alone, so that it is known who kills workers."""
        note(self.folder, "lost", task=name, how=str(loss)[:200])
        self._losses[name] += 1
        self._suspects.add(name)
        if self._losses[name] >= _LOSSES:
            hint = "its worker died each time: out of memory?"
            self._note_failure(name, StudioError(f"{name} was given up", got=hint, next="studio jobs retry"))

    def _fail(self, name: str, error: Exception) -> None:
        if is_disk_full(error):
            raise StudioError(
                f"the disk is full at {self.folder}",
                got=error,
                next=f"free some, then studio jobs resume {self.folder}",
            ) from error
        if isinstance(error, OSError) and error.errno in (EROFS, EIO):
            raise StudioError(f"{self.folder} cannot be written", got=error.strerror, next="mend it, then resume")
        self._note_failure(name, error)

    def _note_failure(self, name: str, error: Exception) -> None:
        self._suspects.discard(name)
        one_line = str(error) if isinstance(error, StudioError) else f"{type(error).__name__}: {error}"
        details = "".join(traceback.format_exception(error))
        self.failed[name] = {"error": " ".join(one_line.split())[:500], "traceback": details}
        write_json(self.folder / FAILURES, self.failed)
        note(self.folder, "failed", task=name)
