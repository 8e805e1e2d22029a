"""The tab that reconstructs: watches a run, pauses and stops it, or starts one from the open capture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import viser
from viser import uplot

from studio.avatar import Avatar
from studio.errors import StudioError
from studio.folders import MANIFEST
from viewer.desk import Client, Desk, Tab
from viewer.jobs import Job
from viewer.watching import Watch

_RECIPES = Path(__file__).parents[2] / "configs" / "recipe"
_PLOT_PIXELS = 130
_STATES = {"silent": "waiting", "running": "learning", "paused": "paused", "finishing": "writing the avatar"}


class RunPanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._watch: Watch | None = None
        self._job: Job | None = None
        self._drawn: Any = None
        gui = desk.gui
        if desk.subject.capture is not None and desk.subject.run is None:
            self._add_start()
        self._told = gui.add_markdown("")
        self._bar = gui.add_progress_bar(0.0, visible=False)
        self._steer = gui.add_button_group("Run", ("Pause", "Continue", "Stop"), visible=False)
        self._loss = _plot(gui, "loss", "#e0a46e")
        self._psnr = _plot(gui, "dB", "#6ea8e0")
        self._steer.on_click(lambda event: desk.attempt(self._order, event.client))
        desk.on_close(self._close)
        if desk.subject.run is not None:
            self._follow(desk.subject.run)

    def _add_start(self) -> None:
        desk, gui, capture = self._desk, self._desk.gui, self._desk.subject.capture
        assert capture is not None
        with gui.add_folder("New reconstruction"):
            recipes = sorted(path.stem for path in _RECIPES.glob("*.yaml"))
            recipe = gui.add_dropdown("Recipe", tuple(recipes), initial_value="balanced" if recipes else None)
            out = gui.add_text("Run folder", f"runs/{capture.folder.name}", hint="Below the project's folder")
            self._begin = gui.add_button("Start", icon=viser.Icon.PLAYER_PLAY)

        def start(_: Client) -> None:
            if self._job is not None and self._job.is_running:
                raise StudioError("a reconstruction is running already", next="stop it first")
            if desk.subject.tracked is None:
                raise StudioError("this capture is not tracked yet", next=f"studio track capture={capture.folder}")
            run = desk.inside(out.value)
            if (run / MANIFEST).exists():
                raise StudioError(f"{out.value} exists already", next="choose another name")
            run.parent.mkdir(parents=True, exist_ok=True)
            words = ["train", f"capture={capture.folder.resolve()}", f"out={run}", f"recipe={recipe.value}"]
            self._job = Job([*words, *([f"track={desk.subject.track_name}"] if desk.subject.track_name else [])])
            self._follow(run)

        desk.click(self._begin, start)

    def _follow(self, run: Path) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = Watch(run, self._tell, self._show)

    def _order(self, _: Client) -> None:
        if self._watch is None:
            raise StudioError("nothing runs")
        self._watch.order(self._steer.value.lower())

    def _show(self, avatar: Avatar) -> None:
        """A newer avatar takes the stage."""
        if avatar.space.hash == self._desk.avatar.space.hash:
            self._desk.stage.avatar = avatar
            if self._desk.session.scene.mode == "footage":
                self._desk.session.show(mode="colour")
            self._desk.gallery.redraw()

    def _tell(self, watch: Watch) -> None:
        """Controls as the run is."""
        progress, job = watch.progress, self._job
        if progress.state == "silent" and job is not None and not job.is_running:
            why = f"⚠ the reconstruction ended: {job.last}" if job.failed and not job.was_stopped else job.last
            self._told.content = f"**{watch.run.name}** · {why}"
            return
        lines = [f"**{watch.run.name}** · {_STATES.get(progress.state, progress.state)}"]
        if progress.state == "silent" and job is not None:
            lines.append(job.last[-120:])
        elif progress.total:
            knows = progress.state in ("running", "paused") and not math.isnan(progress.left)
            left = f" · {_time(progress.left)} left" if knows else ""
            lines.append(f"step {progress.step} of {progress.total}{left}")
        if progress.gaussians:
            lines.append(f"{progress.gaussians:,} Gaussians")
        text = "  \n".join(lines)
        if self._told.content != text:
            self._told.content = text
        self._bar.visible = progress.state in ("running", "paused")
        self._steer.visible = self._bar.visible
        self._bar.value = 100.0 * progress.step / max(progress.total, 1)  # type: ignore[misc]
        self._draw(watch)

    def _draw(self, watch: Watch) -> None:
        """The curves, where they have changed."""
        figures = watch.figures
        known = dict(zip(figures.steps, figures.loss, strict=True)) | {float(s): v for s, v in watch.losses}
        steps = np.array(sorted(known))
        newest = (len(known), figures.psnr)
        if newest == self._drawn or len(steps) < 2:
            return
        self._drawn = newest
        judged = [(step, value) for step, value in zip(figures.steps, figures.psnr, strict=True) if value == value]
        self._loss.visible, self._psnr.visible = True, len(judged) >= 2
        self._loss.data = (steps, np.array([known[step] for step in steps]))
        if self._psnr.visible:
            at, values = np.array(judged).T
            self._psnr.data = (at.copy(), values.copy())

    def _close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        if self._job is not None:
            self._job.close()  # as Ctrl-C: it leaves a checkpoint


def _plot(gui: viser.GuiApi, label: str, color: str) -> Any:
    nothing = np.array([0.0, 1.0])
    axes: tuple[uplot.Axis, ...] = ({"size": 30, "stroke": "#888"}, {"size": 44, "stroke": "#888", "label": label})
    series: tuple[uplot.Series, ...] = ({"label": "step"}, {"label": label, "stroke": color, "width": 1.5})
    scales: dict[str, uplot.Scale] = {"x": {"time": False}}
    return gui.add_uplot(
        (nothing, nothing * np.nan),
        series,
        scales=scales,
        axes=axes,
        legend={"show": False},
        height=_PLOT_PIXELS,
        visible=False,
    )


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min"
        if minutes
        else f"{seconds:.0f} s"
    )


TAB = Tab("Run", 80, RunPanel, lambda desk: desk.subject.run is not None or desk.subject.capture is not None)
