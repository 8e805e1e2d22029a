"""How the viewer is served; apart from the viewer, whose libraries take a second to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.errors import StudioError


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
        drawn_by: who draws an avatar of Gaussians: each browser that is faster at it, every browser, or the viewer.
        window: show it in a window of its own instead of a browser.
    """

    port: int | None = None
    host: str = "127.0.0.1"
    size: int = 1080
    backdrop: tuple[int, int, int] = (104, 108, 116)
    dark: bool = True
    folder: Path = Path()
    drawn_by: Literal["auto", "browser", "server"] = "auto"
    window: bool = False

    def __post_init__(self) -> None:
        if self.size < 64:
            raise StudioError("the viewer's size is too small", got=self.size, expected="at least 64 pixels")
        if self.drawn_by not in ("auto", "browser", "server"):
            raise StudioError("no such way to draw splats", got=self.drawn_by, expected="auto | browser | server")
        if not all(0 <= level <= 255 for level in self.backdrop):
            raise StudioError("the viewer's backdrop is no colour", got=self.backdrop, expected="three levels 0..255")
