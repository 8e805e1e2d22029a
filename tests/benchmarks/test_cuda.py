"""The benchmark for GPUs runs where there is none, on a device that stands in for one."""

from __future__ import annotations

import pytest

from benchmarks.cuda import BATCH, driven_row
from tests.pretend import pretended


def test_driven_frames_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended(monkeypatch) as device:
        row = driven_row(device, count=300, size=32, repeats=1)
    assert row[f"frames/s, {BATCH} at once"] > 0
    assert row["driven / gsplat"] > 0
