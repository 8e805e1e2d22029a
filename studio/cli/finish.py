"""How a verb ends: what it wrote and the command to run next, on standard output."""

from __future__ import annotations

import shlex
from pathlib import Path


def finish(*wrote: Path, next: str | None = None, **settings: object) -> None:
    """Say what was written and what to run next.

    Args:
        wrote: the files and folders, most important first.
        next: the verb of the next command, if there is one.
        settings: its settings; paths are quoted for the shell.
    """
    for path in wrote:
        print(f"wrote {path}")
    if next is not None:
        print("next: " + command(next, **settings))


def command(verb: str, **settings: object) -> str:
    """A studio command as the user would type it."""
    words = [f"{key}={shlex.quote(str(value))}" for key, value in settings.items()]
    return " ".join(["studio", verb, *words])
