"""One worker thread that draws what was asked last: quick drafts while something moves, the full picture at rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Image = np.ndarray | tuple[Any, Any]  # [H, W, 3] uint8 sRGB, or what a page draws itself: a shot and its sketch

# Each coarser level has half the pixels of the one before.
_LEVEL_SCALE = 0.5**0.5
_COARSEST_LEVEL = 3  # a third of the width: coarser saves little and shows nothing


@dataclass
class Pace:
    """How fine drafts may be so that each takes about ``budget`` seconds on this machine.

    Args:
        budget: seconds that one draft may take.
        level: 0 is full resolution; each further level halves the number of pixels.
    """

    budget: float = 0.045
    level: int = 2

    @property
    def scale(self) -> float:
        """Draft width over full width."""
        return _LEVEL_SCALE**self.level

    def learn(self, seconds: float) -> None:
        """Adjust to what the last draft took; finer only by a clear margin, so that the sharpness never flickers."""
        ratio = seconds / self.budget
        if ratio > 1.3:
            self.level = min(self.level + (2 if ratio > 3.0 else 1), _COARSEST_LEVEL)
        elif ratio < 0.45:
            self.level = max(self.level - 1, 0)


@dataclass(frozen=True)
class Picture:
    """What the worker made.

    Args:
        image: what was made.
        is_draft: whether a finer one follows once everything rests.
        seconds: how long drawing took.
    """

    image: Image
    is_draft: bool
    seconds: float


@dataclass(frozen=True)
class Request:
    """A picture that somebody waits for.

    Args:
        draw: makes the image at a scale (1 = full resolution).
        deliver: receives the picture on the worker's thread.
        draft_first: draw a quick draft now and the full picture at rest, instead of the full picture now.
    """

    draw: Callable[[float], Image]
    deliver: Callable[[Picture], None]
    draft_first: bool = True


@dataclass
class _Slot:
    """The latest request of one requester, and how far it is served."""

    request: Request
    asked_at: float
    pace: Pace = field(default_factory=Pace)
    is_drafted: bool = False
    is_done: bool = False
    is_held: bool = False


class RenderWorker:
    """Serves each requester's latest request, fairly; a newer request replaces an older one that has not been drawn.

    Args:
        on_error: receives what a request raised; the worker goes on with the next one.
        rest_seconds: without a new request for this long, the requester's view counts as resting.
    """

    def __init__(self, on_error: Callable[[Exception], None], rest_seconds: float = 0.15) -> None:
        self._on_error = on_error
        self._rest_seconds = rest_seconds
        self._slots: dict[Hashable, _Slot] = {}  # least recently served first
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="viewer-render", daemon=True)
        self._thread.start()

    def submit(self, key: Hashable, request: Request) -> None:
        """Ask for a picture; replaces what the same requester asked before."""
        with self._changed:
            slot = self._slots.get(key)
            if slot is None:
                self._slots[key] = _Slot(request, time.monotonic())
            else:
                slot.request, slot.asked_at = request, time.monotonic()
                slot.is_drafted = slot.is_done = False
            self._changed.notify()

    def hold(self, key: Hashable, *, held: bool) -> None:
        """Draw nothing for a requester that has not seen what it was sent, or go on."""
        with self._changed:
            slot = self._slots.get(key)
            if slot is not None:
                slot.is_held = held
                self._changed.notify()

    def cancel(self, key: Hashable) -> None:
        """Forget a requester."""
        with self._changed:
            self._slots.pop(key, None)

    def close(self) -> None:
        """Finish the picture in hand and stop; later requests are ignored."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while (task := self._next_task()) is not None:
            slot, request, is_draft = task
            started = time.monotonic()
            try:
                image = request.draw(slot.pace.scale if is_draft else 1.0)
                request.deliver(Picture(image, is_draft, time.monotonic() - started))
            except Exception as error:  # whatever an avatar or a vanished browser raises must not end the viewer
                self._give_up(slot, request)
                self._on_error(error)
                continue
            if is_draft:
                slot.pace.learn(time.monotonic() - started)

    def _next_task(self) -> tuple[_Slot, Request, bool] | None:
        """Wait for work: what nobody has seen yet before full pictures of resting views; None once closed."""
        with self._changed:
            while not self._is_closed:
                now = time.monotonic()
                waiting = {key: slot for key, slot in self._slots.items() if not (slot.is_done or slot.is_held)}
                unseen = [key for key, slot in waiting.items() if not slot.is_drafted]
                resting = [key for key, slot in waiting.items() if now - slot.asked_at >= self._rest_seconds]
                if unseen or resting:
                    return self._take((unseen or resting)[0])
                rest_times = [slot.asked_at + self._rest_seconds - now for slot in waiting.values()]
                self._changed.wait(min(rest_times, default=None))
            return None

    def _take(self, key: Hashable) -> tuple[_Slot, Request, bool]:
        """Mark what is drawn next as drawn, before it is, so that a newer request is noticed."""
        slot = self._slots.pop(key)
        self._slots[key] = slot
        is_draft = slot.request.draft_first and not slot.is_drafted
        slot.is_drafted, slot.is_done = True, not is_draft
        return slot, slot.request, is_draft

    def _give_up(self, slot: _Slot, request: Request) -> None:
        """Do not try a failed request again."""
        with self._changed:
            if slot.request is request:
                slot.is_done = True
