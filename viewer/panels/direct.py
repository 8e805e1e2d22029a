"""The tab that directs: sources, a lane with curves for each channel, emotion and camera keys, saving, rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import viser

from reenact.drivers import drivers
from reenact.project.channels import CHANNELS
from studio.codes import ARKIT52
from studio.errors import StudioError
from viewer.desk import Client, Desk, Tab
from viewer.direction import Direction, Take
from viewer.jobs import Job
from viewer.panels.cast_board import CastBoard
from viewer.panels.key_board import KeyBoard
from viewer.panels.lane import Lane
from viewer.transport import Reel


class DirectPanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._job: Job | None = None
        self.direction = Direction(desk.avatar, desk.subject.folder, desk.folder, self._play)
        self._state = desk.gui.add_markdown("Add a source: a track, a sound, words, curves or a video.")
        self._add_sources()
        self._cast = CastBoard(desk, self.direction, self._show)
        self._lanes: dict[str, Lane] = {}
        self._lane_folder = desk.gui.add_folder("Lanes", visible=False)
        self._keys = KeyBoard(desk, self.direction)
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
            chosen = self.direction.chosen
            self.direction.edit(lambda data: _enter(data, chosen, called, source))

        add.on_click(lambda event: desk.attempt(change, event.client))

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

    def _play(self, take: Take) -> None:
        """What was composed replaces what is played, where it is."""
        self._desk.transport.load(Reel(take.track, take.made.voice, "Timeline", take.company), keep_place=True)
        self._make_lanes()

    def _make_lanes(self) -> None:
        """With the first source: so many controls would only make pages slow to open."""
        if not self._lanes:
            with self._lane_folder:
                self._lanes = {name: Lane(self._desk, self.direction, name) for name in ("all", *CHANNELS)}
            self._lane_folder.visible = True

    def _tell(self) -> None:
        data, take = self.direction.data, self.direction.take
        if self.direction.problem:
            self._state.content = f"⚠ {self.direction.problem}"
        elif take is not None:
            track = take.track
            beyond = sum(len(items) for items in take.made.beyond.values())
            note = f" · guarded in {beyond} channels" if beyond else ""
            self._state.content = f"{len(track) / track.fps:.1f} s at {track.fps:g} frames/s{note}"
        lines = [f"- **{name}**: {source['kind']} {_short(source)}" for name, source in data["sources"].items()]
        self._listed.content = "\n".join(lines)
        self._cast.show()
        self._show()

    def _show(self) -> None:
        """Keys and lanes of the character that is being directed."""
        self._keys.show()
        take, chosen = self.direction.take, self.direction.chosen
        for lane in self._lanes.values():
            lane.show()
            if take is not None and chosen in take.made.tracks:
                lane.plot(take.made.tracks[chosen])


def _enter(data: dict[str, Any], chosen: str, name: str, source: dict[str, Any]) -> None:
    """A source that drives a character; of speech what it drives is heard, with what drives others."""
    channels = data["characters"][chosen]["channels"]
    data["sources"][name] = source
    channels.setdefault("all", {"source": name})
    if source["kind"] in ("audio", "text"):
        channels |= {"mouth": {"source": name}, "jaw": {"source": name}}
        others = [values["channels"] for key, values in data["characters"].items() if key != chosen]
        data["sound"] = [sound for sound in data["sound"] if any(_drives(sound, c) for c in others)] + [name]
    elif not data["sound"] and source["kind"] in ("track", "video", "curves"):
        data["sound"] = [name]


def _forget(data: dict[str, Any], name: str) -> None:
    data["sources"].pop(name, None)
    for values in data["characters"].values():
        kept = {k: r for k, r in values["channels"].items() if not isinstance(r, dict) or r["source"] != name}
        values["channels"] = kept
    data["sound"] = [sound for sound in data["sound"] if sound != name]


def _drives(source: str, channels: dict[str, Any]) -> bool:
    return any(isinstance(route, dict) and route["source"] == source for route in channels.values())


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
