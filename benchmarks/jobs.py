"""Jobs under fire: 50 kills at random moments, the forecast of a second run, a thousand simulated subjects.

``python -m benchmarks.jobs kills|forecast|subjects|ray`` (all by default). Tasks are the tests' small ones, so that
what is measured is the engine: bytes equal to those of an undisturbed run, tasks begun twice,
seconds foretold against taken.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import print_table, write_json
from studio.folders import Manifest
from studio.jobs.costs import Costs
from studio.jobs.driver import Driver
from studio.jobs.engines import Engine, LocalEngine, RayEngine
from studio.jobs.job import create_job, owned, status
from studio.jobs.results import read_log
from studio.jobs.tasks import Task
from tests.studio.jobs.work import chunk_tasks, content, count_words, frames

_PROJECT = Path(__file__).resolve().parents[1]
_OUT = Path("outputs/benchmarks/jobs.json")


def kills(folder: Path, count: int = 50, chunks: int = 300) -> dict[str, object]:
    """SIGKILL of the driver or a worker, again and again, until so many; then let it finish."""
    create_job(folder, "", Manifest(kind="job"))
    order, done, drivers = random.Random(0), 0, 0
    command = [sys.executable, "-m", "tests.studio.jobs.drive", str(folder), str(chunks), "0.02"]
    while status(folder).state != "done":
        driver = subprocess.Popen(command, cwd=_PROJECT, stderr=subprocess.DEVNULL)
        drivers += 1
        while driver.poll() is None and done < count:
            begun = len(read_log(folder))
            while driver.poll() is None and len(read_log(folder)) < begun + 2:
                time.sleep(0.01)  # a kill before anything runs would prove nothing
            time.sleep(order.uniform(0.0, 0.2))
            found = subprocess.run(["pgrep", "-P", str(driver.pid)], capture_output=True, text=True).stdout.split()
            victim = order.choice([driver.pid, *map(int, found[-2:])])
            if driver.poll() is None:
                os.kill(victim, signal.SIGKILL)
                done += 1
        driver.wait()
    whole = (folder / "video" / "whole.bin").read_bytes()
    starts = [event["task"] for event in read_log(folder) if event["event"] == "start"]
    right = whole == b"".join(content(index) for index in range(3 * chunks))
    again = len(starts) - len(set(starts))
    return {"what": "kills", "kills": done, "drivers": drivers, "same bytes": right, "begun twice": again}


def second_run(folder: Path) -> dict[str, object]:
    """Seconds foretold and taken by a job whose kind of task the machine has seen once."""
    costs = Costs(folder / "costs.json")
    told = took = 0.0
    for name, chunks in (("first", 20), ("second", 60)):
        create_job(folder / name, "", Manifest(kind="job"))
        with owned(folder / name):
            began = time.perf_counter()
            driver = Driver(folder / name, chunk_tasks(chunks, seconds=0.1), LocalEngine(2, 1e12), costs)
            told = driver.forecast.seconds
            driver.run()
            took = time.perf_counter() - began
    return {"what": "second run", "foretold s": told, "took s": took, "ratio": told / took}


def on_ray(folder: Path) -> dict[str, object]:
    """The thousand people on a Ray cluster of two nodes on loopback."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
    try:
        cluster.add_node(**options)
        return {**subjects(folder, engine=RayEngine(cluster.address)), "what": "subjects on Ray"}
    finally:
        cluster.shutdown()


def subjects(folder: Path, count: int = 1000, engine: Engine | None = None) -> dict[str, object]:
    """A thousand people: each a training, chunks of a render that need it, and figures."""
    create_job(folder, "", Manifest(kind="job"))
    tasks: list[Task] = []
    for number in range(count):
        train = Task(f"train/{number:04d}", count_words, {"words": 100}, kind="train")
        drawn = Task(f"render/{number:04d}", frames, {"first": 0, "last": 2}, (train.name,), kind="draw")
        judged = Task(f"judge/{number:04d}", count_words, {"words": 5}, (train.name, drawn.name), kind="judge")
        tasks += [train, drawn, judged]
    began = time.perf_counter()
    with owned(folder):
        outcome = Driver(folder, tasks, engine or LocalEngine(2, 1e12), Costs(folder.parent / "c.json")).run()
    took = time.perf_counter() - began
    asked = time.perf_counter()
    state = status(folder).state
    asked = time.perf_counter() - asked
    overhead = 1e3 * took / len(tasks)
    return {"what": "subjects", "tasks": outcome.performed, "state": state, "ms a task": overhead, "status s": asked}


def main() -> None:
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["kills", "forecast", "subjects", "ray"])
    chosen = parser.parse_args().what
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, measure in (("kills", kills), ("forecast", second_run), ("subjects", subjects), ("ray", on_ray)):
            if chosen in (None, name):
                place = Path(temporary) / name
                place.parent.mkdir(exist_ok=True)
                rows.append(measure(place))
                print_table(rows[-1:])
    write_json(_OUT, "jobs", rows)


if __name__ == "__main__":
    main()
