"""Workers: how many, all shares done exactly once, errors seen, several callers at once, forked children."""

from __future__ import annotations

import os
import threading
import time

import pytest

from studio.errors import StudioError
from studio.kernels.workers import run, undivided, worker_count


def test_every_share_runs_once_and_the_caller_is_worker_zero():
    seen: list[tuple[int, int, str]] = []
    threads = {}

    def kernel(worker: int, workers: int, text: str) -> None:
        time.sleep(0.002)
        threads[worker] = threading.current_thread()
        seen.append((worker, workers, text))

    run(kernel, 6, "a")
    assert sorted(seen) == [(worker, 6, "a") for worker in range(6)]
    assert threads[0] is threading.current_thread()


def test_an_error_in_any_share_reaches_the_caller():
    def kernel(worker: int, workers: int) -> None:
        if worker == 1:
            raise ValueError("share 1")

    with pytest.raises(ValueError, match="share 1"):
        run(kernel, 3)


def test_undivided_is_for_one_thread_and_for_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_THREADS", "4")
    elsewhere = []
    with undivided():
        with undivided():
            assert worker_count() == 1
        assert worker_count() == 1
        other = threading.Thread(target=lambda: elsewhere.append(worker_count()))
        other.start()
        other.join()
    assert elsewhere == [4]
    assert worker_count() == 4


def test_two_threads_and_nested_calls_finish():
    """More callers than threads, each calling again from inside: shares nobody has begun are done by their caller."""
    done = []

    def inner(worker: int, workers: int) -> None:
        done.append(worker)

    def outer(worker: int, workers: int) -> None:
        run(inner, 3)

    callers = [threading.Thread(target=run, args=(outer, 3)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=20)
        assert not caller.is_alive()
    assert len(done) == 4 * 3 * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_gets_threads_of_its_own():
    run(lambda worker, workers: None, 3)
    child = os.fork()
    if child == 0:
        done: list[int] = []
        run(lambda worker, workers: done.append(worker), 3)
        os._exit(0 if sorted(done) == [0, 1, 2] else 1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_the_number_of_workers_can_be_set(monkeypatch):
    monkeypatch.setenv("STUDIO_THREADS", "7")
    assert worker_count() == 7
    monkeypatch.setenv("STUDIO_THREADS", "many")
    with pytest.raises(StudioError, match="STUDIO_THREADS; got 'many'; expected a whole number from 1"):
        worker_count()
    monkeypatch.delenv("STUDIO_THREADS")
    assert 1 <= worker_count() <= (os.cpu_count() or 1)
