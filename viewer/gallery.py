"""The browsers: each has its own camera and gets its own pictures of the shared scene."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
import viser

from studio.logs import say
from studio.provenance.seal import Claim, sealed
from viewer.arrivals import Arrivals
from viewer.drawers import Drawers
from viewer.pages import Page, Pages
from viewer.renderer import Image, Picture, RenderWorker, Request
from viewer.session import Session
from viewer.stage import Shot, Stage
from viewer.views import View

_DRAFT_QUALITY, _FULL_QUALITY = 88, 95  # JPEG
_READOUT_SECONDS = 0.25
_REPORT_SECONDS = 10.0
_FIRST_DELAY = 0.06
_DISPLAY_SECONDS = 0.03  # of a browser whose page does not tell: decoding and the next frame of the screen

Path = Callable[[int, float], View]  # frame and shape (width / height) of a window -> what is seen


class Gallery:
    """Keeps every browser's picture up to date.

    Args:
        server: whose clients are served.
        pages: their pages.
        session: the scene.
        stage: draws it.
        size: greatest width or height of a picture in pixels.
        orbit_limits: how near and how far, in metres, a browser may go.
        drawers: the pages that draw by themselves.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        pages: Pages,
        session: Session,
        stage: Stage,
        size: int,
        orbit_limits: tuple[float, float],
        drawers: Drawers,
    ) -> None:
        self._server = server
        self._pages = pages
        self._arrivals: dict[int, Arrivals] = {}
        self._session = session
        self._stage = stage
        self._size = size
        self._orbit_limits = orbit_limits
        self._drawers = drawers
        self._readouts: dict[int, Readout] = {}
        self._paths: dict[int, Path] = {}
        self._presence = threading.Lock()  # nobody leaves between being found present and being served
        self._delays: dict[int, float] = {}  # seconds from a change to its picture on the way, smoothed
        self._reported_at = -_REPORT_SECONDS
        self._worker = RenderWorker(self._report)
        session.on_change(self.redraw)
        pages.on_open(self._meet)
        pages.on_ready(self._try)
        server.on_client_connect(self._welcome)
        server.on_client_disconnect(self._forget)

    def redraw(self) -> None:
        """The scene has changed: new pictures for everybody."""
        for client in self._server.get_clients().values():
            self._ask(client)

    def lead(self, client: viser.ClientHandle, path: Path | None) -> None:
        """Show a browser what a path of cameras sees instead of where it looks itself, or no longer."""
        if path is None:
            self._paths.pop(client.client_id, None)
        else:
            self._paths[client.client_id] = path
        self._ask(client)

    def delay(self, client: viser.ClientHandle) -> float:
        """Seconds, about, from a change of the scene until a browser shows it."""
        arrivals = self._arrivals.get(client.client_id)
        way = _DISPLAY_SECONDS if arrivals is None or self._pages.get(client) is None else arrivals.delay
        return self._delays.get(client.client_id, _FIRST_DELAY) + way

    def shown(self, client: viser.ClientHandle) -> int:
        """How many pictures a browser has shown, as its page says."""
        arrivals = self._arrivals.get(client.client_id)
        return 0 if arrivals is None else arrivals.shown

    def snapshot(self, client: viser.ClientHandle) -> Shot | None:
        """What a browser shows now; None while its window has no area."""
        return self._shot(client)

    def save_picture(self, client: viser.ClientHandle, claim: Claim) -> None:
        """Send a browser its view at full resolution, as a PNG file to save that says what it is."""
        shot = self._shot(client)
        if shot is None:
            return

        def deliver(picture: Picture) -> None:
            assert isinstance(picture.image, np.ndarray)
            _, data = cv2.imencode(".png", cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR))
            name = time.strftime("avatar-%Y%m%d-%H%M%S.png")
            client.send_file_download(name, sealed(data.tobytes(), ".png", claim), save_immediately=True)

        request = Request(lambda scale: self._stage.draw(shot, scale), deliver, draft_first=False)
        self._worker.submit(("picture", client.client_id), request)

    def close(self) -> None:
        self._worker.close()

    def _welcome(self, client: viser.ClientHandle) -> None:
        self._readouts[client.client_id] = Readout(client)
        key = client.client_id
        self._arrivals[key] = Arrivals(lambda full: self._worker.hold(key, held=full))
        client.camera.min_orbit_distance, client.camera.max_orbit_distance = self._orbit_limits
        client.camera.on_update(lambda _: self._ask(client))
        self._ask(client)

    def _meet(self, page: Page) -> None:
        """From now on pictures go to the page itself: viser's way there takes several times as long."""
        arrivals = self._arrivals.get(page.client.client_id)
        if arrivals is not None:
            arrivals.forget()
            page.on_shown = arrivals.show
            page.on_gone = arrivals.forget
            page.client.scene.set_background_image(None)
            self._ask(page.client)

    def _try(self, client: viser.ClientHandle) -> None:
        if self._drawers.invite(client, self._shot(client)):
            self._ask(client)

    def _forget(self, client: viser.ClientHandle) -> None:
        self._drawers.forget(client)
        self._paths.pop(client.client_id, None)
        with self._presence:
            self._readouts.pop(client.client_id, None)
            self._delays.pop(client.client_id, None)
            self._arrivals.pop(client.client_id, None)
            self._worker.cancel(client.client_id)
            self._worker.cancel(("picture", client.client_id))

    def _ask(self, client: viser.ClientHandle) -> None:
        """Ask for a picture of whatever there is when it is drawn, not of what there is now: events may overtake."""
        asked = self._shot(client)
        if asked is None:
            return

        def draw(scale: float) -> Image:
            shot = self._shot(client) or asked
            sketch = self._drawers.sketch(client, shot)
            return self._stage.draw(shot, scale) if sketch is None else (shot, sketch)

        request = Request(draw, lambda picture: self._hang(client, picture))
        with self._presence:
            if client.client_id in self._readouts:
                self._worker.submit(client.client_id, request)

    def _shot(self, client: viser.ClientHandle) -> Shot | None:
        """What a browser shows now; None while its window has no area or its camera no sense."""
        camera = client.camera
        width, height = camera.image_width, camera.image_height
        numbers = (*camera.wxyz, *camera.position, camera.fov)
        if min(width, height) < 1 or not np.isfinite(numbers).all() or not 0.01 < camera.fov < 3.1:
            return None
        path = self._paths.get(client.client_id)
        view = View.of(camera.wxyz, camera.position, camera.fov)
        if path is not None:
            view = path(self._session.scene.frame, width / height)
        scale = min(self._size / max(width, height), 1.0)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        return Shot(self._session.scene, view, *size)

    def _hang(self, client: viser.ClientHandle, picture: Picture) -> None:
        readout = self._readouts.get(client.client_id)
        if readout is None:  # it has left
            return
        quality = _DRAFT_QUALITY if picture.is_draft else _FULL_QUALITY
        page, arrivals = self._pages.get(client), self._arrivals.get(client.client_id)
        if isinstance(picture.image, tuple):
            if page is not None and arrivals is not None:
                self._drawers.send(page, arrivals.sent(), *picture.image, _FULL_QUALITY)
        elif page is None or arrivals is None:
            client.scene.set_background_image(picture.image, format="jpeg", jpeg_quality=quality)
        else:
            page.picture(arrivals.sent(), jpeg(picture.image, quality))
            self._drawers.overpaint(client)
        if picture.is_draft:
            known = self._delays.get(client.client_id, picture.seconds)
            self._delays[client.client_id] = known + 0.1 * (picture.seconds - known)
        readout.count(picture)

    def _report(self, error: Exception) -> None:
        """Tell everybody, but not once for each frame of a track."""
        now = time.monotonic()
        if now - self._reported_at < _REPORT_SECONDS:
            return
        self._reported_at = now
        say(f"the picture could not be drawn: {type(error).__name__}: {error}")
        for client in self._server.get_clients().values():
            client.add_notification("The picture could not be drawn", str(error), color="red", auto_close_seconds=8)


def jpeg(image: np.ndarray, quality: int) -> bytes:
    """An RGB image [H, W, 3] uint8 as a JPEG file."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


class Readout:
    """A line in one browser's panel: size and rate of its pictures."""

    def __init__(self, client: viser.ClientHandle) -> None:
        self._line = client.gui.add_markdown("", order=-1.0)
        self._times: deque[float] = deque(maxlen=120)
        self._written_at = 0.0

    def count(self, picture: Picture) -> None:
        """Take note of a picture that was shown."""
        now = time.monotonic()
        self._times.append(now)
        while now - self._times[0] > 1.0:
            self._times.popleft()
        if picture.is_draft and now - self._written_at < _READOUT_SECONDS:
            return
        self._written_at = now
        self._line.content = self._text(picture)

    def _text(self, picture: Picture) -> str:
        if isinstance(picture.image, tuple):
            return f"drawn in the browser · {len(self._times)} pictures/s"
        height, width = picture.image.shape[:2]
        rate = f"{len(self._times)} pictures/s" if picture.is_draft else f"drawn in {picture.seconds * 1000:.0f} ms"
        return f"{width} × {height} px · {rate}"
