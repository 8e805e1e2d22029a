"""A run that is watched and steered from outside, through files in its folder.

``control`` says "pause" or "stop"; while ``watched`` was touched not long ago, ``live/state.json`` says how far the run
is, and ``live/avatar`` is the avatar as learned so far. Where nobody watches it costs nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from recon.interrupt import Interrupt
from studio.folders import Manifest, write_json
from studio.logs import say

CONTROL, WATCHED, LIVE = "control", "watched", "live"
_CHECK_SECONDS, _TELL_SECONDS = 0.25, 1.0
_FRESH_SECONDS = 20.0  # since somebody has watched
_LEAST_SNAPSHOT_SECONDS = 6.0
_SNAPSHOT_SHARE = 0.05  # of the time, at most, goes into snapshots


class Steering:
    """What the training loop asks after each step.

    Args:
        run: the run folder.
        total: steps of the schedule.
        interrupt: Ctrl-C, which ends a pause too.
    """

    def __init__(self, run: Path, total: int, interrupt: Interrupt) -> None:
        self._run, self._total, self._interrupt = run, total, interrupt
        self._checked = self._told = self._began = time.monotonic()
        self._next_snapshot = 0.0
        self._gives_snapshots = True
        self.close()

    def after_step(self, step: int, loss: float, avatar: Callable[[], Any]) -> bool:
        """Tell, store a snapshot, wait while paused; whether the run shall stop here, by an order or Ctrl-C."""
        now = time.monotonic()
        if now - self._checked < _CHECK_SECONDS:
            return self._interrupt.requested
        self._checked = now
        if self._is_watched() and now - self._told >= _TELL_SECONDS:
            self._told = now
            self._tell("running", step, loss, avatar)
            if now >= self._next_snapshot and self._gives_snapshots:
                self._snapshot(avatar)
        order = self._order()
        while order == "pause" and not self._interrupt.requested:
            self._tell("paused", step, loss, avatar)
            time.sleep(_CHECK_SECONDS)
            order = self._order()
        return order == "stop" or self._interrupt.requested

    def finishing(self) -> None:
        """Tell that all steps are done and that the avatar is being written."""
        path = self._run / LIVE / "state.json"
        with suppress(OSError, ValueError):  # where nobody was told anything
            self._write({**json.loads(path.read_text(encoding="utf-8")), "state": "finishing"})

    def close(self) -> None:
        """Leave nothing behind."""
        for name in (CONTROL, WATCHED):
            (self._run / name).unlink(missing_ok=True)
        shutil.rmtree(self._run / LIVE, ignore_errors=True)

    def _order(self) -> str:
        try:
            return (self._run / CONTROL).read_text(encoding="utf-8")[:10].strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def _is_watched(self) -> bool:
        try:
            return time.time() - (self._run / WATCHED).stat().st_mtime < _FRESH_SECONDS
        except OSError:
            return False

    def _tell(self, state: str, step: int, loss: float, avatar: Callable[[], Any]) -> None:
        learned = getattr(avatar(), "learned", None)
        values = {"state": state, "step": step, "total": self._total, "loss": float(loss)}
        values |= {
            "seconds": time.monotonic() - self._began,
            "gaussians": len(learned) if learned is not None else None,
        }
        (self._run / LIVE).mkdir(exist_ok=True)
        self._write(values)

    def _write(self, values: dict[str, Any]) -> None:
        folder = self._run / LIVE
        write_json(folder / "state.new", values)
        (folder / "state.new").replace(folder / "state.json")

    def _snapshot(self, avatar: Callable[[], Any]) -> None:
        """The avatar as it is, under a name that appears when it is whole."""
        began = time.monotonic()
        new, old, place = (self._run / LIVE / name for name in ("avatar.new", "avatar.old", "avatar"))
        try:
            shutil.rmtree(new, ignore_errors=True)
            with torch.no_grad():
                avatar().save(new, Manifest(kind="avatar", synthetic=True))
            shutil.rmtree(old, ignore_errors=True)
            if place.exists():
                place.rename(old)
            new.rename(place)
        except Exception as error:  # whoever watches must not end the run
            self._gives_snapshots = False
            say(f"no live view of this run: {type(error).__name__}: {error}")
        spent = time.monotonic() - began
        self._next_snapshot = time.monotonic() + max(spent / _SNAPSHOT_SHARE, _LEAST_SNAPSHOT_SECONDS)
