"""The tab of the footage: its cameras in space, what each of them sees, the head that was tracked."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import viser

from studio.captures import Capture
from studio.rotations import matrix_to_quat, rigid_inverse
from viewer.desk import Client, Desk, Tab
from viewer.panels.look import put
from viewer.panels.widgets import set_value

_THUMBNAIL = 160  # pixels, the longer side
_MOST_PICTURES = 32  # of a rig with more cameras every so-manieth shows its picture
_FRUSTUM = 0.07  # of the distance to the head
_COLOR = (96, 140, 190)


class CapturePanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        assert desk.subject.capture is not None
        self._desk, self._capture = desk, desk.subject.capture
        self._nodes: list[Any] = []
        gui, capture = desk.gui, self._capture
        gui.add_markdown(_told(capture, tracked=desk.subject.tracked is not None))
        self._camera = gui.add_dropdown("Camera", capture.cameras.ids, hint="The avatar is seen from there")
        through = gui.add_button("Look through it", icon=viser.Icon.VIDEO, color="gray", hint="V: the next camera")
        frusta = gui.add_checkbox("Cameras in space", False, hint="Click one to look through it")
        self._boxes = {}
        if desk.subject.head is not None:
            self._boxes["mesh"] = gui.add_checkbox("Head mesh", False, hint="The tracked head as wires")
            self._boxes["landmarks"] = gui.add_checkbox("Landmarks", False, hint="The landmarks on the tracked head")
        for box in self._boxes.values():
            box.on_update(lambda _: self._overlay())
        self._camera.on_update(lambda event: self.look_through(event.client))
        desk.click(through, self.look_through, is_free=True)
        frusta.on_update(lambda _: self._show_cameras(frusta.value))
        desk.command("Next camera of the capture", "V", self._next)

    def look_through(self, client: Client, index: int | None = None) -> None:
        """Put a browser where a camera of the capture is."""
        if client is None:
            return
        index = self._capture.cameras.ids.index(self._camera.value) if index is None else index
        camera, place = self._capture.cameras[index], self._desk.viewpoints.cameras[index]
        shape = max(client.camera.image_width, 1) / max(client.camera.image_height, 1)
        tall = max(float(camera.height), camera.width / shape)
        put(client, place, 2 * math.atan(tall / (2 * float(camera.Ks[0, 1, 1]))))

    def _next(self, client: Client) -> None:
        ids = self._capture.cameras.ids
        set_value(self._camera, ids[(ids.index(self._camera.value) + 1) % len(ids)])
        self.look_through(client)

    def _overlay(self) -> None:
        self._desk.session.show(overlays=frozenset(name for name, box in self._boxes.items() if box.value))

    def _show_cameras(self, wanted: bool) -> None:
        for node in self._nodes:
            node.remove()
        self._nodes = []
        self._desk.pages.put_in_space("cameras", shown=wanted)
        if not wanted:
            return
        places, count = self._desk.viewpoints.cameras, len(self._capture.cameras)
        pictured = set(range(0, count, math.ceil(count / _MOST_PICTURES)))
        size = _FRUSTUM * float(np.median([(place.position - place.target).norm() for place in places]))
        for index in range(count):
            self._nodes.append(self._frustum(index, size, with_picture=index in pictured))

    def _frustum(self, index: int, size: float, *, with_picture: bool) -> Any:
        camera = self._capture.cameras[index]
        to_world = rigid_inverse(camera.viewmats[0])
        node = self._desk.server.scene.add_camera_frustum(
            f"/cameras/{index}",
            fov=2 * math.atan(camera.height / (2 * float(camera.Ks[0, 1, 1]))),
            aspect=camera.width / camera.height,
            scale=size,
            thickness=0.02 * size,
            color=_COLOR,
            image=self._thumbnail(index) if with_picture else None,
            wxyz=matrix_to_quat(to_world[:3, :3]).numpy(),
            position=to_world[:3, 3].numpy(),
        )
        node.on_click(lambda event: self._desk.attempt(lambda client: self.look_through(client, index), event.client))
        return node

    def _thumbnail(self, index: int) -> np.ndarray:
        image = self._capture.image(min(self._desk.session.scene.frame, len(self._capture) - 1), index)
        scale = _THUMBNAIL / max(image.shape[:2])
        size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _told(capture: Capture, *, tracked: bool) -> str:
    cameras, frames = len(capture.cameras), len(capture)
    rate = f" at {capture.fps:g} frames/s" if capture.fps else ""
    size = f"{capture.cameras.width} × {capture.cameras.height}"
    many = f"{cameras} cameras" if cameras > 1 else "1 camera"
    state = "tracked" if tracked else "not tracked"
    return f"**{capture.folder.name}** · {many} · {frames} frames{rate} · {size} · {state}"


TAB = Tab("Capture", 50, CapturePanel, lambda desk: desk.subject.capture is not None)
