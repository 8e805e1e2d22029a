"""What tasks take on this machine, learned from every task that was done, and what a job will take.

By kind of task it is kept what tasks took and what had been guessed, whose ratio corrects the next guess. A process's
first task waits for imports and kernels; that is kept apart. Until a kind was seen, the guess itself counts.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from filelock import FileLock

from studio.folders import write_json
from studio.jobs.tasks import Task
from studio.machine import processor

_KEPT = 100  # observations of a kind
_NEAREST = 9  # of them, by what was guessed and then the latest, tell what a task takes
_STARTS = 2.0  # seconds of a process's start, until that was measured


@dataclass(frozen=True)
class Estimate:
    """Of one task: seconds, bytes of memory, bytes on disk, and whether this machine has measured its kind."""

    seconds: float
    memory: float
    disk: float
    measured: bool


@dataclass(frozen=True)
class Forecast:
    """Of a job: wall-clock seconds, bytes of memory at the peak, bytes on disk.

    ``measured``: the share of the seconds that rests on this machine's records.
    """

    seconds: float
    memory: float
    disk: float
    measured: float

    def __str__(self) -> str:
        sure = "from earlier tasks on this machine" if self.measured > 0.9 else "a guess, until this machine knows more"
        size = f"{self.memory / 1e9:.1f} GB of memory, {self.disk / 1e9:.2f} GB on disk"
        return f"about {in_words(self.seconds)}, {size} ({sure})"


def in_words(seconds: float) -> str:
    """A duration: "41 s", "3 min 05 s" or "2 h 10 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Costs:
    """The record of this machine; STUDIO_COSTS names another file than the user's own."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _usual_path()
        self._machine = f"{processor()} x{os.cpu_count()}"
        self._kinds = self._read().get(self._machine, {})

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            data = json.loads(self.path.read_text())
            if isinstance(data, dict):
                return data
        return {}

    def learn(self, seen: Sequence[tuple[Task, Mapping[str, Any]]]) -> None:
        """Keep what tasks took, as ``perform`` tells it. A record that cannot be written is no reason to stop."""
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", timeout=10):
                data = self._read()
                kinds = data.setdefault(self._machine, {})
                for task, took in seen:
                    row = {name: took.get(name) for name in ("seconds", "memory", "bytes", "threads", "fresh")}
                    known = kinds.setdefault(task.kind, [])
                    known.append({**row, "guess": task.guess.seconds, "guess_bytes": task.guess.disk})
                    del known[:-_KEPT]
                write_json(self.path, data)
            self._kinds = kinds

    def estimate(self, task: Task) -> Estimate:
        """What a task will take in a process that is warm."""
        rows, guess = self._near(task), task.guess
        if not rows:
            return Estimate(guess.seconds / max(task.threads, 1), guess.memory, guess.disk, False)
        warm = [row for row in rows if not row["fresh"]]
        # Where only first tasks of processes are known, their start is in it.
        taken = [(row, row["seconds"]) for row in warm] or [(row, self._warmed(row["seconds"])) for row in rows]
        seconds = guess.seconds * median(took / row["guess"] for row, took in taken)
        disk = guess.disk * median(row["bytes"] / row["guess_bytes"] for row in rows)
        memory = max((row["memory"] for row in rows if row["memory"]), default=guess.memory)
        return Estimate(seconds, memory, disk, True)

    def _near(self, task: Task) -> list[dict[str, Any]]:
        """The records of the task's kind that are most like it."""
        latest = self._kinds.get(task.kind, [])[::-1]
        same = [row for row in latest if row["threads"] == task.threads] or latest
        return sorted(same, key=lambda row: abs(math.log(row["guess"] / task.guess.seconds)))[:_NEAREST]

    def _warmed(self, seconds: float) -> float:
        return max(seconds - self.start, 0.3 * seconds)

    @property
    def start(self) -> float:
        """Seconds by which a process's first task is slower."""
        extra = []
        for rows in self._kinds.values():
            warm = [row["seconds"] / row["guess"] for row in rows if not row["fresh"]]
            if warm:
                usual = median(warm)
                extra += [max(0.0, row["seconds"] - usual * row["guess"]) for row in rows if row["fresh"]]
        return median(extra[-_KEPT:]) if extra else _STARTS


def forecast(tasks: Sequence[Task], costs: Costs, cores: int, memory: float) -> Forecast:
    """What tasks, and those that they will bring, take on so many cores with so much memory."""
    whole = [*tasks, *(later for task in tasks for later in task.expected)]
    estimates = {task.name: costs.estimate(task) for task in whole}
    total = sum(item.seconds for item in estimates.values())
    known = sum(item.seconds for item in estimates.values() if item.measured)
    seconds, peak = _played(whole, estimates, cores, memory, costs.start)
    disk = sum(item.disk for item in estimates.values())
    return Forecast(seconds, peak, disk, known / total if total else 1.0)


def _played(
    tasks: Sequence[Task], estimates: Mapping[str, Estimate], cores: int, memory: float, start: float
) -> tuple[float, float]:
    """Seconds and peak memory when every task begins as soon as its needs are done and there is room for it."""
    waiting = {task.name: task for task in tasks}
    running: list[tuple[float, str]] = []
    now = peak = free_at = 0.0
    warm, done = 0, set(name for task in tasks for name in task.needs) - waiting.keys()
    while waiting or running:
        busy = [task for task in tasks if any(task.name == name for _, name in running)] if running else []
        used, held = sum(task.threads for task in busy), sum(estimates[task.name].memory for task in busy)
        for name, task in list(waiting.items()):
            cost = estimates[name]
            fits = used + task.threads <= cores and held + cost.memory <= memory
            if all(need in done for need in task.needs) and (fits or not running):
                cold = start if warm < cores else 0.0
                warm += 1
                heapq.heappush(running, (now + cost.seconds + cold, name))
                used, held = used + task.threads, held + cost.memory
                del waiting[name]
        peak = max(peak, held)
        if not running:  # a need that nobody makes: the rest is not counted
            break
        now, name = heapq.heappop(running)
        done.add(name)
        free_at = now
    return free_at, peak


def _usual_path() -> Path:
    if named := os.environ.get("STUDIO_COSTS"):
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("head-avatar-studio") / f"costs-2-{sys.platform}.json"  # 2: of the record's form
