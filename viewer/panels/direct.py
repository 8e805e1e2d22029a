"""The tab that directs: sources, a lane with curves for each channel, emotion and camera keys, saving, rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import viser
from viser import uplot

from reenact.drivers import drivers
from reenact.project.channels import CHANNELS
from reenact.project.job import Composed
from reenact.project.schema import HEAD_OFFSETS
from studio.codes import ARKIT52, CodeTrack
from studio.errors import StudioError
from studio.rotations import matrix_to_axis_angle, rigid_inverse
from viewer.desk import Client, Desk, Tab
from viewer.direction import Direction, camera_key
from viewer.jobs import Job
from viewer.transport import Reel
from viewer.views import View

_NOBODY = "–"
_COLORS = ("#6ea8e0", "#e0a46e", "#8fce7c", "#d982b5", "#c9c35a", "#8f8fe0")
_MOST_CURVES, _MOST_POINTS = 4, 600
_PLOT_PIXELS = 96


class DirectPanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._job: Job | None = None
        self.direction = Direction(desk.avatar, desk.subject.folder, desk.folder, self._play)
        self._state = desk.gui.add_markdown("Add a source: a track, a sound, words, curves or a video.")
        self._add_sources()
        self._lanes: dict[str, _Lane] = {}
        self._lane_folder = desk.gui.add_folder("Lanes", visible=False)
        self._add_keys()
        self._add_files()
        self.direction.on_news(self._tell)
        desk.on_close(self.direction.close)
        desk.on_close(lambda: self._job.close() if self._job else None)

    def _add_sources(self) -> None:
        desk, gui = self._desk, self._desk.gui
        with gui.add_folder("Sources"):
            self._listed = gui.add_markdown("")
            kind = gui.add_dropdown("Kind", tuple(drivers()), initial_value="track")
            path = gui.add_text("File", _suggested(desk), hint="Below the project's folder; the words for text")
            name = gui.add_text("Name", "", hint="How lanes call it; the kind when empty")
            add = gui.add_button_group("", ("Add", "Remove"))

        def change(_: Client) -> None:
            called = name.value.strip() or kind.value
            if add.value == "Remove":
                self.direction.edit(lambda data: _forget(data, called))
                return
            source: dict[str, Any] = {"kind": kind.value}
            if kind.value == "text":
                source["text"] = path.value
            elif path.value.strip():
                desk.inside(path.value)
                source["source"] = path.value.strip()
            self.direction.edit(lambda data: _enter(data, called, source))

        add.on_click(lambda event: desk.attempt(change, event.client))

    def _add_keys(self) -> None:
        desk, gui = self._desk, self._desk.gui
        with gui.add_folder("Keys at the playhead", expand_by_default=False):
            self._keys = gui.add_markdown("")
            words = gui.add_text("Emotion", "smile", hint='Plain words: "tired smile, brows up, glance left"')
            strength = gui.add_slider("How much", 0.0, 1.5, 0.05, 1.0)
            emotion = gui.add_button_group("", ("Add emotion", "Remove"))
            camera = gui.add_button_group(" ", ("Add camera", "Remove"))

        def feel(_: Client) -> None:
            at = self._seconds()
            if emotion.value == "Remove":
                self.direction.edit(lambda data: _without_nearest(data["emotion"], at))
            else:
                key = {"at": at, "do": words.value, "strength": round(float(strength.value), 2)}
                self.direction.edit(lambda data: data["emotion"].append(key))

        def film(client: Client) -> None:
            at = self._seconds()
            if camera.value == "Remove":
                self.direction.edit(lambda data: _without_nearest(data["cameras"], at))
            elif client is not None:
                key = self._camera_key(client, at)
                self.direction.edit(lambda data: data["cameras"].append(key))

        emotion.on_click(lambda event: desk.attempt(feel, event.client))
        camera.on_click(lambda event: desk.attempt(film, event.client))

    def _add_files(self) -> None:
        desk, gui = self._desk, self._desk.gui
        with gui.add_folder("Project", expand_by_default=False):
            path = gui.add_text("File", "timeline.yaml", hint="Below the project's folder")
            files = gui.add_button_group("", ("Open", "Save"))
            out = gui.add_text("Video", "outputs/timeline.mp4", hint="Below the project's folder")
            look = gui.add_dropdown("Look", ("preview", "final"))
            render = gui.add_button("Render", icon=viser.Icon.MOVIE)
            bar = gui.add_progress_bar(0.0, visible=False)
            said = gui.add_markdown("")

        def keep(client: Client) -> None:
            chosen = desk.inside(path.value)
            if files.value == "Open":
                self.direction.open(chosen)
            else:
                self.direction.save(chosen)
                desk.notify(client, "Saved", f"{path.value}: studio render {path.value}")

        def news(job: Job) -> None:
            bar.value = float(job.percent)  # type: ignore[misc]
            bar.visible = job.is_running
            render.label = "Cancel" if job.is_running else "Render"
            ended = "" if job.is_running else "**Not rendered** · " if job.failed else "Rendered · "
            said.content = ended + job.last

        def start(_: Client) -> None:
            if self._job is not None and self._job.is_running:
                self._job.cancel()
                return
            target, project = desk.inside(out.value), desk.inside(path.value)
            if desk.subject.folder is None:
                raise StudioError("only stored avatars can be rendered", expected="studio view avatar=…")
            self.direction.save(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._job = Job(("render", f"project={project}", f"out={target}", f"look={look.value}"), news)
            news(self._job)

        files.on_click(lambda event: desk.attempt(keep, event.client))
        desk.click(render, start)

    def _seconds(self) -> float:
        """Where the playhead is."""
        transport = self._desk.transport
        return round(transport.player.frame / transport.reel.track.fps, 2)

    def _camera_key(self, client: viser.ClientHandle, at: float) -> dict[str, Any]:
        camera, points = client.camera, self._desk.viewpoints
        view = View.of(camera.wxyz, camera.position, camera.fov)
        shape = max(camera.image_width, 1) / max(camera.image_height, 1)
        reach = float(np.linalg.norm(camera.position - camera.look_at))
        usual = float((points.capture.position - points.capture.target).norm())
        return camera_key(at, view.viewmat, camera.fov, points.camera, points.capture_fov(shape), reach / usual)

    def _play(self, made: Composed) -> None:
        """What was composed replaces what is played, where it is."""
        (track,) = made.tracks.values()
        self._desk.transport.load(Reel(track, made.voice, "Timeline"), keep_place=True)
        self._make_lanes()
        for lane in self._lanes.values():
            lane.plot(track)

    def _make_lanes(self) -> None:
        """With the first source: so many controls would only make pages slow to open."""
        if not self._lanes:
            with self._lane_folder:
                self._lanes = {name: _Lane(self._desk, self.direction, name) for name in ("all", *CHANNELS)}
            self._lane_folder.visible = True

    def _tell(self) -> None:
        data = self.direction.data
        made = self.direction.composed
        if self.direction.problem:
            self._state.content = f"⚠ {self.direction.problem}"
        elif made is not None:
            (track,) = made.tracks.values()
            beyond = sum(len(items) for items in made.beyond.values())
            note = f" · guarded in {beyond} channels" if beyond else ""
            self._state.content = f"{len(track) / track.fps:.1f} s at {track.fps:g} frames/s{note}"
        lines = [f"- **{name}**: {source['kind']} {_short(source)}" for name, source in data["sources"].items()]
        self._listed.content = "\n".join(lines)
        keys = [f"- {key['at']:g} s: {key.get('do', 'mood')}" for key in data["emotion"]]
        keys += [f"- {key['at']:g} s: camera {key.get('yaw', 0):g}°" for key in data["cameras"]]
        self._keys.content = "\n".join(keys)
        for lane in self._lanes.values():
            lane.show()


class _Lane:
    """One channel: what drives it, how, and its curves."""

    def __init__(self, desk: Desk, direction: Direction, channel: str) -> None:
        self._direction, self._channel = direction, channel
        gui = desk.gui
        with gui.add_folder(channel.capitalize(), expand_by_default=channel in ("all", "mouth")):
            self._plot = None if channel == "all" else _empty_plot(gui)
            self._source: Any = gui.add_dropdown("Source", (_NOBODY,))
            if channel == "all":
                self._source.hint = "Of all channels that have none of their own"
            self._gain = gui.add_slider("Gain", 0.0, 3.0, 0.05, 1.0)
            self._delay = gui.add_slider("Delay", -1.0, 1.0, 0.02, 0.0, hint="Seconds later")
            self._smoothing = gui.add_slider("Smoothing", 0.0, 0.5, 0.01, 0.0, hint="Seconds")
            names = offsets_of(channel)
            self._which: Any = gui.add_dropdown("Offset of", names, visible=bool(names)) if names else None
            limit = 45.0 if channel == "head" else 1.0
            self._offset = gui.add_slider("Offset", -limit, limit, limit / 50, 0.0) if names else None
        self._source.on_update(lambda event: self._changed() if event.client else None)
        for slider in (self._gain, self._delay, self._smoothing, self._offset):
            if slider is not None:
                slider.on_update(lambda event: self._changed() if event.client else None)

    def _changed(self) -> None:
        source = str(self._source.value)

        def change(data: dict[str, Any]) -> None:
            if source == _NOBODY:
                data["channels"].pop(self._channel, None)
                return
            old = data["channels"].get(self._channel)
            route = dict(old) if isinstance(old, dict) else {}
            route |= {"source": source, "gain": float(self._gain.value), "delay": float(self._delay.value)}
            route["smoothing"] = float(self._smoothing.value)
            if self._offset is not None:
                offset = {**route.get("offset", {}), str(self._which.value): float(self._offset.value)}
                route["offset"] = {name: value for name, value in offset.items() if value}
            data["channels"][self._channel] = route

        self._direction.edit(change)

    def show(self) -> None:
        """The controls as the project says."""
        data = self._direction.data
        options = (_NOBODY, *data["sources"])
        if tuple(self._source.options) != options:
            self._source.options = options
        route = data["channels"].get(self._channel)
        wanted = route["source"] if isinstance(route, dict) else _NOBODY
        if wanted in options and self._source.value != wanted:
            self._source.value = wanted
        if isinstance(route, dict):
            for slider, name in ((self._gain, "gain"), (self._delay, "delay"), (self._smoothing, "smoothing")):
                value = float(route.get(name, 1.0 if name == "gain" else 0.0))
                if slider.value != value and slider.min <= value <= slider.max:
                    slider.value = value  # type: ignore[misc]

    def plot(self, track: CodeTrack) -> None:
        """The curves that came of it."""
        if self._plot is None:
            return
        times, names, curves = curves_of(self._channel, track)
        self._plot.series = ({"label": "s"}, *(_line(name, index) for index, name in enumerate(names)))
        self._plot.data = (times, *curves)


def curves_of(channel: str, track: CodeTrack) -> tuple[np.ndarray, tuple[str, ...], tuple[np.ndarray, ...]]:
    """Times, names and values of what moves most in a channel, at no more points than a plot shows."""
    every = max(len(track) // _MOST_POINTS, 1)
    times = np.arange(0, len(track), every) / track.fps
    codes = track.codes
    if channel in ("head", "neck"):
        pose = codes.head_to_world[:, :3, :3]
        turned = matrix_to_axis_angle((rigid_inverse(codes.head_to_world[:1])[:, :3, :3] @ pose).contiguous())
        values = (turned if channel == "head" else codes.neck_pose).rad2deg()
        names = ("nod", "turn", "tilt")
    else:
        indices = [i for i, name in enumerate(codes.space.channels) if name.startswith(CHANNELS[channel])]
        values = codes.expression[:, indices]
        most = values.std(0).argsort(descending=True)[:_MOST_CURVES] if len(track) > 1 else torch.arange(1)
        values, names = values[:, most], tuple(codes.space.channels[indices[i]] for i in most.tolist())
    array = values[::every].double().numpy()
    return times, names, tuple(np.ascontiguousarray(array[:, i]) for i in range(len(names)))


def offsets_of(channel: str) -> tuple[str, ...]:
    """What an offset may be added to in a channel."""
    if channel == "head":
        return HEAD_OFFSETS
    return tuple(name for name in ARKIT52.channels if channel in CHANNELS and name.startswith(CHANNELS[channel]))


def _empty_plot(gui: viser.GuiApi) -> Any:
    axes: tuple[uplot.Axis, ...] = ({"size": 26, "stroke": "#888"}, {"size": 34, "stroke": "#888"})
    scales: dict[str, uplot.Scale] = {"x": {"time": False}}
    nothing = np.zeros(2)
    series: tuple[uplot.Series, ...] = ({"label": "s"}, _line("–", 0))
    return gui.add_uplot(
        (np.array([0.0, 1.0]), nothing), series, scales=scales, axes=axes, legend={"show": False}, height=_PLOT_PIXELS
    )


def _line(name: str, index: int) -> uplot.Series:
    return {"label": name, "stroke": _COLORS[index % len(_COLORS)], "width": 1.5, "points": {"show": False}}


def _enter(data: dict[str, Any], name: str, source: dict[str, Any]) -> None:
    data["sources"][name] = source
    data["channels"].setdefault("all", {"source": name})
    if source["kind"] in ("audio", "text"):
        data["sound"] = name
        data["channels"] |= {"mouth": {"source": name}, "jaw": {"source": name}}
    elif "sound" not in data and source["kind"] in ("track", "video", "curves"):
        data["sound"] = name


def _forget(data: dict[str, Any], name: str) -> None:
    data["sources"].pop(name, None)
    data["channels"] = {k: r for k, r in data["channels"].items() if not isinstance(r, dict) or r["source"] != name}
    if data.get("sound") == name:
        del data["sound"]


def _without_nearest(keys: list[dict[str, Any]], at: float) -> None:
    if keys:
        keys.remove(min(keys, key=lambda key: abs(key["at"] - at)))


def _short(source: dict[str, Any]) -> str:
    return str(source.get("source", source.get("text", "")))[-40:]


def _suggested(desk: Desk) -> str:
    """The open capture or track, where it lies below the project's folder."""
    found = desk.subject.track_folder
    base = desk.folder.resolve()
    if found is None or not found.resolve().is_relative_to(base):
        return ""
    return str(Path(found).resolve().relative_to(base))


TAB = Tab("Direct", 60, DirectPanel, lambda desk: desk.avatar.space.hash == ARKIT52.hash)
