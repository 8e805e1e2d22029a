"""The viewer: an avatar in the browser, drawn by this program, with panels that drive, direct, compare and share it."""

from __future__ import annotations

import math
from types import TracebackType

import viser

from studio.avatar import Avatar
from studio.codes import CodeTrack
from viewer.control import Control
from viewer.desk import Desk, build_tabs
from viewer.drawers import Drawers
from viewer.footage import Footage
from viewer.gallery import Gallery
from viewer.help import Help
from viewer.pages import Pages
from viewer.panels.look import put
from viewer.server import LocalServer, address, open_server
from viewer.session import Scene, Session, Split
from viewer.settings import ViewerConfig
from viewer.stage import Stage
from viewer.subject import Subject
from viewer.transport import Reel, Transport
from viewer.views import Viewpoints

_BRAND = (96, 140, 190)
_PANEL_PIXELS = 360
_UNTOLD_FOV = math.radians(75)  # of viser's pages that nobody has told where to begin


class Viewer:
    """A running viewer; a context manager that shuts down everything it started.

    Args:
        shown: any avatar, or one with what belongs to it.
        track: codes to play, in the avatar's code space and world.
        config: how it is served.
        server: serves already; by default one is started.

    Raises:
        StudioError: the track is of another code space, or the port is taken.
    """

    def __init__(
        self,
        shown: Avatar | Subject,
        track: CodeTrack | None = None,
        config: ViewerConfig | None = None,
        server: LocalServer | None = None,
    ) -> None:
        self._config = config or ViewerConfig()
        subject = shown if isinstance(shown, Subject) else Subject(shown)
        avatar, reel = subject.avatar, Reel(track) if track is not None else subject.reel
        if reel is not None:
            avatar.space.require(reel.track.codes.space, "the track")
        footage = None if subject.capture is None else Footage(subject.capture)
        viewpoints = Viewpoints.of(avatar)
        if subject.capture is not None:
            viewpoints = viewpoints.with_cameras(subject.capture.cameras)
        session = Session(_first_scene(subject, self._config))
        self._server = server or open_server(self._config.host, self._config.port, "Head avatar")
        if subject.name:
            self._server.gui.set_panel_label(subject.name)
        self._place_first_camera(viewpoints, from_capture=avatar.background is not None or footage is not None)
        stage = Stage(avatar, viewpoints, footage, subject.rival, subject.head)
        pages = Pages(self._server)
        drawers = Drawers(self._server, pages, stage, self._config.drawn_by)
        gallery = Gallery(self._server, pages, session, stage, self._config.size, viewpoints.orbit_limits, drawers)
        transport = Transport(session, reel)
        folder = self._config.folder
        control = Control(self._server)
        self._desk = Desk(self._server, session, subject, stage, gallery, viewpoints, transport, pages, folder, control)
        self._build()

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return address(self._config.host, self._server.get_port(), self._server.gate.token)

    def redraw(self) -> None:
        """The avatar itself has changed: new pictures for everybody."""
        self._desk.gallery.redraw()

    def close(self) -> None:
        """Stop playing, rendering and serving; browsers see the connection end."""
        for closer in reversed(self._desk.closers):
            closer()
        self._desk.transport.close()
        self._desk.gallery.close()
        self._server.stop()
        self._desk.pages.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _place_first_camera(self, points: Viewpoints, *, from_capture: bool) -> None:
        """For browsers that come, and for those that have come while the avatar was being opened."""
        first, place = self._server.initial_camera, points.capture if from_capture else points.front
        first.position, first.look_at, first.up = (value.numpy() for value in (place.position, place.target, place.up))
        first.fov = fov = points.capture_fov(1.0) if from_capture else points.front_fov

        def seat(client: viser.ClientHandle) -> None:
            if abs(client.camera.fov - _UNTOLD_FOV) < 1e-4:
                put(client, place, fov)

        self._server.on_client_connect(seat)

    def _build(self) -> None:
        desk = self._desk
        configure_theme(desk.gui, dark=self._config.dark)
        desk.gui.main_panel.dock_right()
        desk.gui.main_panel.set_width(_PANEL_PIXELS)
        if len(desk.avatar.space):
            reset = desk.gui.add_button("Reset all", color="gray", hint="Expression and pose as they rest (R)")
            desk.click(reset, lambda _: self._reset())
            desk.command("Reset all", "R", lambda _: self._reset())
        build_tabs(desk)
        Help(desk, dark=self._config.dark)

    def _reset(self) -> None:
        session = self._desk.session
        session.take_over()
        session.pose(lambda _: session.rest)
        session.follow()


def _first_scene(subject: Subject, config: ViewerConfig) -> Scene:
    """At rest; beside the avatar that it is compared with."""
    split = Split("rival") if subject.rival is not None else Split()
    return Scene(subject.avatar.codes, config.backdrop, mode=subject.mode, split=split)


def configure_theme(gui: viser.GuiApi, *, dark: bool) -> None:
    """The look of the controls, in one browser or in all."""
    gui.configure_theme(dark_mode=dark, show_logo=False, show_share_button=False, brand_color=_BRAND)
