"""What a job takes, from what earlier tasks took on this machine."""

from __future__ import annotations

import json

import pytest

from studio.jobs.costs import Costs, forecast, in_words
from studio.jobs.tasks import Guess, Task
from tests.studio.jobs.work import frames


def task(name, guess=7.0, kind="draw", threads=1, needs=()):
    return Task(name, frames, {}, needs, kind, threads, guess=Guess(guess, 1e9, 1e6))


def took(seconds, memory=5e8, size=1000, fresh=False, threads=1):
    return {"seconds": seconds, "memory": memory, "bytes": size, "threads": threads, "fresh": fresh}


def test_before_anything_is_known_the_guess_counts():
    told = forecast([task("a"), task("b")], Costs(), cores=2, memory=1e12)
    assert told.seconds == pytest.approx(7 + 2)  # the start of the processes
    assert (told.memory, told.disk, told.measured) == (2e9, 2e6, 0)
    assert "a guess" in str(told)


def test_one_task_is_enough_to_know_better_and_the_record_is_kept():
    Costs().learn([(task("a"), took(4.0)), (task("b", 14.0), took(8.0, size=3000))])
    costs = Costs()
    assert costs.estimate(task("c", 21.0)).seconds == pytest.approx(12.0)
    assert costs.estimate(task("c", 21.0)).disk == pytest.approx(
        2000
    )  # the median of 1000 and 3000 for what was guessed
    assert costs.estimate(task("c", kind="other")).seconds == 7.0


def test_the_first_task_of_a_process_does_not_spoil_the_others():
    Costs().learn([(task("a"), took(9.0, fresh=True)), *((task("b"), took(4.0)),) * 3])
    costs = Costs()
    assert costs.estimate(task("c")).seconds == pytest.approx(4.0)
    assert costs.start == pytest.approx(5.0)
    many = [task(str(index)) for index in range(10)]
    assert forecast(many, costs, cores=2, memory=1e12).seconds == pytest.approx(5 * 4 + 5)


def test_cores_memory_and_needs_decide_how_much_runs_at_once():
    Costs().learn([(task("a"), took(4.0))] * 3 + [(task("a"), took(4.0, fresh=True))])
    costs, tasks = Costs(), [task(str(index)) for index in range(4)]
    assert forecast(tasks, costs, cores=4, memory=1e12).seconds == pytest.approx(4)
    assert forecast(tasks, costs, cores=4, memory=1.1e9).seconds == pytest.approx(8)  # two fit
    assert forecast(tasks, costs, cores=4, memory=1.0).seconds == pytest.approx(16)  # one always runs
    last = task("last", needs=tuple(item.name for item in tasks))
    assert forecast([*tasks, last], costs, cores=4, memory=1e12).seconds == pytest.approx(8)
    assert forecast(tasks, costs, cores=4, memory=1e12).memory == pytest.approx(2e9)


def test_a_damaged_record_is_as_good_as_none():
    path = Costs().path
    path.write_text("{ what")
    assert not Costs().estimate(task("a")).measured
    Costs().learn([(task("a"), took(1.0))])
    assert json.loads(path.read_text())


def test_durations_in_words():
    assert [in_words(s) for s in (41.2, 185, 7800)] == ["41 s", "3 min 05 s", "2 h 10 min"]
