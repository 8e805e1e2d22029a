"""A job folder: what was asked, the plan, what failed, what is wanted of it, and who is at work on it.

    job.yaml plan.json log.jsonl failures.json wanted.json manifest.json <results of tasks>/

The folder is the truth: whether a task is done is asked of its result, never of a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from filelock import FileLock, Timeout

from studio.errors import StudioError
from studio.folders import MANIFEST, Manifest, new_folder, read_manifest, require_new, write_json
from studio.jobs.costs import Costs, Forecast
from studio.jobs.results import note, read_result
from studio.jobs.tasks import Task, described

REQUEST, PLAN, FAILURES, WANTED = "job.yaml", "plan.json", "failures.json", "wanted.json"
_LOCK = ".lock"
Wanted = Literal["run", "pause", "cancel"]
State = Literal["done", "running", "failed", "paused", "cancelled", "interrupted"]


@dataclass(frozen=True)
class Status:
    """Where a job stands.

    Args:
        state: "interrupted" is a job that nobody works on and that nobody stopped.
        tasks: how many are known; a task may bring further ones.
        done: how many are done.
        failed: name -> the error in a line.
        remaining: seconds still to come on this machine, None when it is done.
        by_kind: kind -> (done, known).
    """

    state: State
    tasks: int
    done: int
    failed: Mapping[str, str]
    remaining: float | None
    by_kind: Mapping[str, tuple[int, int]]


def create_job(folder: Path, request: str, manifest: Manifest) -> None:
    """Make a new job folder. Raises StudioError when it exists."""
    require_new(folder, next="studio jobs resume goes on with it, or choose another name")
    with new_folder(folder) as temporary:
        (temporary / REQUEST).write_text(request, encoding="utf-8")
        write_json(temporary / MANIFEST, asdict(manifest))
        write_json(temporary / FAILURES, {})
        write_json(temporary / WANTED, "run")


def require_job(folder: Path) -> Manifest:
    """The manifest of a job folder. Raises StudioError when it is none."""
    return read_manifest(folder, kind="job", complete=False)


def require_same(folder: Path, inputs: Mapping[str, str], request: str) -> None:
    """Raise StudioError when a job's sources or its request are not those that it was begun with."""
    begun = dict(require_job(folder).parents)
    changed = sorted(name for name in {*begun, *inputs} if begun.get(name) != inputs.get(name))
    if (folder / REQUEST).read_text(encoding="utf-8") != request:
        changed.append(REQUEST)
    if changed:
        raise StudioError(
            f"{folder} was begun with other sources",
            got=f"another {', another '.join(changed[:5])}",
            next="restore them, or start a new job",
        )


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Be the only driver of a job; the system ends the ownership with the process, however it ends."""
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudioError(f"another driver is at work on {folder}", next=f"studio jobs status {folder}") from None
    try:
        yield
    finally:
        lock.release()


def is_owned(folder: Path) -> bool:
    """Whether a driver is at work."""
    try:
        with FileLock(folder / _LOCK).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written: nobody works there
        return False


def wanted(folder: Path) -> Wanted:
    """What the user wants of a job."""
    said = _read(folder / WANTED, "run")
    return said if said in ("pause", "cancel") else "run"


def want(folder: Path, what: Wanted) -> None:
    """Say what a job should do; its driver listens."""
    require_job(folder)
    write_json(folder / WANTED, what)
    note(folder, "wanted", what=what)


def write_plan(folder: Path, tasks: Sequence[Task], costs: Costs, forecast: Forecast | None, cores: float) -> None:
    """Keep for people what is planned, with the seconds that each task should take."""
    known = {task.name for task in tasks}
    later = [item for task in tasks if task.then is None or not _came(task, known) for item in task.expected]
    rows = [
        {**described(task), "seconds": costs.estimate(task).seconds, "expected": index >= len(tasks)}
        for index, task in enumerate([*tasks, *later])
    ]
    before = _read(folder / PLAN, {})
    told = asdict(forecast) if forecast is not None else before.get("forecast")
    write_json(folder / PLAN, {"forecast": told, "cores": min(cores, 1e6), "tasks": rows})


def _came(task: Task, known: set[str]) -> bool:
    """Whether what a task brings is there already."""
    return any(item.name in known for item in task.expected)


def failures(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> error, traceback and attempts of the tasks that failed."""
    found: dict[str, dict[str, Any]] = _read(folder / FAILURES, {})
    return found


def forget_failures(folder: Path) -> int:
    """Let what failed be tried again; returns how many."""
    count = len(failures(folder))
    write_json(folder / FAILURES, {})
    return count


def status(folder: Path) -> Status:
    """Where a job stands, as its folder says. Raises StudioError when it is no job folder."""
    require_job(folder)
    plan, failed = _read(folder / PLAN, {"tasks": []}), failures(folder)
    results = {row["name"]: read_result(folder, row["name"]) for row in plan["tasks"]}
    done = {name for name, result in results.items() if result is not None}
    kinds: dict[str, tuple[int, int]] = {}
    for row in plan["tasks"]:
        have, known = kinds.get(row["kind"], (0, 0))
        kinds[row["kind"]] = (have + (row["name"] in done), known + 1)
    open_rows = [row for row in plan["tasks"] if row["name"] not in done and row["name"] not in failed]
    drift = [result["seconds"] / row["seconds"] for row in plan["tasks"] if (result := results[row["name"]])]
    pace = median(drift) if drift else 1.0
    work = pace * sum(row["seconds"] * row["threads"] for row in open_rows)
    remaining = work / max(1.0, min(plan.get("cores", 1), len(open_rows))) if open_rows else None
    state = _state(folder, bool(open_rows) or not plan["tasks"], bool(failed))
    return Status(
        state, len(results), len(done), {name: str(item["error"]) for name, item in failed.items()}, remaining, kinds
    )


def _state(folder: Path, is_open: bool, has_failed: bool) -> State:
    if is_owned(folder):
        return "running"
    if has_failed:
        return "failed"
    if not is_open:
        return "done"
    said: Mapping[Wanted, State] = {"pause": "paused", "cancel": "cancelled", "run": "interrupted"}
    return said[wanted(folder)]


def _read(path: Path, otherwise: Any) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return otherwise
