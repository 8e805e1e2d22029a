"""Ctrl-C between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """``requested`` turns true at the first Ctrl-C."""

    requested = False


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Inside the block the first Ctrl-C only sets ``requested``; a second one interrupts at once as usual."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield interrupt
        return
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, usual)
