"""Starting the viewer: a browser loads the page while what it shows is being opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from studio.logs import say
from viewer.server import address, open_server
from viewer.settings import ViewerConfig

if TYPE_CHECKING:
    from viewer.subject import Subject

_TITLE = "Head avatar"
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PREVIEW = 2_000_000  # bytes


def start(opener: Callable[[], Subject], config: ViewerConfig, avatar: Path | None = None) -> None:
    """Serve what ``opener`` opens, in the browser or in a window, until Ctrl-C.

    Args:
        opener: takes seconds.
        config: how it is served.
        avatar: folder whose picture is shown meanwhile.

    Raises:
        StudioError: it cannot be opened, the port is taken, or there is no window.
    """
    server = open_server(config.host, config.port, _TITLE)
    server.gate.poster = b"" if avatar is None else _preview(avatar)
    try:
        url = address(config.host, server.get_port(), server.gate.token)
        say(f"the viewer runs at {url} (Ctrl-C ends it)")
        note = server.gui.add_markdown("Opening …")
        from viewer.app import Viewer  # loads what takes longest, while the browser loads the page

        with Viewer(opener(), None, config, server) as viewer:
            note.remove()
            server.gate.poster = b""
            if config.window:
                from viewer.window import show_window

                show_window(viewer.url)
            else:
                threading.Event().wait()
    except KeyboardInterrupt:
        say("viewer ended")
    finally:
        server.stop()


def _preview(avatar: Path) -> bytes:
    """The picture that an avatar's folder brings, a PNG file; empty where there is none of a sensible size."""
    try:
        with (avatar / "preview.png").open("rb") as file:
            data = file.read(_MOST_PREVIEW + 1)
    except OSError:
        return b""
    return data if data.startswith(_PNG) and len(data) <= _MOST_PREVIEW else b""
