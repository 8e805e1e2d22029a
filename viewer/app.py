"""The viewer: an avatar in the browser, drawn by this program, with panels that drive, direct, compare and share it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import viser

from studio.avatar import Avatar
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.logs import say
from viewer.desk import Desk, build_tabs
from viewer.footage import Footage
from viewer.gallery import Gallery
from viewer.help import Help
from viewer.pages import Pages
from viewer.server import address, open_server
from viewer.session import Scene, Session, Split
from viewer.stage import Stage
from viewer.subject import Subject
from viewer.transport import Reel, Transport
from viewer.views import Viewpoints

_BRAND = (96, 140, 190)
_PANEL_PIXELS = 360


@dataclass(frozen=True)
class ViewerConfig:
    """How the viewer is served.

    Args:
        port: listen there; None for the first free port from 8080 on.
        host: listen on this address only. Anything but this machine's own needs the token of the printed link.
        size: greatest width or height in pixels of a picture; browsers enlarge it where their window is larger.
        backdrop: sRGB colour, 0..255, behind the avatar.
        dark: whether pages begin dark.
        folder: nothing outside of it is read or written for a browser.
        window: show it in a window of its own instead of a browser.
    """

    port: int | None = None
    host: str = "127.0.0.1"
    size: int = 1080
    backdrop: tuple[int, int, int] = (104, 108, 116)
    dark: bool = True
    folder: Path = Path()
    window: bool = False

    def __post_init__(self) -> None:
        if self.size < 64:
            raise StudioError("the viewer's size is too small", got=self.size, expected="at least 64 pixels")
        if not all(0 <= level <= 255 for level in self.backdrop):
            raise StudioError("the viewer's backdrop is no colour", got=self.backdrop, expected="three levels 0..255")


def view(shown: Path | Avatar | Subject, track: CodeTrack | None = None, config: ViewerConfig | None = None) -> None:
    """Show an avatar in the browser, or in a window, until Ctrl-C.

    Args:
        shown: a folder made by training, any avatar, or an avatar with what belongs to it.
        track: codes to play, in the avatar's code space and world.
        config: where it is served.

    Raises:
        StudioError: the folder is no avatar, the track is of another code space, or the port is taken.
    """
    config = config or ViewerConfig()
    try:
        with Viewer(_loaded(shown), track, config) as viewer:
            say(f"the viewer runs at {viewer.url} (Ctrl-C ends it)")
            if config.window:
                from viewer.window import show_window

                show_window(viewer.url)
            else:
                threading.Event().wait()
    except KeyboardInterrupt:
        say("viewer ended")


def _loaded(shown: Path | Avatar | Subject) -> Avatar | Subject:
    if not isinstance(shown, Path):
        return shown
    from recon.avatars import load_avatar

    return Subject(load_avatar(shown), shown.parent.name, folder=shown)


class Viewer:
    """A running viewer; a context manager that shuts down everything it started. Arguments as ``view``.

    Raises:
        StudioError: the track is of another code space, or the port is taken.
    """

    def __init__(
        self, shown: Avatar | Subject, track: CodeTrack | None = None, config: ViewerConfig | None = None
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
        self._server = open_server(self._config.host, self._config.port, subject.name or "Head avatar")
        stage = Stage(avatar, viewpoints, footage, subject.rival, subject.head)
        pages = Pages(self._server)
        gallery = Gallery(self._server, pages, session, stage, self._config.size, viewpoints.orbit_limits)
        transport = Transport(session, reel)
        folder = self._config.folder
        self._desk = Desk(self._server, session, subject, stage, gallery, viewpoints, transport, pages, folder)
        self._place_first_camera()
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

    def _place_first_camera(self) -> None:
        points, first = self._desk.viewpoints, self._server.initial_camera
        from_capture = self._desk.avatar.background is not None or self._desk.stage.footage is not None
        place = points.capture if from_capture else points.front
        first.position, first.look_at, first.up = (value.numpy() for value in (place.position, place.target, place.up))
        first.fov = points.capture_fov(1.0) if from_capture else points.front_fov

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
