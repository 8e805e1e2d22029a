"""The job file: plain YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from studio.building import build
from studio.errors import StudioError
from studio.plain_yaml import read_plain_yaml

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,80}")


@dataclass(frozen=True)
class Reconstruct:
    """A training.

    Args:
        capture: capture folder; with * or ?, one training for each folder that fits.
        recipe: as of ``studio train``.
        avatar: kind of avatar.
        track: name of the track, where the capture has several.
        settings: any other setting of ``studio train``, such as "avatar.gaussians: 20000".
    """

    capture: str
    recipe: str = "balanced"
    avatar: str = "splats"
    track: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluate:
    """A judgement.

    Args:
        run: a training of this job, or a run folder.
        split: part of the capture; every part but "train" by default.
        track: name of the track; that of the training by default.
    """

    run: str
    split: str | None = None
    track: str | None = None


@dataclass(frozen=True)
class Request:
    """A job file.

    Args:
        reconstruct: by name.
        render: by name; see ``reenact.jobs.render.RenderJob``. ``avatar`` may name a training of this job.
        evaluate: by name.
        chunk: frames that are drawn and stored at a time.
        seed: of everything random.
        kernels: "auto", "cpu" or "cuda".
    """

    reconstruct: Mapping[str, Reconstruct] = field(default_factory=dict)
    render: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluate: Mapping[str, Evaluate] = field(default_factory=dict)
    chunk: int = 48
    seed: int = 0
    kernels: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.chunk <= 10_000:
            raise StudioError("wrong value of chunk", got=self.chunk, expected="1 to 10000 frames")
        for name in (*self.reconstruct, *self.render, *self.evaluate):
            if not _NAME.fullmatch(name):
                raise StudioError("not a name", got=repr(name)[:90], expected="letters, digits, - _ .")
        if not (self.reconstruct or self.render or self.evaluate):
            raise StudioError("a job with nothing to do", expected="reconstruct, render or evaluate")


def read_request(path: Path) -> Request:
    """Read a job file. Raises StudioError for what is no plain YAML, unknown, or of the wrong kind."""
    data = read_plain_yaml(path, "job")
    if not isinstance(data, Mapping):
        raise StudioError(f"{path} is no job", got=type(data).__name__, expected="reconstruct, render, evaluate")
    return build(Request, {str(name): value for name, value in data.items()}, "")
