"""What a training will take, told after its first steps: seconds and memory.

A few real steps are timed on the machine and at the settings in question; the session says how much of the same kind is
still to come. What it really took is noted beside the forecast, in the run's cost.json.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from studio.folders import write_json
from studio.logs import say
from studio.machine import peak_memory

COST = "cost.json"  # of a run folder
_WARM_UP = 4  # steps that are not timed: kernels are compiled or read, memory is taken for the first time
_TIMED, _TIMED_SECONDS, _TIMED_SHARE = 12, 2.0, 0.1  # at least so many; then until so long, or so much of the run
_PIXEL = 0.15  # what a pixel costs against a Gaussian (the CPU kernels at 50,000, 512² and 1024²; see docs/results.md)


@dataclass(frozen=True)
class Outlook:
    """What a session has still to do.

    Args:
        work: in steps of the kind just timed, validations included.
        reads: images that are still to be read.
        memory: bytes that it will still take.
    """

    work: float
    reads: int
    memory: int


class Foreseeing(Protocol):
    """What a forecast needs of a session."""

    @property
    def reading(self) -> tuple[int, float]:
        """How many images were read, and the seconds it took."""
        ...

    def outlook(self, done: int) -> Outlook:
        """What is left after a number of steps."""
        ...


@dataclass(frozen=True)
class Cost:
    """What a training takes from its beginning to its end.

    Args:
        seconds: wall-clock time.
        memory: bytes of the process at its peak; None where the system does not tell.
    """

    seconds: float
    memory: int | None

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        told = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        return told if self.memory is None else f"{told} and {self.memory / 1e9:.1f} GB of memory"


def step_work(gaussians: float, pixels: float) -> float:
    """What a step costs, in an arbitrary unit, to compare steps with other numbers of Gaussians or pixels."""
    return gaussians + _PIXEL * pixels


class Meter:
    """Times the steps of a run, tells what is to be expected, and notes what it took."""

    def __init__(self, session: Foreseeing, run: Path, began: float, steps: int) -> None:
        """Args: run: its folder; began: ``time.perf_counter`` at the beginning of the run; steps: how many in all."""
        self._session, self._path, self._began, self._steps = session, run / COST, began, steps
        self._seconds: list[float] = []
        self._last, self._read = time.perf_counter(), session.reading[1]
        self._forecast: Cost | None = None

    def step(self, done: int) -> None:
        """To be called after each step, with how many are done."""
        if self._forecast is not None:
            return
        now, read = time.perf_counter(), self._session.reading[1]
        self._seconds.append(now - self._last - (read - self._read))
        self._last, self._read = now, read
        timed = self._seconds[_WARM_UP:]
        if len(timed) >= _TIMED and (sum(timed) >= _TIMED_SECONDS or done >= _TIMED_SHARE * self._steps):
            self._forecast = self._foresee(self._session.outlook(done))
            say(f"forecast: about {self._forecast}")
            self._note({"forecast": asdict(self._forecast)})

    def _foresee(self, outlook: Outlook) -> Cost:
        count, seconds = self._session.reading
        ahead = outlook.work * fmean(self._seconds[_WARM_UP:]) + outlook.reads * seconds / max(count, 1)
        peak = peak_memory()
        return Cost(time.perf_counter() - self._began + ahead, None if peak is None else peak + outlook.memory)

    def finish(self) -> None:
        """Note what it took."""
        actual = Cost(time.perf_counter() - self._began, peak_memory())
        forecast = None if self._forecast is None else asdict(self._forecast)
        self._note({"forecast": forecast, "actual": asdict(actual)})

    def _note(self, values: Mapping[str, Any]) -> None:
        write_json(self._path, values)
