"""Whatever is killed, full, damaged or late: the same bytes, nothing done twice but what was in flight."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.jobs.costs import Costs
from studio.jobs.driver import Driver, Outcome
from studio.jobs.engines import LocalEngine
from studio.jobs.job import forget_failures, owned, status, want
from studio.jobs.results import discard, path_of, read_log, read_result
from studio.jobs.tasks import Task
from tests.studio.jobs.work import chunk_tasks, content, die, frames, learn, refuse

PROJECT = Path(__file__).resolve().parents[3]


def work(folder, tasks, workers=2, on_progress=None) -> Outcome:
    with owned(folder):
        return Driver(folder, tasks, LocalEngine(workers, 1e12), Costs()).run(on_progress)


def starts(folder) -> Counter:
    return Counter(event["task"] for event in read_log(folder) if event["event"] == "start")


def whole(folder) -> bytes:
    return (folder / "video" / "whole.bin").read_bytes()


def truth(chunks, size=3) -> bytes:
    return b"".join(content(index) for index in range(chunks * size))


def hidden(folder) -> list[str]:
    return [path.name for path in folder.glob(".making*")]


def test_five_hundred_short_jobs(new_job):
    folder = new_job()
    outcome = work(folder, chunk_tasks(500, size=1))
    assert outcome == Outcome("done", 501, ())
    assert whole(folder) == truth(500, 1)
    assert set(starts(folder).values()) == {1}
    assert status(folder).state == "done"
    assert status(folder).by_kind == {"frames": (500, 500), "join": (1, 1)}


def test_a_job_that_is_done_does_nothing_again(new_job):
    folder = new_job()
    work(folder, chunk_tasks(4))
    assert work(folder, chunk_tasks(4)) == Outcome("done", 0, ())


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_random_moments(new_job, seed):
    """SIGKILL of the driver or of a worker; every time another driver goes on."""
    folder, chunks, kills, order = new_job(), 24, 0, random.Random(seed)
    command = [sys.executable, "-m", "tests.studio.jobs.drive", str(folder), str(chunks), "0.01"]
    while status(folder).state != "done":
        driver = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)
        begun = len(read_log(folder))
        while driver.poll() is None and len(read_log(folder)) < begun + 2:
            time.sleep(0.01)  # a kill before anything runs would prove nothing
        time.sleep(order.uniform(0.0, 0.15))
        if driver.poll() is None and kills < 3:
            workers = _children(driver.pid)
            victim = order.choice([driver.pid, *workers[-2:]])
            os.kill(victim, signal.SIGKILL)
            kills += 1
            if victim != driver.pid:
                driver.wait()
        driver.wait()
    assert whole(folder) == truth(chunks)
    assert sum(starts(folder).values()) - (chunks + 1) <= 2 * kills
    assert status(folder).failed == {}


def _children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True).stdout.split()
    return [int(item) for item in found]


def test_workers_end_with_their_driver(new_job):
    folder = new_job()
    command = [sys.executable, "-m", "tests.studio.jobs.drive", str(folder), "400", "0.05"]
    driver = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)
    while len(starts(folder)) < 2:
        time.sleep(0.02)
    workers = _children(driver.pid)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert workers
    assert not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers)
    assert status(folder).state == "interrupted"


def test_what_half_a_machine_left_is_no_result(new_job):
    folder = new_job()
    work(folder, chunk_tasks(3)[:3])
    chunk = path_of(folder, "frames/0001")
    (chunk / "000004.bin").write_bytes(b"")  # as a power cut leaves a file that was not flushed
    (folder / ".making.frames").mkdir(exist_ok=True)
    (folder / ".making.frames" / "0002.x").mkdir()
    (folder / "log.jsonl").open("a").write('{"event": "do')
    assert work(folder, chunk_tasks(3)).performed == 2
    assert whole(folder) == truth(3)
    assert hidden(folder) == []


def test_a_chunk_that_is_damaged_later_is_made_again(new_job):
    """Same size, other content: found by its hash when the video is put together."""
    folder = new_job()
    tasks = chunk_tasks(3)
    work(folder, tasks)
    discard(folder, "video")
    path = path_of(folder, "frames/0002") / "000006.bin"
    path.write_bytes(bytes(len(path.read_bytes())))
    assert read_result(folder, "frames/0002") is not None
    assert read_result(folder, "frames/0002", verify=True) is None
    assert work(folder, tasks).performed == 2
    assert whole(folder) == truth(3)


def test_damage_while_the_driver_is_at_work(new_job):
    folder, tasks = new_job(), chunk_tasks(12, seconds=0.05)

    first = path_of(folder, "frames/0000")

    def damage(done: int, count: int) -> None:
        if 1 <= done < count - 1 and starts(folder)["frames/0000"] == 1 and first.exists():
            (first / "000001.bin").write_bytes(b"x")

    assert work(folder, tasks, on_progress=damage).state == "done"
    assert whole(folder) == truth(12)
    assert starts(folder)["frames/0000"] == 2


def test_a_full_disk_stops_the_job_and_space_lets_it_finish(new_job, small_disk):
    folder = new_job("job", small_disk)
    work(folder, chunk_tasks(20)[:2])
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    with pytest.raises(StudioError, match=r"the disk is full at .*resume"):
        work(folder, chunk_tasks(20, size=30))
    filler.unlink()
    assert hidden(folder) in ([], [".making.frames"])
    assert work(folder, chunk_tasks(20)).state == "done"
    assert whole(folder) == truth(20)


def test_a_read_only_output(new_job, small_disk):
    folder = new_job("job", small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Read-only") as caught:
        work(folder, chunk_tasks(2))
    assert caught.value.filename is not None
    assert status(folder).state == "interrupted"


def test_clocks_that_jump_change_nothing(new_job, monkeypatch):
    jumps = iter(range(10_000))
    monkeypatch.setattr(time, "time", lambda: 1e9 - 1e5 * next(jumps))
    folder = new_job()
    assert work(folder, chunk_tasks(8)).state == "done"
    for path in folder.rglob("*"):
        os.utime(path, (0, 0) if path.is_dir() else (4e9, 4e9))
    assert work(folder, chunk_tasks(8)) == Outcome("done", 0, ())
    assert status(folder).state == "done"


def test_pause_waits_for_what_runs_and_cancel_does_not(new_job):
    folder, tasks = new_job(), chunk_tasks(30, seconds=0.03)

    def after(count, what):
        while status(folder).done < count:
            time.sleep(0.02)
        want(folder, what)

    for count, what, state in ((2, "pause", "paused"), (6, "cancel", "cancelled")):
        want(folder, "run")
        thread = threading.Thread(target=after, args=(count, what))
        thread.start()
        assert work(folder, tasks).state == state
        thread.join()
        assert status(folder).state == state
        if what == "pause":
            assert sum(starts(folder).values()) == status(folder).done  # nothing was cut off
    want(folder, "run")
    assert work(folder, tasks).state == "done"
    assert whole(folder) == truth(30)


def test_a_failure_is_told_kept_and_tried_again(new_job, tmp_path):
    folder, flag = new_job(), tmp_path / "flag"
    tasks = [Task("fussy", refuse, {"until": str(flag)}), Task("other", frames, {"first": 0, "last": 1})]
    tasks.append(Task("after", frames, {"first": 0, "last": 1}, needs=("fussy",)))
    outcome = work(folder, tasks)
    assert (outcome.state, outcome.performed, outcome.failed) == ("failed", 1, ("fussy",))
    assert status(folder).failed == {"fussy": "not yet; got no file; next: make it"}
    flag.touch()
    assert work(folder, tasks).performed == 0  # resume does not try what failed
    assert forget_failures(folder) == 1
    assert work(folder, tasks) == Outcome("done", 2, ())


def test_a_task_that_kills_its_workers_is_found_out(new_job):
    folder = new_job()
    outcome = work(folder, [Task("deadly", die), *chunk_tasks(4)])
    assert outcome.failed == ("deadly",)
    assert outcome.performed == 5
    assert whole(folder) == truth(4)
    assert "out of memory" in status(folder).failed["deadly"]


def test_a_long_task_goes_on_where_it_was_killed(new_job):
    folder, task = new_job(), Task("train/anna", learn, {"steps": 30, "seconds": 0.02})
    thread = threading.Thread(target=lambda: (_wait(folder / "steps.txt", 20), want(folder, "cancel")))
    thread.start()
    assert work(folder, [task]).state == "cancelled"
    thread.join()
    want(folder, "run")
    assert work(folder, [task]).state == "done"
    counted = (folder / "steps.txt").read_text().split()
    assert len(counted) <= 31
    assert sorted(set(counted), key=int) == [str(step) for step in range(30)]
    assert not (folder / ".scratch.train" / "anna").exists()


def _wait(path: Path, size: int) -> None:
    while not path.exists() or path.stat().st_size < size:
        time.sleep(0.01)


def test_one_driver_at_a_time(new_job):
    folder = new_job()
    with owned(folder):
        assert status(folder).state == "running"
        with pytest.raises(StudioError, match="another driver"), owned(folder):
            pass


def _bring(folder: Path) -> list[Task]:
    count = len((folder / "000000.bin").read_bytes()) // 1000
    return chunk_tasks(count)


def test_tasks_that_are_known_only_later(new_job):
    folder = new_job()
    first = Task("codes", frames, {"first": 0, "last": 1}, then=_bring, expected=tuple(chunk_tasks(2)))
    assert work(folder, [first]) == Outcome("done", 4, ())
    assert whole(folder) == truth(2)
    assert status(folder).tasks == 4
    assert work(folder, [first]).performed == 0
