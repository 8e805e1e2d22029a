"""A forecast comes after the first steps, counts what is left, and is kept beside what it took."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from recon.forecast import COST, Cost, Meter, Outlook, step_work
from recon.frames import Views
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.heads.model import HeadModel
from studio.machine import peak_memory


class _Steady:
    """Two milliseconds a step, and one more for an image that is read at every fourth."""

    reading = (0, 0.0)

    def outlook(self, done: int) -> Outlook:
        return Outlook(work=60 - done, reads=0, memory=1_000_000)

    def step(self, index: int) -> None:
        time.sleep(0.002)
        if index % 4 == 0:
            time.sleep(0.001)
            self.reading = (self.reading[0] + 1, self.reading[1] + 0.001)


def test_it_is_near_what_it_takes(tmp_path: Path) -> None:
    session, began = _Steady(), time.perf_counter()
    meter = Meter(session, tmp_path, began, 60)
    for index in range(60):
        session.step(index)
        meter.step(index + 1)
    meter.finish()
    noted = json.loads((tmp_path / COST).read_text())
    assert noted["forecast"]["seconds"] == pytest.approx(noted["actual"]["seconds"], rel=0.3)
    assert noted["forecast"]["memory"] <= noted["actual"]["memory"] + 1_000_000


def test_a_run_too_short_for_a_forecast_says_so(tmp_path: Path) -> None:
    meter = Meter(session := _Steady(), tmp_path, time.perf_counter(), 1)
    session.step(0)
    meter.step(1)
    meter.finish()
    assert json.loads((tmp_path / COST).read_text())["forecast"] is None


def test_costs_are_told_in_words() -> None:
    assert str(Cost(65.4, 1_340_000_000)) == "1 min 05 s and 1.3 GB of memory"
    assert str(Cost(12.0, None)) == "12 s"
    assert step_work(2000, 0) == 2 * step_work(1000, 0)


def test_peak_memory_only_rises() -> None:
    before = peak_memory()
    assert before is not None
    block = bytearray(50_000_000)
    after = peak_memory()
    assert after is not None
    assert after >= max(before, len(block))


def test_images_ahead_are_counted_within_the_cache(capture: Capture, head: HeadModel, track: CodeTrack) -> None:
    keys = [(t, 0) for t in range(6)]
    person = head.with_identity(head.identity_basis.new_zeros(1))
    views = Views(capture, person, track.codes)
    size = views[keys[0]].size()
    assert views.ahead(keys, 3.0) == (5, 5 * size)
    small = Views(capture, person, track.codes, max_bytes=3 * size)
    small[keys[0]]
    assert small.ahead(keys, 1.0) == (5, 2 * size)
    assert small.ahead(keys, 4.0)[0] > 5
