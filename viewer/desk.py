"""What a panel gets to work with, and what it must be to be found.

A panel is a module in ``viewer/panels`` with a ``TAB``; nothing else needs to know of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import viser

from studio.avatar import Avatar
from studio.errors import StudioError
from studio.logs import say
from viewer.control import Control
from viewer.gallery import Gallery
from viewer.pages import Pages
from viewer.server import LocalServer
from viewer.session import Session
from viewer.stage import Stage
from viewer.subject import Subject
from viewer.transport import Transport
from viewer.views import Viewpoints

Client = viser.ClientHandle | None
Action = Callable[[Client], object]


@dataclass(frozen=True)
class Shortcut:
    """A key and what it does, for the help."""

    key: str
    label: str


@dataclass
class Desk:
    """Everything a panel may use.

    Args:
        server: where controls are added, in the container that is open.
        session: the scene on show.
        subject: what was opened.
        stage: draws pictures.
        gallery: the browsers' pictures.
        viewpoints: places to look from.
        transport: plays tracks.
        pages: the browsers' pages.
        folder: the project's folder: nothing outside of it is read or written for a browser.
        control: who may move things.
    """

    server: LocalServer
    session: Session
    subject: Subject
    stage: Stage
    gallery: Gallery
    viewpoints: Viewpoints
    transport: Transport
    pages: Pages
    folder: Path
    control: Control
    shortcuts: list[Shortcut] = field(default_factory=list)
    closers: list[Callable[[], object]] = field(default_factory=list)
    services: dict[str, Any] = field(default_factory=dict)

    @property
    def avatar(self) -> Avatar:
        return self.stage.avatar

    @property
    def gui(self) -> viser.GuiApi:
        return self.server.gui

    def command(
        self, label: str, hotkey: str, action: Action, shown: str | None = None, *, is_free: bool = False
    ) -> None:
        """A key for something; it also stands in the browser's command palette and in the help.

        ``is_free``: also for browsers that only watch, see ``viewer.control``.
        """
        key: Any = hotkey
        handle = self.gui.add_command(label, hotkey=key)
        handle.on_trigger(lambda event: self.attempt(action, event.client))
        if is_free:
            self.control.free(handle)
        self.shortcuts.append(Shortcut(shown or hotkey, label))

    def click(self, button: Any, action: Action, *, is_free: bool = False) -> None:
        """What a button does; ``is_free`` as of ``command``."""
        if is_free:
            self.control.free(button)
        button.on_click(lambda event: self.attempt(action, event.client))

    def attempt(self, action: Action, client: Client) -> None:
        """Do something for a browser; tell it what went wrong."""
        try:
            action(client)
        except StudioError as error:
            self.notify(client, "That did not work", str(error), "red")
        except Exception as error:
            self.notify(client, "That did not work", f"{type(error).__name__}: {error}", "red")
            say(f"viewer: {type(error).__name__}: {error}")

    def notify(self, client: Client, title: str, text: str, color: Any = None) -> None:
        """A note in one browser, or in all."""
        told = self.server.get_clients().values() if client is None else [client]
        for one in told:
            one.add_notification(title, text, color=color, auto_close_seconds=8)

    def inside(self, text: str) -> Path:
        """A path that a browser sent, below the project's folder.

        Raises:
            StudioError: it is outside of it, or no path at all.
        """
        try:
            path = (self.folder / text.strip()).resolve()
        except (OSError, ValueError, RuntimeError):
            path = Path("/")
        if not text.strip() or "\0" in text or not path.is_relative_to(self.folder.resolve()):
            raise StudioError(
                "the viewer stays inside of the project's folder",
                got=text[:120],
                expected=f"a path below {self.folder.resolve()}",
                next="start studio view with project=<another folder>",
            )
        return path

    def on_close(self, closer: Callable[[], object]) -> None:
        """Call it when the viewer ends."""
        self.closers.append(closer)


@dataclass(frozen=True)
class Tab:
    """A panel.

    Args:
        label: of its tab.
        order: lower comes first.
        build: adds the controls in the container that is open.
        wanted: whether it has anything to offer.
    """

    label: str
    order: int
    build: Callable[[Desk], object]
    wanted: Callable[[Desk], bool] = lambda desk: True


def found_tabs() -> Sequence[Tab]:
    """The tabs of all panels that are there, in their order."""
    names = sorted(path.stem for path in (Path(__file__).parent / "panels").glob("[!_]*.py"))
    modules = [import_module(f"viewer.panels.{name}") for name in names]
    return sorted((module.TAB for module in modules if hasattr(module, "TAB")), key=lambda tab: tab.order)


def build_tabs(desk: Desk) -> None:
    """Add all tabs that have anything to offer. A panel that fails says so and leaves the others alone."""
    tabs = desk.gui.add_tab_group()
    for tab in found_tabs():
        if not tab.wanted(desk):
            continue
        with tabs.add_tab(tab.label):
            try:
                tab.build(desk)
            except Exception as error:
                print(f"viewer: the panel {tab.label} failed: {type(error).__name__}: {error}", file=sys.stderr)
                desk.gui.add_markdown(f"This panel could not be made: {error}")
