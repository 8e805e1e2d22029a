"""A job folder of small tasks, and a tmpfs that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.folders import Manifest
from studio.jobs.job import create_job


@pytest.fixture(autouse=True)
def costs_of_the_test(tmp_path, monkeypatch) -> None:
    """What tests take is no record of the machine."""
    monkeypatch.setenv("STUDIO_COSTS", str(tmp_path / "costs.json"))


@pytest.fixture
def new_job(tmp_path) -> Callable[..., Path]:
    """Makes empty job folders."""

    def make(name: str = "job", where: Path = tmp_path) -> Path:
        create_job(where / name, "asked: for\n", Manifest(kind="job"))
        return where / name

    return make


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of one megabyte; skipped where it cannot be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
