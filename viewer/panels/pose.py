"""The tab that places head, neck, jaw and eyes: sliders, a gizmo in the picture, and a gaze that follows the mouse."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import viser

from reenact.gaze import looking
from studio.rotations import matrix_to_quat, quat_to_matrix, rigid
from viewer.controls import pose_dials
from viewer.desk import Client, Desk, Tab
from viewer.panels.dial_board import DialBoard
from viewer.panels.widgets import set_value

_GAZE_SECONDS = 0.04
_GIZMO_METRES = 0.16
_MOVED = 1e-4


class PosePanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        session, gui = desk.session, desk.gui
        self._watcher: threading.Thread | None = None
        self._watches = False
        self._gizmo: Any = None
        follows = gui.add_checkbox("Gaze follows the mouse", False, hint="The eyes look where the mouse is (G)")
        gizmo = gui.add_checkbox("Head gizmo", False, hint="Rings in the picture that turn the head (J)")
        dials, seen = pose_dials(session.rest), lambda: desk.pages.is_open(TAB.label)
        self.board = DialBoard(desk.server, session, dials, ("Head", "Neck"), session.take_over, is_seen=seen)
        session.on_follow(self.board.show)
        desk.pages.on_tab(self.board.show)
        session.on_follow(self._place_gizmo)
        follows.on_update(lambda event: self._follow_mouse(event.client, follows.value))
        gizmo.on_update(lambda _: self._show_gizmo(gizmo.value))

        def flip_gaze(client: Client) -> None:
            set_value(follows, not follows.value)
            self._follow_mouse(client, follows.value)

        def flip_gizmo(_: Client) -> None:
            set_value(gizmo, not gizmo.value)
            self._show_gizmo(gizmo.value)

        desk.command("Gaze follows the mouse", "G", flip_gaze)
        desk.command("Head gizmo", "J", flip_gizmo)
        desk.on_close(self._stop_watching)

    def _follow_mouse(self, client: Client, wanted: bool) -> None:
        self._stop_watching()
        if wanted and client is not None:
            self._watches = True
            self._watcher = threading.Thread(target=self._watch, args=(client,), name="viewer-gaze", daemon=True)
            self._watcher.start()

    def _stop_watching(self) -> None:
        self._watches = False
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(timeout=5.0)
        self._watcher = None

    def _watch(self, client: viser.ClientHandle) -> None:
        """Ask one page where its mouse is, until told otherwise or it leaves."""
        last = None
        while self._watches and client.client_id in self._desk.server.get_clients():
            place = self._desk.pages.ask(client, "pointer")
            if isinstance(place, list) and len(place) == 2 and place != last:
                last = place
                self._look_at(client, float(place[0]), float(place[1]))
            time.sleep(_GAZE_SECONDS)

    def _look_at(self, client: viser.ClientHandle, x: float, y: float) -> None:
        """Turn the eyes to the point of the picture x right, y up, as far in front of the face as the camera is."""
        camera = client.camera
        if not np.isfinite((x, y, *camera.position, *camera.wxyz, camera.fov)).all():
            return
        tall = np.tan(camera.fov / 2)
        ray = torch.tensor((x * tall * camera.image_width / max(camera.image_height, 1), -y * tall, 1.0))
        turn = quat_to_matrix(torch.from_numpy(np.asarray(camera.wxyz))).float()
        eye = torch.from_numpy(np.asarray(camera.position)).float()

        def turned(codes: Any) -> Any:
            head = codes.head_to_world
            reach = (head[:3, 3] - eye).norm() * 0.5  # half way between face and camera: near, so that eyes really move
            goal = eye + turn @ (ray * reach)
            direction = head[:3, :3].T @ (goal - head[:3, 3])
            return looking(codes, direction.expand(2, 3))

        self._desk.session.pose(turned)

    def _show_gizmo(self, wanted: bool) -> None:
        if self._gizmo is not None:
            self._gizmo.remove()
            self._gizmo = None
        self._desk.pages.put_in_space("gizmo", shown=wanted)
        if not wanted:
            return
        self._gizmo = self._desk.server.scene.add_transform_controls(
            "/head_gizmo", scale=_GIZMO_METRES, disable_sliders=True, line_width=3.0, depth_test=False
        )
        self._place_gizmo()
        self._gizmo.on_update(lambda _: self._turn_head())

    def _place_gizmo(self) -> None:
        gizmo, pose = self._gizmo, self._desk.session.scene.codes.head_to_world
        if gizmo is None:
            return
        quat = matrix_to_quat(pose[:3, :3]).numpy().astype(np.float64)
        with self._desk.server.atomic():
            if np.abs(np.asarray(gizmo.position) - pose[:3, 3].numpy()).max() > _MOVED:
                gizmo.position = pose[:3, 3].numpy()
            if 1 - abs(float(np.dot(quat, gizmo.wxyz))) > _MOVED:
                gizmo.wxyz = quat

    def _turn_head(self) -> None:
        session = self._desk.session
        session.take_over()
        rotation = quat_to_matrix(torch.from_numpy(np.asarray(self._gizmo.wxyz))).float()
        place = torch.from_numpy(np.asarray(self._gizmo.position)).float()
        if bool(torch.isfinite(rotation).all() and torch.isfinite(place).all()):
            session.pose(lambda codes: replace(codes, head_to_world=rigid(rotation, place)))
            self.board.show()


TAB = Tab("Pose", 30, PosePanel, lambda desk: len(desk.avatar.space) > 0)
