"""Warming up compiles all that a training step needs, first to last or, in the helper, last to first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studio.kernels import warmup

ROOT = Path(__file__).parents[3]

_STEP = """
import numpy, torch
from numba.core import event
from studio.kernels import warmup
from studio.kernels.compiled import _announcer
from studio.cameras import Camera, intrinsics
from studio.kernels.drive import CHANNELS, Gains, SkinnedPlaces, carry_splats
from studio.kernels.photometric import photometric_loss
from studio.kernels.splat import rasterize_splats

warmup.warm_up().join()

class Cold(event.Listener):
    def on_start(self, happening):
        if happening.data["dispatcher"] in _announcer.dispatchers:
            print("compiled", happening.data["dispatcher"].py_func.__name__)
    def on_end(self, happening):
        pass

event.register("numba:compile", Cold())
count, bases = 20, 2
corners = torch.arange(3).repeat(count, 1)
mesh = (torch.eye(3), torch.ones(1, 3, 3), torch.ones(3, 1))
places = SkinnedPlaces(*mesh, corners, torch.rand(count, 3), torch.ones(count))
anchors = places.pose(numpy.ones(1, numpy.float32), numpy.eye(3, 4, dtype=numpy.float32)[None])
shapes = ((count, 3), (count, 4), (count, 3), (count,), (count, 3), (bases, count * CHANNELS))
raw = tuple(torch.rand(*shape).requires_grad_() for shape in shapes)
parts = torch.zeros(count, dtype=torch.int64)
splats = carry_splats(Gains(1.0, 1.0, 1.0, 1.0, 1.0, 1.0), anchors, raw, torch.rand(1, bases), parts)
camera = Camera(torch.eye(4)[None], intrinsics(16.0, 16, 16)[None], 16, 16)
render = rasterize_splats(*splats, camera)
photometric_loss(render.rgb, torch.zeros(1, 16, 16, 3), torch.ones(1, 16, 16)).backward()
print("done")
"""


def test_a_training_step_finds_everything_compiled():
    """Types given to the compiler ahead are those of real calls: no kernel is compiled a second time."""
    done = subprocess.run([sys.executable, "-c", _STEP], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["done"], done.stdout


def test_the_helper_ends_with_the_process_that_started_it(monkeypatch):
    monkeypatch.setattr(warmup.os, "cpu_count", lambda: 2)
    helper = warmup.start_helper()
    assert helper is not None
    assert helper.stdin is not None
    helper.stdin.close()
    assert helper.wait(timeout=60) is not None


@pytest.mark.parametrize("reason", ["itself a helper", "one core", "no interpreter"])
def test_no_helper_where_it_could_not_help(monkeypatch, reason):
    monkeypatch.setattr(warmup.subprocess, "Popen", lambda *a, **k: pytest.fail("started"))
    monkeypatch.setattr(warmup.os, "cpu_count", lambda: 1 if reason == "one core" else 2)
    if reason == "itself a helper":
        monkeypatch.setenv(warmup._HELPER, "1")
    elif reason == "no interpreter":
        monkeypatch.setattr(warmup.sys, "executable", "")
    assert warmup.start_helper() is None
