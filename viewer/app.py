"""The viewer: an avatar in the browser, drawn by this program, with controls for its face and a player for a track."""

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
from viewer.controls import pose_dials
from viewer.gallery import Gallery
from viewer.panels.dial_board import DialBoard
from viewer.panels.face import FacePanel
from viewer.panels.look import LookPanel
from viewer.panels.play import PlayPanel
from viewer.server import address, open_server
from viewer.session import Scene, Session
from viewer.stage import Stage
from viewer.views import Viewpoints

_BRAND = (96, 140, 190)


@dataclass(frozen=True)
class ViewerConfig:
    """How the viewer is served.

    Args:
        port: listen there; None for the first free port from 8080 on.
        host: listen on this address only. Anything but 127.0.0.1 lets other machines see and move the avatar.
        size: greatest width or height in pixels of a picture; browsers enlarge it where their window is larger.
        backdrop: sRGB colour, 0..255, behind the avatar.
    """

    port: int | None = None
    host: str = "127.0.0.1"
    size: int = 1080
    backdrop: tuple[int, int, int] = (104, 108, 116)

    def __post_init__(self) -> None:
        if self.size < 64:
            raise StudioError("the viewer's size is too small", got=self.size, expected="at least 64 pixels")
        if not all(0 <= level <= 255 for level in self.backdrop):
            raise StudioError("the viewer's backdrop is no colour", got=self.backdrop, expected="three levels 0..255")


def view(avatar: Path | Avatar, track: CodeTrack | None = None, config: ViewerConfig | None = None) -> None:
    """Show an avatar in the browser until Ctrl-C.

    Args:
        avatar: a folder made by training, or any avatar.
        track: codes to play, in the avatar's code space and world.
        config: where it is served.

    Raises:
        StudioError: the folder is no avatar, the track is of another code space, or the port is taken.
    """
    try:
        with Viewer(_loaded(avatar), track, config) as viewer:
            say(f"the viewer runs at {viewer.url} (Ctrl-C ends it)")
            threading.Event().wait()
    except KeyboardInterrupt:
        say("viewer ended")


def _loaded(avatar: Path | Avatar) -> Avatar:
    if not isinstance(avatar, Path):
        return avatar
    from recon.avatars import load_avatar

    return load_avatar(avatar)


class Viewer:
    """A running viewer; a context manager that shuts down everything it started. Arguments as ``view``.

    Raises:
        StudioError: the track is of another code space, or the port is taken.
    """

    def __init__(self, avatar: Avatar, track: CodeTrack | None = None, config: ViewerConfig | None = None) -> None:
        self._config = config or ViewerConfig()
        if track is not None:
            avatar.space.require(track.codes.space, "the track")
        self._avatar = avatar
        self._viewpoints = Viewpoints.of(avatar)
        self._session = Session(Scene(avatar.codes, self._config.backdrop))
        self._server = open_server(self._config.host, self._config.port, "Head avatar")
        stage = Stage(avatar, self._viewpoints)
        limits = self._viewpoints.orbit_limits
        self._gallery = Gallery(self._server, self._session, stage, self._config.size, limits)
        self._boards: list[DialBoard] = []
        self._player: PlayPanel | None = None
        self._place_first_camera()
        self._build_panels(track)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return address(self._config.host, self._server.get_port())

    def redraw(self) -> None:
        """The avatar itself has changed: new pictures for everybody."""
        self._gallery.redraw()

    def close(self) -> None:
        """Stop playing, rendering and serving; browsers see the connection end."""
        if self._player is not None:
            self._player.close()
        self._gallery.close()
        self._server.stop()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _place_first_camera(self) -> None:
        points, first = self._viewpoints, self._server.initial_camera
        from_capture = self._avatar.background is not None
        place = points.capture if from_capture else points.front
        first.position, first.look_at, first.up = (value.numpy() for value in (place.position, place.target, place.up))
        first.fov = points.capture_fov(1.0) if from_capture else points.front_fov

    def _build_panels(self, track: CodeTrack | None) -> None:
        server, session = self._server, self._session
        server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=_BRAND)
        server.gui.main_panel.dock_right()
        if len(self._avatar.space):
            reset = server.gui.add_button("Reset all", color="gray", hint="Expression and pose as they rest (R)")
            reset.on_click(lambda _: self._reset())
        tabs = server.gui.add_tab_group()
        if track is not None:
            with tabs.add_tab("Play", viser.Icon.PLAYER_PLAY):
                self._player = PlayPanel(server, session, track, self._show_dials)
        if len(self._avatar.space):
            with tabs.add_tab("Face", viser.Icon.MOOD_SMILE):
                self._boards.append(FacePanel(server, session, self._avatar.code_range, self._pause).board)
            with tabs.add_tab("Pose", viser.Icon.ROTATE):
                self._boards.append(DialBoard(server, session, pose_dials(session.rest), ("Head", "Neck"), self._pause))
        with tabs.add_tab("Look", viser.Icon.EYE):
            has_footage = self._avatar.background is not None
            look = LookPanel(server, session, self._gallery, self._viewpoints, has_footage)
        if has_footage:
            server.on_client_connect(look.fit_capture)
        self._add_shortcuts(look)

    def _add_shortcuts(self, look: LookPanel) -> None:
        """Keys for what is done most; they also stand in the browser's command palette."""
        add = self._server.gui.add_command
        add("Look from the front", hotkey="F").on_trigger(lambda event: look.to_front(event.client))
        add("Look from the capture's camera", hotkey="C").on_trigger(lambda event: look.to_capture(event.client))
        add("Save picture", hotkey="P").on_trigger(lambda event: look.save_picture(event.client))
        add("Reset all", hotkey="R").on_trigger(lambda _: self._reset())
        if self._player is not None:
            player = self._player
            add("Play or pause", hotkey="space").on_trigger(lambda _: player.toggle())

    def _show_dials(self) -> None:
        for board in self._boards:
            board.show()

    def _pause(self) -> bool:
        """Stop a track that plays, so that a person can take over; says whether one did."""
        return self._player is not None and self._player.pause()

    def _reset(self) -> None:
        self._pause()
        self._session.pose(lambda _: self._session.rest)
        self._show_dials()
