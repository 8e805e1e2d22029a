"""A training of another process in the viewer: its avatar on the stage, pause, continue, stop with a checkpoint."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recon.avatars.static_splats import StaticSplats
from tests.textured_plane import noise_texture, plane_capture
from tests.viewer.browser import Browser
from viewer.app import Viewer
from viewer.opening import Request, open_subject
from viewer.settings import ViewerConfig

EYES = [[-0.5, 0.1, 3.0], [0.5, 0.0, 3.0], [0.0, 0.5, 2.9]]
SETTINGS = ("avatar=static_splats", "avatar.iterations=100000", "avatar.random_points=200", "avatar.mcmc.budget=400")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The folder of a training that would take long, and its process."""
    folder = tmp_path / "run"
    capture = plane_capture(tmp_path / "plane", noise_texture(64, 12), EYES, 64).folder
    words = ("train", f"capture={capture}", f"out={folder}", "kernels=cpu", *SETTINGS)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "studio.cli.main", *words], stdout=log, stderr=log)
        try:
            wait(lambda: (folder / "config.yaml").exists() or process.poll() is not None)
            assert process.poll() is None, (tmp_path / "log").read_text()
            yield folder, process
        finally:
            process.kill()
            process.wait()


def wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_it_is_watched_and_steered(run: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, process = run
    subject = open_subject(Request(run=folder, kernels="cpu"))
    with Viewer(subject, None, ViewerConfig(port=0)) as viewer, Browser(viewer.url) as browser:

        def told(text: str) -> bool:
            return any(text in str(widget["props"].get("_markdown", "")) for widget in browser.widgets.values())

        def step() -> int:
            (line,) = [
                text
                for widget in browser.widgets.values()
                if "step " in (text := str(widget["props"].get("_markdown", "")))
            ]
            return int(line.partition("step ")[2].split()[0])

        points = viewer._desk.viewpoints
        browser.look(points.front, points.front_fov, 160, 120)
        browser.wait(lambda: told("learning") and told("of 100000"), 60)
        browser.wait(lambda: isinstance(viewer._desk.stage.avatar, StaticSplats), 60)
        browser.turn("Run", "Pause")
        browser.wait(lambda: told("paused"))
        held = step()
        time.sleep(1.5)
        browser.turn("Run", "Continue")
        browser.wait(lambda: told("learning"))
        browser.wait(lambda: step() > held)
        browser.turn("Run", "Stop")
        wait(lambda: process.poll() is not None)
        assert list((folder / "checkpoints").iterdir()), "it stopped without a checkpoint"
        browser.wait(lambda: told("waiting"))
