"""The tab for looking: where from, shown how, in front of what, beside what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import viser

from viewer.desk import Client, Desk, Tab
from viewer.modes import NEED_FOOTAGE, modes_for
from viewer.panels.widgets import set_value
from viewer.session import Split
from viewer.views import Place, View

_FOOTAGE, _COLOR = "Footage", "Colour"
_ALONE, _SIDE, _WIPE = "Alone", "Side by side", "Wipe"
_DARK_STAGE, _LIGHT_STAGE = (104, 108, 116), (206, 208, 212)


class LookPanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._session, self._viewpoints = desk.session, desk.viewpoints
        self._has_footage = desk.avatar.background is not None or desk.stage.footage is not None
        self._add_places()
        self._add_modes()
        self._add_split()
        self._add_background()
        desk.gui.add_markdown("Drag to orbit · right-drag to move · wheel to zoom")
        desk.server.on_client_connect(self.fit)
        desk.command("Look from the front", "F", self.to_front, is_free=True)

    def _add_places(self) -> None:
        gui, desk = self._desk.gui, self._desk
        front = gui.add_button("From the front", icon=viser.Icon.FACE_ID, color="gray", hint="F")
        desk.click(front, self.to_front, is_free=True)
        if self._viewpoints.front is self._viewpoints.capture and desk.stage.footage is None:
            return  # splats of others: no camera has filmed them
        hint = "As the recording saw it (C)"
        capture = gui.add_button("Capture's camera", icon=viser.Icon.VIDEO, color="gray", hint=hint)
        desk.click(capture, self.to_capture, is_free=True)
        desk.command("Look from the capture's camera", "C", self.to_capture, is_free=True)

    def _add_modes(self) -> None:
        gui, available = self._desk.gui, modes_for(self._desk.avatar)
        if self._desk.stage.footage is None:
            available = {name: item for name, item in available.items() if name not in NEED_FOOTAGE}
        labels = {item.label: name for name, item in available.items()}
        begins = available.get(self._session.scene.mode, available["colour"]).label
        self._mode = gui.add_dropdown("Show", tuple(labels), initial_value=begins, hint="Keys 1 to 8")
        self._mode_note = gui.add_markdown("")

        def choose(client: Client) -> None:
            chosen = labels[self._mode.value]
            self._session.show(mode=chosen)
            self._mode_note.content = "" if chosen == "colour" else f"*{available[chosen].hint}*"
            if chosen in NEED_FOOTAGE:
                self._seat(client)

        self._mode.on_update(lambda event: self._desk.attempt(choose, event.client))
        for number, label in enumerate(labels, start=1):

            def pick(client: Client, label: str = label) -> None:
                set_value(self._mode, label)
                choose(client)

            self._desk.command(f"Show {label.lower()}", str(number), pick)

    def _add_split(self) -> None:
        gui, stage, subject = self._desk.gui, self._desk.stage, self._desk.subject
        others = {}
        if stage.footage is not None:
            others["the footage"] = "footage"
        if stage.rival is not None:
            others[subject.rival_name or "the other avatar"] = "rival"
        if not others:
            return
        with gui.add_folder(f"Compare with {next(iter(others))}" if len(others) == 1 else "Compare"):
            layout = gui.add_button_group("Layout", (_ALONE, _SIDE, _WIPE))
            other: Any = gui.add_dropdown("With", tuple(others), visible=len(others) > 1)
            at = gui.add_slider("Boundary", 0.0, 1.0, 0.005, 0.5, visible=False, hint="Left of it the avatar")

        def choose(client: Client) -> None:
            kind = layout.value
            at.visible = kind == _WIPE
            chosen: Any = "none" if kind == _ALONE else others[other.value]
            split = Split(chosen, "wipe" if kind == _WIPE else "side", float(at.value))
            self._session.show(split=split)
            if chosen == "footage":
                self._seat(client)

        def move(_: Any) -> None:
            self._session.show(split=replace(self._session.scene.split, at=float(at.value)))

        layout.on_click(lambda event: self._desk.attempt(choose, event.client))
        other.on_update(lambda event: self._desk.attempt(choose, event.client))
        at.on_update(move)
        self._desk.services["split"] = (layout, other, at)

    def _add_background(self) -> None:
        gui = self._desk.gui
        hint = "The footage's own background shows from the capture's camera only"
        with gui.add_folder("Behind", expand_by_default=False):
            background = gui.add_dropdown("Background", (_FOOTAGE, _COLOR), hint=hint, visible=self._has_footage)
            color = gui.add_rgb("Colour", self._session.scene.backdrop)

        def choose(_: Any) -> None:
            self._session.set_background(color.value, background.value == _FOOTAGE)

        background.on_update(choose)
        color.on_update(choose)

    def to_front(self, client: Client) -> None:
        """Put a browser's camera before the face where it is now."""
        if client is not None:
            fov = self._viewpoints.front_fov_in(_shape(client))
            put(client, self._viewpoints.before(self._session.scene.codes), fov)

    def to_capture(self, client: Client) -> None:
        """Put a browser's camera where the avatar was recorded."""
        if client is not None:
            put(client, self._viewpoints.capture, self._viewpoints.capture_fov(_shape(client)))

    def fit(self, client: viser.ClientHandle) -> None:
        """Where a browser begins, fit the lens to its window, whose shape is known by now."""
        camera, points = client.camera, self._viewpoints
        view = View.of(camera.wxyz, camera.position, camera.fov)
        if self._has_footage and view.is_from(points.capture):
            self.to_capture(client)
        elif _shape(client) < 1.0 and view.is_from(points.front):
            self.to_front(client)

    def _seat(self, client: Client) -> None:
        """What compares with the footage needs a capture's camera, and the frame's own state."""
        self._desk.transport.refresh()
        if client is not None:
            camera = client.camera
            if self._desk.stage.seat(View.of(camera.wxyz, camera.position, camera.fov)) is None:
                self.to_capture(client)


def _shape(client: viser.ClientHandle) -> float:
    return max(client.camera.image_width, 1) / max(client.camera.image_height, 1)


def put(client: viser.ClientHandle, place: Place, fov: float) -> None:
    """Move a browser's camera."""
    camera = client.camera
    with client.atomic():
        camera.up_direction = place.up.numpy()
        camera.position = place.position.numpy()
        camera.look_at = place.target.numpy()
        camera.fov = fov


TAB = Tab("Look", 40, LookPanel)
