"""How a failure is told: one line on standard error and an exit code."""

from __future__ import annotations

import os
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_log_path

from studio.errors import StudioError, is_disk_full

DEFECT, MENDABLE, INTERRUPTED = 1, 2, 130
_RESUMABLE = ("train", "make", "demo")


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Print what went wrong and return the exit code; STUDIO_DEBUG=1 shows the traceback as well.

    Args:
        error: what ended the verb.
        arguments: the command line, without the program's name.
    """
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else DEFECT
    if os.environ.get("STUDIO_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        print(f"\n{_interrupted(arguments)}", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again when it exits
        return DEFECT
    line = _mendable(error)
    if line is not None:
        print(f"studio: {line}", file=sys.stderr)
        return MENDABLE
    print(f"studio: a defect: {_one_line(error)}; {_save_traceback(error, arguments)}", file=sys.stderr)
    return DEFECT


def _interrupted(arguments: Sequence[str]) -> str:
    again = shlex.join(["studio", *(item for item in arguments if not item.startswith("resume="))])
    resume = " resume=true" if arguments[0] in _RESUMABLE else ""
    return f"stopped; nothing lost; continue with: {again}{resume}"


def _mendable(error: BaseException) -> str | None:
    """One line for what the user can mend, or None for a defect of the program."""
    if isinstance(error, StudioError):
        return str(error)
    if is_disk_full(error):
        where = getattr(error, "filename", None) or Path.cwd()
        return str(
            StudioError(
                f"the disk is full at {where}",
                got=getattr(error, "strerror", None) or _one_line(error),
                next="free some space and run the command again; nothing half-written was left",
            )
        )
    if isinstance(error, ImportError) and ".so" in str(error):
        return str(
            StudioError(
                "a system library is missing",
                got=_one_line(error),
                next="on Debian and Ubuntu: sudo apt install libgl1 libglib2.0-0 libxcb1; see studio doctor",
            )
        )
    if isinstance(error, OSError) and error.filename is not None:
        return str(
            StudioError(f"cannot use {error.filename}", got=error.strerror, next="check the path and its rights")
        )
    if isinstance(error, MemoryError):
        return str(StudioError("out of memory", got=_one_line(error), next="use a smaller size or fewer frames"))
    return None


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _save_traceback(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the traceback where the user's logs are; returns what to tell."""
    try:
        folder = user_log_path("head-avatar-studio", ensure_exists=True)
        path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        details = "".join(traceback.format_exception(error))
        path.write_text(f"studio {shlex.join(arguments)}\n\n{details}", encoding="utf-8")
    except OSError:
        traceback.print_exception(error)
        return "the traceback is above"
    return f"the traceback is in {path}; please report it"
