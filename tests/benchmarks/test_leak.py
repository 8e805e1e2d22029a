"""The benchmark of identity leakage: its figures mean what they say, and exact codes hardly leak."""

from __future__ import annotations

import pytest
import torch

from benchmarks.leak import make_exact, measure, shares
from capture.synthetic.make import make_subject


def test_what_looks_like_the_driver_is_leak_and_what_moves_is_motion() -> None:
    generator = torch.Generator().manual_seed(0)
    between = torch.randn(50, 3, generator=generator)
    other = torch.randn(50, 3, generator=generator)
    other -= (other * between).sum() / between.square().sum() * between
    wave = torch.sin(torch.arange(200) * 2 * torch.pi / 100)[:, None, None]
    leak, offset, motion = shares(0.3 * between.expand(200, 50, 3) + 0.1 * other + wave * between, between)
    assert float(leak) == pytest.approx(0.3, abs=1e-5)
    assert float(offset) == pytest.approx((0.09 + 0.01 * float((other.norm() / between.norm()) ** 2)) ** 0.5, abs=1e-4)
    assert float(motion) == pytest.approx(float((between.square().sum(-1).mean() / 2).sqrt()), rel=1e-3)


def test_exact_codes_hardly_leak() -> None:
    head, _ = make_subject("procedural", 0)
    rows = measure([make_exact("procedural", number, 16) for number in range(2)], head)
    assert [row["transfer"] for row in rows] == ["as they are", "from the first frame", "studio"]
    as_they_are, _, studio = rows
    assert as_they_are["leak"] == "0.0 %"
    assert float(as_they_are["motion mm"]) < 1e-3  # type: ignore[arg-type]
    assert float(str(studio["leak"]).split()[0]) < 3.0
