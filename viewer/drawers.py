"""Pages that draw the avatar's Gaussians themselves: those that are faster at it than the viewer."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Literal

import viser

from recon.avatars.splats import SplatAvatar
from reenact.web.pack import pack
from studio.logs import say
from viewer.gate import SPLATS
from viewer.pages import Page, Pages
from viewer.server import LocalServer
from viewer.stage import Shot, Sketch, Stage

_TRIES = 3
_PATIENCE = 60.0  # of a page that loads the avatar and tries
How = Literal["auto", "browser", "server"]


class Drawers:
    """Knows which pages draw, and tells them what.

    Args:
        server: serves the packed avatar.
        pages: that may draw.
        stage: whose avatar is drawn.
        how: "browser" for every page that can, "server" for none, "auto" for those that took less time than the stage.

    Attributes:
        trials: (milliseconds of the page, of the stage) by browser; the page's is None where WebGL is software.
    """

    def __init__(self, server: LocalServer, pages: Pages, stage: Stage, how: How) -> None:
        self._server, self._pages, self._stage, self._how = server, pages, stage, how
        self._packed: SplatAvatar | None = None
        self._behind: dict[int, Any] = {}  # of drawing pages: what lies beneath, see ``Sketch.key``
        self._lock = threading.Lock()
        self.trials: dict[int, tuple[float | None, float]] = {}

    def invite(self, client: viser.ClientHandle, shot: Shot | None) -> bool:
        """Let a page try; waits for it. Says whether it draws from now on."""
        page, avatar = self._pages.get(client), self._stage.avatar
        if self._how == "server" or page is None or shot is None or not isinstance(avatar, SplatAvatar):
            return False
        with self._lock:
            if self._packed is not avatar:
                self._server.gate.splats = packed(avatar)
                self._packed = avatar
        sketch = self._stage.sketch(shot)
        if sketch is None:
            return False
        told = page.ask("trial", _PATIENCE, url=SPLATS, force=self._how == "browser", **_order(shot, sketch))
        if not isinstance(told, dict):
            return False
        theirs = float(told["ms"]) if isinstance(told.get("ms"), int | float) else None
        ours = self._own_time(shot)
        self.trials[client.client_id] = theirs, ours
        draws = self._how == "browser" or (theirs is not None and theirs < ours)
        if draws and theirs is not None:
            self._behind[client.client_id] = None
            say(f"a browser draws by itself: {theirs:.0f} ms a picture, here it is {ours:.0f}")
        return client.client_id in self._behind

    def sketch(self, client: viser.ClientHandle, shot: Shot) -> Sketch | None:
        """How a page draws a shot; None where the stage has to."""
        if client.client_id not in self._behind or self._stage.avatar is not self._packed:
            return None
        return self._stage.sketch(shot)

    def send(self, page: Page, number: int, shot: Shot, sketch: Sketch, quality: int) -> None:
        """Let a page draw, over what lies beneath."""
        from viewer.gallery import jpeg

        key = page.client.client_id
        if self._behind.get(key) != sketch.key:
            self._behind[key] = sketch.key
            page.picture(number, jpeg(sketch.behind(), quality), beneath=True)
        page.order("draw", number=number, **_order(shot, sketch))

    def overpaint(self, client: viser.ClientHandle) -> None:
        """A page was sent a whole picture: what lay beneath is gone."""
        if client.client_id in self._behind:
            self._behind[client.client_id] = None

    def forget(self, client: viser.ClientHandle) -> None:
        """A browser has gone."""
        self._behind.pop(client.client_id, None)
        self.trials.pop(client.client_id, None)

    def _own_time(self, shot: Shot) -> float:
        """Milliseconds that the stage takes."""
        taken = []
        for _ in range(_TRIES):
            began = time.monotonic()
            self._stage.draw(shot)
            taken.append((time.monotonic() - began) * 1e3)
        return min(taken)


def packed(avatar: SplatAvatar) -> bytes:
    """The avatar for ``splats.js``: length of the header, the header, the arrays on a multiple of 4 bytes."""
    block, numbers = pack(avatar)
    header = json.dumps({**numbers, "arrays": block.table}).encode()
    header += b" " * (-len(header) % 4)
    return len(header).to_bytes(4, "little") + header + bytes(block.data)


def _order(shot: Shot, sketch: Sketch) -> dict[str, Any]:
    codes, camera = shot.scene.codes, sketch.camera
    K = camera.Ks[0].tolist()
    return {
        "codes": codes.vector().tolist(),
        "head": codes.head_to_world.flatten().tolist(),
        "view": camera.viewmats[0].flatten().tolist(),
        "lens": [K[0][0], K[1][1], K[0][2], K[1][2]],
        "width": camera.width,
        "height": camera.height,
        "corner": sketch.corner,
        "window": [shot.width, shot.height],
    }
