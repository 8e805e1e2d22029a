"""The tab that takes something away: a link, a picture, a turntable video, files for other programs."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import viser

from studio.errors import StudioError
from studio.media.splats.ply import write_ply
from studio.media.video_writer import VideoWriter
from studio.provenance.claims import RENDERED
from studio.provenance.seal import sealed
from studio.rotations import axis_angle_to_matrix
from studio.splats import upright
from viewer.desk import Client, Desk, Tab
from viewer.jobs import Job
from viewer.links import Viewing, from_text, to_text
from viewer.modes import MadeOfSplats
from viewer.panels.look import put
from viewer.stage import Shot
from viewer.views import Place, View

_FPS = 25
_LONGEST_TURN = 20.0  # seconds


class SharePanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        gui = desk.gui
        link = gui.add_button("Copy link to this view", icon=viser.Icon.LINK, hint="Face, camera and settings (K)")
        picture = gui.add_button("Save picture", icon=viser.Icon.CAMERA, hint="PNG at full resolution (P)")
        desk.click(link, self.copy_link, is_free=True)
        desk.click(picture, self.save_picture, is_free=True)
        desk.command("Copy link to this view", "K", self.copy_link, is_free=True)
        desk.command("Save picture", "P", self.save_picture, is_free=True)
        self._turning = threading.Event()
        self._add_turntable()
        self._add_export()
        desk.pages.on_ready(self._restore)
        desk.on_close(self._turning.clear)

    def save_picture(self, client: Client) -> None:
        """Send a browser its view as a file."""
        if client is not None:
            self._desk.gallery.save_picture(client, self._desk.subject.claim)

    def copy_link(self, client: Client) -> None:
        """Put a link to a browser's view on its clipboard and in its address bar."""
        if client is not None:
            text = to_text(self._desk.session.scene, _viewing(client))
            self._desk.pages.order(client, "link", view=text)

    def _restore(self, client: viser.ClientHandle) -> None:
        """A page that was opened by a link shows what the link says."""
        text = self._desk.pages.ask(client, "view")
        if text is None:
            return
        try:
            scene, viewing = from_text(text, self._desk.session.scene)
        except StudioError as error:
            self._desk.notify(client, "The link could not be used", str(error), "yellow")
            return
        if self._desk.control.holder in (None, client.client_id):
            session = self._desk.session
            session.take_over()
            session.pose(lambda _: scene.codes, frame=scene.frame)
            session.show(mode=scene.mode, backdrop=scene.backdrop, split=scene.split)
            session.follow()
        place = Place(*(torch.tensor(point) for point in (viewing.position, viewing.target, viewing.up)))
        put(client, place, viewing.fov)

    def _add_turntable(self) -> None:
        gui, desk = self._desk.gui, self._desk
        with gui.add_folder("Turntable", expand_by_default=False):
            seconds = gui.add_slider("Seconds", 1.0, _LONGEST_TURN, 0.5, 4.0)
            side = gui.add_slider("Pixels", 128, 1080, 8, 512)
            start = gui.add_button("Make video", icon=viser.Icon.MOVIE)
            self._turn_bar = gui.add_progress_bar(0.0, visible=False)

        def toggle(client: Client) -> None:
            if self._turning.is_set():
                self._turning.clear()
            elif client is not None:
                self._turning.set()
                start.label = "Cancel"
                try:
                    self._turntable(client, float(seconds.value), int(side.value) // 2 * 2)
                finally:
                    self._turning.clear()
                    start.label, self._turn_bar.visible = "Make video", False

        desk.click(start, toggle)

    def _turntable(self, client: viser.ClientHandle, seconds: float, side: int) -> None:
        """Once round the head from where a browser looks, and the video to that browser."""
        shot = self._desk.gallery.snapshot(client)
        if shot is None:
            return
        viewing, frames = _viewing(client), round(seconds * _FPS)
        self._turn_bar.visible = True
        with TemporaryDirectory() as folder:
            path = Path(folder) / "turntable.mp4"
            with VideoWriter(path, _FPS, (side, side), metadata={"comment": RENDERED}) as writer:
                for frame in range(frames):
                    if not self._turning.is_set():
                        return
                    view = _turned(viewing, 2 * math.pi * frame / frames)
                    writer.write(self._desk.stage.draw(Shot(self._desk.session.scene, view, side, side)))
                    self._turn_bar.value = 100.0 * (frame + 1) / frames  # type: ignore[misc]
            data = sealed(path.read_bytes(), ".mp4", self._desk.subject.claim)
            client.send_file_download(_named("turntable", "mp4"), data, save_immediately=True)

    def _add_export(self) -> None:
        gui, desk = self._desk.gui, self._desk
        if not isinstance(desk.avatar, MadeOfSplats) and desk.subject.folder is None:
            return
        with gui.add_folder("Export", expand_by_default=False):
            if isinstance(desk.avatar, MadeOfSplats):
                ply = gui.add_button(
                    "This face as PLY", icon=viser.Icon.DOWNLOAD, hint="3D Gaussians as they stand now"
                )
                desk.click(ply, self._send_ply)
            if desk.subject.folder is not None:
                self._out = gui.add_text("File", "exports/avatar.ply", hint="Below the project's folder; its ending")
                run = gui.add_button("Export", icon=viser.Icon.FILE_EXPORT, hint="As studio export does")
                self._said = gui.add_markdown("")
                desk.click(run, self._export)

    def _send_ply(self, client: Client) -> None:
        avatar = self._desk.avatar
        if client is None or not isinstance(avatar, MadeOfSplats):
            return
        with TemporaryDirectory() as folder:
            path = Path(folder) / "face.ply"
            write_ply(path, upright(avatar.gaussians(self._desk.session.scene.codes), "-y"))
            client.send_file_download(_named("face", "ply"), path.read_bytes(), save_immediately=True)

    def _export(self, _: Client) -> None:
        out, folder = self._desk.inside(self._out.value), self._desk.subject.folder
        out.parent.mkdir(parents=True, exist_ok=True)
        self._said.content = "Exporting …"

        def news(job: Job) -> None:
            state = "Exporting … " if job.is_running else "**Failed** · " if job.failed else "Done · "
            self._said.content = state + job.last

        job = Job(("export", f"avatar={folder}", f"out={out}"), news)
        self._desk.on_close(job.close)


def _viewing(client: viser.ClientHandle) -> Viewing:
    camera = client.camera
    position, target, up = (tuple(float(x) for x in v) for v in (camera.position, camera.look_at, camera.up_direction))
    return Viewing(position, target, up, float(camera.fov))  # type: ignore[arg-type]


def _turned(viewing: Viewing, angle: float) -> View:
    """Round the target by an angle, about the up direction."""
    position, target, up = (torch.tensor(v) for v in (viewing.position, viewing.target, viewing.up))
    turn = axis_angle_to_matrix(up / up.norm() * angle)
    return View(Place(target + turn @ (position - target), target, up).viewmat, viewing.fov)


def _named(what: str, ending: str) -> Any:
    return time.strftime(f"{what}-%Y%m%d-%H%M%S.{ending}")


TAB = Tab("Share", 90, SharePanel)
