"""Dataclasses from settings: exact conversions, nearest names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from studio.building import build
from studio.errors import StudioError


@dataclass(frozen=True)
class Inner:
    weight: float = 1.0


@dataclass(frozen=True)
class Settings:
    count: int
    rate: float = 0.5
    name: str = "x"
    where: Path | None = None
    size: tuple[int, int] = (4, 4)
    levels: tuple[tuple[float, float], ...] = ()
    mode: Literal["fast", "slow"] = "fast"
    on: bool = False
    seed: int | None = None
    inner: Inner = field(default_factory=Inner)
    named: Mapping[str, tuple[Inner, ...]] = field(default_factory=dict)


def test_everything_is_converted():
    built = build(
        Settings,
        {
            "count": "3",
            "rate": 2,
            "name": "007",
            "where": "a b",
            "size": [1, 2],
            "levels": [[0.1, 1], [1.0, 0.5]],
            "mode": "slow",
            "on": "true",
            "seed": "5",
            "inner": {"weight": 3},
        },
    )
    expected = Settings(3, 2.0, "007", Path("a b"), (1, 2), ((0.1, 1.0), (1.0, 0.5)), "slow", True, 5, Inner(3.0))
    assert built == expected
    assert isinstance(built.rate, float)


def test_what_is_left_out_keeps_its_default():
    assert build(Settings, {"count": 1, "where": None}) == Settings(1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 1.5}, r"wrong value of make\.count; got 1\.5; expected a whole number"),
        ({"count": "many"}, r"wrong value of make\.count; got 'many'"),
        ({"count": True}, r"wrong value of make\.count"),
        ({"count": None}, r"wrong value of make\.count"),
        ({"count": 1, "on": 1}, r"wrong value of make\.on; got 1; expected true or false"),
        ({"count": 1, "rate": "fast"}, r"expected a number"),
        ({"count": 1, "size": [1, 2, 3]}, r"wrong number of values in make\.size; got 3; expected 2"),
        ({"count": 1, "size": [1, "b"]}, r"make\.size\[1\]"),
        ({"count": 1, "mode": "fats"}, r"got fats; expected fast \| slow"),
        ({"count": 1, "nmae": "x"}, r"unknown setting make\.nmae; expected name"),
        ({"count": 1, "inner": {"wieght": 1}}, r"unknown setting make\.inner\.wieght; expected weight"),
        ({}, r"missing setting make\.count"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(StudioError, match=message):
        build(Settings, values, "make")


def test_mappings_are_converted_item_by_item():
    assert build(Settings, {"count": 1, "named": {"a": [{"weight": 2}]}}).named == {"a": (Inner(2.0),)}
    with pytest.raises(StudioError, match=r"unknown setting named\.a\[0\]\.wait; expected weight"):
        build(Settings, {"count": 1, "named": {"a": [{"wait": 2}]}})
