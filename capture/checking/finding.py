"""What a check says: findings for the user, and figures that show why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

State = Literal["ok", "note", "bad", "unknown"]
STATES: tuple[State, ...] = ("bad", "note", "unknown", "ok")  # most urgent first


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        state: "ok", "note" (works, but could be better), "bad" (mend it first) or "unknown" (not measured, and why).
        kind: what was found, for programs: "missing_frames", "swapped_cameras", …; empty for "ok" and "unknown".
        found: what was found, for people.
        advice: what to do.
        cameras: ids of the cameras that it is about; empty for the whole capture.
        frames: indices of the timesteps that it is about; empty for all.
    """

    state: State
    kind: str
    found: str
    advice: str = ""
    cameras: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class Photos:
    """Pictures [H, W, 3] uint8, each with a caption."""

    title: str
    items: Sequence[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Matrix:
    """A value [C, C] for each pair of cameras, NaN where there is none; what is above ``limit`` is wrong."""

    title: str
    names: Sequence[str]
    values: np.ndarray
    limit: float
    unit: str


@dataclass(frozen=True)
class Bars:
    """A value for each name, NaN where there is none; right between ``low`` and ``high``."""

    title: str
    names: Sequence[str]
    values: np.ndarray
    low: float
    high: float
    unit: str


@dataclass(frozen=True)
class Lines:
    """Curves over one axis, by name."""

    title: str
    x: np.ndarray
    curves: Sequence[tuple[str, np.ndarray]]
    x_label: str


@dataclass(frozen=True)
class Points:
    """Dots [N, 2], in groups by name."""

    title: str
    groups: Sequence[tuple[str, np.ndarray]]
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Strip:
    """A state for each frame of each camera: [C, T] indices into ``legend`` (0 is right), -1 where not looked at."""

    title: str
    names: Sequence[str]
    states: np.ndarray
    legend: Sequence[str]


Figure = Photos | Matrix | Bars | Lines | Points | Strip


@dataclass(frozen=True)
class Verdict:
    """The findings and figures of one check."""

    findings: Sequence[Finding]
    figures: Sequence[Figure] = field(default_factory=tuple)

    @property
    def state(self) -> State:
        """The most urgent of the findings' states."""
        return next((state for state in STATES if any(item.state == state for item in self.findings)), "unknown")


def unknown(why: str) -> Verdict:
    """Nothing could be measured."""
    return Verdict([Finding("unknown", "", f"not measured: {why}")])
