"""A lane of the timeline: what drives one channel, how, and the curves that come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import viser
from viser import uplot

from reenact.project.channels import CHANNELS
from reenact.project.schema import HEAD_OFFSETS
from studio.codes import ARKIT52, CodeTrack
from studio.rotations import matrix_to_axis_angle, rigid_inverse
from viewer.desk import Desk
from viewer.direction import Direction

_NOBODY = "–"
_COLORS = ("#6ea8e0", "#e0a46e", "#8fce7c", "#d982b5", "#c9c35a", "#8f8fe0")
_MOST_CURVES, _MOST_POINTS = 4, 600
_PLOT_PIXELS = 96


class Lane:
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
        if self._which is not None:
            self._which.on_update(lambda event: self.show() if event.client else None)
        self._source.on_update(lambda event: self._changed() if event.client else None)
        for slider in (self._gain, self._delay, self._smoothing, self._offset):
            if slider is not None:
                slider.on_update(lambda event: self._changed() if event.client else None)

    def _changed(self) -> None:
        source = str(self._source.value)

        def change(character: dict[str, Any]) -> None:
            channels = character["channels"]
            if source == _NOBODY:
                channels.pop(self._channel, None)
                return
            old = channels.get(self._channel)
            route = dict(old) if isinstance(old, dict) else {}
            route |= {"source": source, "gain": float(self._gain.value), "delay": float(self._delay.value)}
            route["smoothing"] = float(self._smoothing.value)
            if self._offset is not None:
                offset = {**route.get("offset", {}), str(self._which.value): float(self._offset.value)}
                route["offset"] = {name: value for name, value in offset.items() if value}
            channels[self._channel] = route

        self._direction.direct(change)

    def show(self) -> None:
        """The controls as the project says."""
        options = (_NOBODY, *self._direction.data["sources"])
        if tuple(self._source.options) != options:
            self._source.options = options
        found = self._direction.character["channels"].get(self._channel)
        route = found if isinstance(found, dict) else {}
        wanted = route.get("source", _NOBODY)
        if wanted in options and self._source.value != wanted:
            self._source.value = wanted
        values = [
            (self._gain, route.get("gain", 1.0)),
            (self._delay, route.get("delay", 0.0)),
            (self._smoothing, route.get("smoothing", 0.0)),
        ]
        if self._offset is not None:
            values.append((self._offset, route.get("offset", {}).get(str(self._which.value), 0.0)))
        for slider, value in values:
            if slider.value != float(value) and slider.min <= value <= slider.max:
                slider.value = float(value)  # type: ignore[misc]

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
