"""Small tasks for the tests of the engine: top-level functions that workers import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.jobs.results import read_file
from studio.jobs.tasks import Guess, Place, Task

FRAME = 2_000  # bytes of a "frame"


def frames(arguments: Mapping[str, Any], place: Place) -> None:
    """Write numbered files whose content follows from their number."""
    for index in range(arguments["first"], arguments["last"]):
        (place.result / f"{index:06d}.bin").write_bytes(content(index))
        time.sleep(arguments.get("seconds", 0.0))


def content(index: int) -> bytes:
    return bytes((index * 31 + place * 7) % 251 for place in range(FRAME))


def join(arguments: Mapping[str, Any], place: Place) -> None:
    """Put the frames of all chunks together."""
    with (place.result / "whole.bin").open("wb") as stream:
        for name in arguments["chunks"]:
            folder = place.of(name)
            for path in sorted(folder.glob("*.bin")):
                stream.write(read_file(folder, path.name))


def learn(arguments: Mapping[str, Any], place: Place) -> None:
    """A long task that goes on where it was killed: it counts in its scratch folder."""
    place.scratch.mkdir(parents=True, exist_ok=True)
    for step in range(arguments["steps"]):
        if not (place.scratch / str(step)).exists():
            time.sleep(arguments.get("seconds", 0.0))
            (place.scratch / str(step)).write_text("done")
            (place.job / "steps.txt").open("a").write(f"{step}\n")
    (place.result / "model.txt").write_text("learned")


def refuse(arguments: Mapping[str, Any], place: Place) -> None:
    """Fails until a file is there."""
    if not Path(arguments["until"]).exists():
        raise StudioError("not yet", got="no file", next="make it")
    (place.result / "ok").write_text("ok")


def die(arguments: Mapping[str, Any], place: Place) -> None:
    """Takes its worker with it."""
    os.kill(os.getpid(), signal.SIGKILL)


def count_words(arguments: Mapping[str, Any], place: Place) -> None:
    (place.result / "words.txt").write_text(" ".join(["word"] * arguments["words"]))


def chunk_tasks(chunks: int, size: int = 3, seconds: float = 0.0) -> list[Task]:
    """Chunks of frames, and a task that joins them."""
    tasks = [
        Task(
            f"frames/{index:04d}",
            frames,
            {"first": index * size, "last": (index + 1) * size, "seconds": seconds},
            kind="frames",
            guess=Guess(size),
        )
        for index in range(chunks)
    ]
    names = [task.name for task in tasks]
    return [*tasks, Task("video", join, {"chunks": names}, tuple(names), kind="join", guess=Guess(chunks * size))]
