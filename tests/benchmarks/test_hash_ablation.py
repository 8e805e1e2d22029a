"""The ablation's verdict: the order counts only where a step is larger than the spread between seeds."""

from __future__ import annotations

import pytest

from benchmarks.hash_ablation import _VARIANTS, Results, _ordered, _rows


def _results(*decibels: tuple[float, ...]) -> Results:
    return {
        variant: {
            str(seed): {"foreground dB": value, "seconds": 2.0, "processor seconds": 3.0}
            for seed, value in enumerate(values)
        }
        for variant, values in zip(_VARIANTS, decibels, strict=True)
    }


@pytest.mark.parametrize(
    ("decibels", "ordered"),
    [
        (((23.0, 23.2), (29.0, 29.3), (30.5, 30.1)), True),
        (((23.0, 23.2), (29.0, 30.0), (30.5, 30.1)), False),  # the second step is 0.8, the spread 1.0
        (((23.0, 23.2), (29.0, 29.3), (29.0, 29.2)), False),
        (((30.0, 30.1), (29.0, 29.1), (31.0, 31.1)), False),
    ],
)
def test_the_order(decibels: tuple[tuple[float, ...], ...], ordered: bool) -> None:
    assert _ordered(_results(*decibels)) is ordered


def test_the_table() -> None:
    row = _rows(_results((23.0, 23.2), (29.0, 29.3), (30.5, 30.1)))[2]
    assert row == {
        "variant": "ensemble, deformation",
        "seed 0": 30.5,
        "seed 1": 30.1,
        "mean": 30.3,
        "spread": 0.4,
        "processor s": 3,
    }
