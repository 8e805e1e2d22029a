"""A tiny demo, made once, and a way to call the command line as a user does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from studio.cli.main import main

TINY = (
    "reader.cameras=4",
    "reader.frames=24",
    "reader.size=64",
    "reader.supersample=1",
    "driver.frames=12",
    "avatar.gaussians=1500",
    "avatar.iterations=60",
    "avatar.check_every=30",
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The last line on standard error: what the user is told."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


@pytest.fixture
def studio(capsys, monkeypatch) -> Callable[..., Outcome]:
    """Run a command line in this process."""
    monkeypatch.delenv("STUDIO_DEBUG", raising=False)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tiny_demo(tmp_path_factory) -> Path:
    """The output folder of a tiny demo, in a path with spaces. Read only: copy what a test changes."""
    out = tmp_path_factory.mktemp("my outputs") / "tiny demo"
    assert main(["demo", f"out={out}", *TINY]) == 0
    return out
