"""Emotion and camera keys at the playhead, and what the camera keys see."""

from __future__ import annotations

from typing import Any

import torch
import viser
from torch import Tensor

from reenact.project.scene import keyed_cameras, scene_camera
from reenact.project.schema import CameraKey
from studio.cameras import Camera
from studio.errors import StudioError
from studio.rotations import transform_points
from viewer.desk import Client, Desk
from viewer.direction import Direction, camera_key
from viewer.views import View, through


class KeyBoard:
    """Controls in the container that is open.

    Args:
        desk: what it works with.
        direction: the project whose keys they are.
    """

    def __init__(self, desk: Desk, direction: Direction) -> None:
        self._desk, self.direction = desk, direction
        self._made: tuple[Any, ...] = ()  # what the cameras were made from
        gui = desk.gui
        with gui.add_folder("Keys at the playhead", expand_by_default=False):
            self._listed = gui.add_markdown("")
            words = gui.add_text("Emotion", "smile", hint='Plain words: "tired smile, brows up, glance left"')
            strength = gui.add_slider("How much", 0.0, 1.5, 0.05, 1.0)
            emotion = gui.add_button_group("", ("Add emotion", "Remove"))
            camera = gui.add_button_group(" ", ("Add camera", "Remove"))

            preview = gui.add_checkbox("Look through", False, hint="See what the camera keys will show")

        def feel(_: Client) -> None:
            at = self._seconds()
            if emotion.value == "Remove":
                self.direction.direct(lambda character: _without_nearest(character["emotion"], at))
            else:
                key = {"at": at, "do": words.value, "strength": round(float(strength.value), 2)}
                self.direction.direct(lambda character: character["emotion"].append(key))

        def film(client: Client) -> None:
            at = self._seconds()
            if camera.value == "Remove":
                self.direction.edit(lambda data: _without_nearest(data["cameras"], at))
            elif client is not None:
                key = self._camera_key(client, at)
                self.direction.edit(lambda data: data["cameras"].append(key))

        def see(client: Client) -> None:
            if client is not None:
                desk.gallery.lead(client, self._path if preview.value else None)

        preview.on_update(lambda event: desk.attempt(see, event.client))
        emotion.on_click(lambda event: desk.attempt(feel, event.client))
        camera.on_click(lambda event: desk.attempt(film, event.client))

    def show(self) -> None:
        """The keys as the project has them."""
        keys = [f"- {key['at']:g} s: {key.get('do', 'mood')}" for key in self.direction.character["emotion"]]
        keys += [f"- {key['at']:g} s: camera {key.get('yaw', 0):g}°" for key in self.direction.data["cameras"]]
        self._listed.content = "\n".join(keys)

    def _path(self, frame: int, shape: float) -> View:
        """What the camera keys see at a frame, as a render will; the avatar's own view where there are none."""
        start, target = self._start()
        keys, track = self._project_keys(), self._desk.transport.reel.track
        made = (keys, len(track), track.fps, self.direction.take)
        if not keys:
            return through(start, shape)
        if self._made != made:
            self._made, self._cameras = made, keyed_cameras(keys, start, target, len(track), track.fps)
        return through(self._cameras[min(frame, len(track) - 1)], shape)

    def _start(self) -> tuple[Camera, Tensor]:
        """Where a render without keys is seen from, and what keys turn round [3]."""
        take = self.direction.take
        return scene_camera([self._desk.avatar], [torch.eye(4)]) if take is None else take.camera()

    def _project_keys(self) -> tuple[CameraKey, ...]:
        try:
            return self.direction.project().cameras
        except StudioError:  # nothing drives it yet
            return ()

    def _seconds(self) -> float:
        """Where the playhead is."""
        transport = self._desk.transport
        return round(transport.player.frame / transport.reel.track.fps, 2)

    def _camera_key(self, client: viser.ClientHandle, at: float) -> dict[str, Any]:
        camera = client.camera
        view = View.of(camera.wxyz, camera.position, camera.fov)
        shape = max(camera.image_width, 1) / max(camera.image_height, 1)
        start, target = self._start()
        reach, usual = (float(transform_points(m, target[None])[0, 2]) for m in (view.viewmat, start.viewmats[0]))
        return camera_key(at, view.viewmat, camera.fov, start, through(start, shape).fov, reach / usual)


def _without_nearest(keys: list[dict[str, Any]], at: float) -> None:
    if keys:
        keys.remove(min(keys, key=lambda key: abs(key["at"] - at)))
