"""A run watched from its folder: figures, progress, the newest avatar; and the orders that it takes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon.avatars import load_avatar
from recon.steering import CONTROL, LIVE, WATCHED
from studio.avatar import Avatar
from studio.errors import StudioError
from studio.folders import MANIFEST
from viewer.runs import Figures, newest_avatar, read_figures

_LOOK_SECONDS = 1.0
_MOST_LOSSES = 2000


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        state: "running", "paused", "finishing", "finished", or "silent" where nobody tells.
        step: done.
        total: of the schedule.
        loss: of the last step.
        seconds: that it took in this process.
        left: seconds that are left, about; NaN where unknown.
        gaussians: how many; None for avatars without.
    """

    state: str
    step: int = 0
    total: int = 0
    loss: float = math.nan
    seconds: float = 0.0
    left: float = math.nan
    gaussians: int | None = None


class Watch:
    """Looks at a run every second, on a thread of its own.

    Args:
        run: the run folder.
        on_news: called with this watch after every look.
        on_avatar: receives a newer avatar.

    Attributes:
        progress: how far it is.
        figures: of its checks.
        losses: (step, loss) of the looks.
    """

    def __init__(
        self,
        run: Path,
        on_news: Callable[[Watch], object],
        on_avatar: Callable[[Avatar], object],
        kernels: str = "auto",
    ) -> None:
        self.run = run
        self._on_news, self._on_avatar, self._kernels = on_news, on_avatar, kernels
        self.progress = Progress("silent")
        self.figures = Figures((), (), ())
        self.losses: list[tuple[int, float]] = []
        self._seen = self._stamp()
        self._first: tuple[int, float] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer-watch", daemon=True)
        self._thread.start()

    def order(self, what: str) -> None:
        """ "pause", "stop" or "continue". Raises StudioError where nothing runs."""
        if self.progress.state not in ("running", "paused"):
            raise StudioError("this run is not running", got=self.progress.state, next="studio train … resume=true")
        path = self.run / CONTROL
        if what == "continue":
            path.unlink(missing_ok=True)
        else:
            path.write_text(what, encoding="utf-8")

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._thread.join(timeout=5.0)

    def look(self) -> None:
        """Read what is there now."""
        self.figures = read_figures(self.run)
        if (self.run / "avatar" / MANIFEST).is_file():
            steps = self.figures.steps
            self.progress = Progress("finished", int(steps[-1]) if steps else 0, int(steps[-1]) if steps else 0)
        else:
            if self.run.is_dir():  # not yet, while a run is starting
                (self.run / WATCHED).touch()
            self.progress = self._told()
        if not math.isnan(self.progress.loss):
            self.losses.append((self.progress.step, self.progress.loss))
            del self.losses[:-_MOST_LOSSES]
        stamp = self._stamp()
        if stamp != self._seen:
            found = newest_avatar(self.run)
            if found is not None:
                avatar = load_avatar(found, self._kernels)  # may be exchanged under our hands: then the next look
                self._seen = stamp
                self._on_avatar(avatar)

    def _told(self) -> Progress:
        try:
            values: Any = json.loads((self.run / LIVE / "state.json").read_text(encoding="utf-8"))
            step, total = int(values["step"]), int(values["total"])
            seconds, loss = float(values["seconds"]), float(values["loss"])
        except (OSError, ValueError, KeyError, TypeError):
            return Progress("silent")
        if self._first is None or step < self._first[0]:
            self._first = step, seconds
        done, took = step - self._first[0], seconds - self._first[1]
        left = (total - step) * took / done if done > 0 else math.nan
        return Progress(str(values["state"]), step, total, loss, seconds, left, values.get("gaussians"))

    def _stamp(self) -> float:
        found = newest_avatar(self.run)
        try:
            return 0.0 if found is None else (found / MANIFEST).stat().st_mtime
        except OSError:
            return 0.0

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self.look()
                self._on_news(self)
            except (StudioError, OSError):
                pass  # something is being written: the next look finds it whole
            self._closed.wait(_LOOK_SECONDS)
