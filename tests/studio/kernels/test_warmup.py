"""Warming up compiles all that a training step needs, first to last or, in the helper, last to first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compile import STEP
from studio.kernels import compile_helper

ROOT = Path(__file__).parents[3]

_WATCHED = f"""
from numba.core import event
from studio.kernels import warmup
from studio.kernels.compiled import _announcer

warmup.warm_up().join()

class Cold(event.Listener):
    def on_start(self, happening):
        if happening.data["dispatcher"] in _announcer.dispatchers:
            print("compiled", happening.data["dispatcher"].py_func.__name__)
    def on_end(self, happening):
        pass

event.register("numba:compile", Cold())
{STEP}
import sys
print("imported torch._dynamo" if "torch._dynamo" in sys.modules else "")
"""


def test_a_training_step_finds_everything_compiled():
    """Types given to the compiler ahead are those of real calls: no kernel is compiled a second time.

    And nothing imports torch's own compiler, which takes longer than all the rest of a warm start.
    """
    done = subprocess.run([sys.executable, "-c", _WATCHED], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "compiled" not in done.stdout
    assert "imported" not in done.stdout
    assert len(json.loads(done.stdout)) == 2


def test_the_helper_ends_with_the_process_that_started_it(monkeypatch):
    monkeypatch.setattr(compile_helper.os, "cpu_count", lambda: 2)
    helper = compile_helper.start_helper()
    assert helper is not None
    assert helper.stdin is not None
    helper.stdin.close()
    assert helper.wait(timeout=60) is not None


@pytest.mark.parametrize("reason", ["itself a helper", "one core", "no interpreter"])
def test_no_helper_where_it_could_not_help(monkeypatch, reason):
    monkeypatch.setattr(compile_helper.subprocess, "Popen", lambda *a, **k: pytest.fail("started"))
    monkeypatch.setattr(compile_helper.os, "cpu_count", lambda: 1 if reason == "one core" else 2)
    if reason == "itself a helper":
        monkeypatch.setenv(compile_helper._HELPER, "1")
    elif reason == "no interpreter":
        monkeypatch.setattr(compile_helper.sys, "executable", "")
    assert compile_helper.start_helper() is None
