"""A run that is watched and steered through its folder, and what a viewer makes of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recon import steering as steering_module
from recon.avatars.static_splats import StaticSplats
from recon.steering import CONTROL, LIVE, WATCHED, Steering
from studio.avatar import Avatar
from studio.errors import StudioError
from studio.folders import Manifest
from tests.viewer.avatars import own_camera
from viewer.runs import newest_avatar, read_figures
from viewer.watching import Watch


def splats(count: int) -> StaticSplats:
    raw = {
        "means": torch.rand(count, 3),
        "quats": torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        "log_scales": torch.full((count, 3), -4.0),
        "opacity_logits": torch.zeros(count),
        "sh0": torch.zeros(count, 1, 3),
        "shN": torch.zeros(count, 0, 3),
    }
    return StaticSplats(raw, own_camera())


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(steering_module, "_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(steering_module, "_TELL_SECONDS", 0.01)
    return tmp_path


class Trainer:
    """Steps until it is told to stop."""

    def __init__(self, run: Path) -> None:
        self.interrupt = SimpleNamespace(requested=False)
        self.steering = Steering(run, 1000, self.interrupt)  # type: ignore[arg-type]
        self.step, self.avatar = 0, splats(8)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.steering.after_step(self.step, 0.5, lambda: self.avatar):
            self.step += 1
            time.sleep(0.005)
        self.steering.close()


@pytest.fixture
def trainer(run: Path) -> Iterator[Trainer]:
    trainer = Trainer(run)
    yield trainer
    trainer.interrupt.requested = True
    trainer.thread.join(5.0)
    assert not trainer.thread.is_alive()


def test_nobody_watching_costs_nothing(run: Path, trainer: Trainer) -> None:
    wait_for(lambda: trainer.step > 20)
    assert not (run / LIVE).exists()


def test_who_watches_sees_progress_and_the_avatar(run: Path, trainer: Trainer) -> None:
    news: list[Watch] = []
    avatars: list[Avatar] = []
    watch = Watch(run, news.append, avatars.append, "cpu")
    try:
        wait_for(lambda: watch.progress.state == "running" and bool(avatars))
        assert watch.progress.total == 1000
        assert watch.progress.loss == 0.5
        assert len(avatars[0].gaussians(avatars[0].codes)) == 8  # type: ignore[attr-defined]
        watch.order("pause")
        wait_for(lambda: watch.progress.state == "paused")
        held = trainer.step
        time.sleep(0.1)
        assert trainer.step == held
        watch.order("continue")
        wait_for(lambda: trainer.step > held)
        wait_for(lambda: watch.progress.state == "running")
        assert watch.progress.left > 0
        watch.order("stop")
        trainer.thread.join(5.0)
        assert not trainer.thread.is_alive()
        wait_for(lambda: watch.progress.state == "silent")
        with pytest.raises(StudioError, match="not running"):
            watch.order("pause")
    finally:
        watch.close()
    assert not (run / LIVE).exists()
    assert not (run / CONTROL).exists()


def test_ctrl_c_ends_a_pause(run: Path, trainer: Trainer) -> None:
    (run / CONTROL).write_text("pause")
    wait_for(lambda: (run / LIVE / "state.json").exists())
    trainer.interrupt.requested = True
    trainer.thread.join(5.0)
    assert not trainer.thread.is_alive()


def test_an_avatar_that_cannot_be_stored_does_not_end_the_run(run: Path, trainer: Trainer) -> None:
    trainer.avatar = SimpleNamespace()  # type: ignore[assignment]
    (run / WATCHED).touch()
    wait_for(lambda: (run / LIVE / "state.json").exists())
    held = trainer.step
    wait_for(lambda: trainer.step > held + 5)


def test_figures_survive_damaged_lines(tmp_path: Path) -> None:
    rows = [{"step": 250, "loss": 0.2, "validation_psnr": 28.5}, {"step": 500, "loss": 0.1}]
    text = "\n".join(
        [json.dumps(rows[1]), "{broken", '"text"', json.dumps({"step": True}), json.dumps(rows[0]), '{"st']
    )
    (tmp_path / "metrics.jsonl").write_text(text)
    figures = read_figures(tmp_path)
    assert figures.steps == (250.0, 500.0)
    assert figures.loss == (0.2, 0.1)
    assert figures.psnr[0] == 28.5
    assert figures.psnr[1] != figures.psnr[1]
    assert read_figures(tmp_path / "nowhere").steps == ()


def test_a_finished_run_shows_its_own_avatar(tmp_path: Path) -> None:
    assert newest_avatar(tmp_path) is None
    splats(4).save(tmp_path / "live" / "avatar", Manifest(kind="avatar"))
    assert newest_avatar(tmp_path) == tmp_path / "live" / "avatar"
    splats(4).save(tmp_path / "avatar", Manifest(kind="avatar"))
    assert newest_avatar(tmp_path) == tmp_path / "avatar"


def test_a_run_that_begins_later_is_found_and_told_until_its_avatar_is_written(run: Path) -> None:
    told: list[str] = []
    folder = run / "later"
    watch = Watch(folder, lambda watch: told.append(watch.progress.state), lambda avatar: None, "cpu")
    try:
        wait_for(lambda: told == ["silent"])
        folder.mkdir()
        steering = Steering(folder, 10, SimpleNamespace(requested=False))  # type: ignore[arg-type]
        steering.finishing()
        assert not (folder / LIVE).exists(), "nobody was told anything before"
        (folder / WATCHED).touch()
        time.sleep(0.02)
        steering.after_step(9, 0.5, lambda: splats(2))
        steering.finishing()
        wait_for(lambda: told[-1] == "finishing")
        assert watch.progress.step == 9
        steering.close()
        wait_for(lambda: told[-1] == "silent")
    finally:
        watch.close()
