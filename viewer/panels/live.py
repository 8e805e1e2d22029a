"""The tab that drives live: this browser's camera or microphone, a camera of the viewer's machine, Live Link Face."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import viser
from PIL import Image

from reenact.live_sources import LiveCodes, live_codes, seen_codes, spoken_codes
from studio.codes import ARKIT52, Codes
from studio.errors import StudioError
from viewer.desk import Client, Desk, Tab
from viewer.pages import SIGHT, SOUND, Page

_OWN_CAMERA, _MICROPHONE = "Camera of this browser", "Microphone of this browser"
_SOURCES = {
    _OWN_CAMERA: "own camera",
    _MICROPHONE: "microphone",
    "Live Link Face (UDP 11111)": "udp",
    "Camera of the viewer's machine": "camera",
    "Its second camera": "camera:1",
}
_POLL_SECONDS = 0.02
_FOLLOW_SECONDS = 0.15
_FPS = 25.0  # of a browser's camera
_MOST_PIXELS = 1920 * 1080  # of its pictures
_SILENT_SECONDS = 10.0
_NO_FACE = "No face in the picture: come closer, or into the light."
_LINK_SECONDS = 2.0  # less than `stop` waits for


class LivePanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        gui = desk.gui
        self._sources = dict(_SOURCES)
        driver = desk.subject.driver
        given = next((label for label, source in self._sources.items() if source == driver), driver or _OWN_CAMERA)
        self._sources.setdefault(given, driver)
        self._source = gui.add_dropdown("Source", tuple(self._sources), initial_value=given)
        self._button = gui.add_button("Start", icon=viser.Icon.BROADCAST)
        self._state = gui.add_markdown("The face follows as long as it runs; a slider or Play ends it.")
        desk.click(self._button, self._toggle)
        desk.session.add_mover(self.stop)
        desk.on_close(self.stop)
        if desk.subject.driver:
            self._start(desk.subject.driver, None)

    def stop(self) -> bool:
        """End it; says whether it was running."""
        thread = self._thread
        was_running = thread is not None and thread.is_alive() and not self._stop.is_set()
        self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=3.0)
        return was_running

    def _toggle(self, client: Client) -> None:
        if self._thread is not None and self._thread.is_alive():
            self.stop()
        else:
            self._start(self._sources[self._source.value], client)

    def _start(self, source: str, client: Client) -> None:
        self.stop()
        self._desk.session.take_over(but=self.stop)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(source, client, self._stop), name="viewer-live", daemon=True
        )
        self._button.label, self._state.content = "Stop", "Waiting for the first signal …"
        self._thread.start()

    def _run(self, source: str, client: Client, stop: threading.Event) -> None:
        told, count, began, followed = "Ended.", 0, time.monotonic(), 0.0
        try:
            for state in self._states(source, client, stop):
                if stop.is_set():
                    break
                self._desk.session.pose(partial(_replaced, state.codes))
                count, now = count + 1, time.monotonic()
                if now - followed > _FOLLOW_SECONDS:
                    followed = now
                    self._desk.session.follow()
                    rate = count / max(now - began, 1e-3)
                    note = "" if state.settled else " · learning who it is"
                    self._state.content = f"Live · {rate:.0f} states/s{note}"
        except StudioError as error:
            told = f"⚠ {error}"
        except Exception as error:  # a device of somebody's must not end the viewer
            told = f"⚠ {type(error).__name__}: {error}"
        finally:
            self._button.label, self._state.content = "Start", told
            self._desk.session.follow()

    def _states(self, source: str, client: Client, stop: threading.Event) -> Iterator[LiveCodes]:
        avatar: Any = self._desk.avatar
        if source.partition(":")[0] == "udp":
            return self._linked(source, stop)
        if source not in ("microphone", "own camera"):
            return live_codes(source, avatar, keep_looking=partial(self._keep_looking, stop))
        page = None if client is None else self._desk.pages.get(client)
        if client is None or page is None:
            raise StudioError("a browser's camera and microphone are its own", next="start it from a page")
        if source == "microphone":
            return spoken_codes(map(samples_of, self._received(client, page, SOUND, "microphone", stop)), avatar)
        pictures = self._seen(client, page, stop)
        return seen_codes(pictures, avatar, _FPS, keep_looking=partial(self._keep_looking, stop))

    def _keep_looking(self, stop: threading.Event) -> bool:
        if not stop.is_set() and self._state.content != _NO_FACE:
            self._state.content = _NO_FACE
        return not stop.is_set()

    def _linked(self, source: str, stop: threading.Event) -> Iterator[LiveCodes]:
        """States of Live Link Face, which may begin late and pause: it is listened to until told otherwise."""
        avatar: Any = self._desk.avatar
        while not stop.is_set():
            yield from live_codes(source, avatar, patience=_LINK_SECONDS)
            if not stop.is_set():
                self._state.content = "Nothing arrives: in Live Link Face, enter this machine's address. Waiting …"

    def _seen(self, client: viser.ClientHandle, page: Page, stop: threading.Event) -> Iterator[tuple[int, np.ndarray]]:
        """Numbers at ``_FPS`` and pictures of a page's camera."""
        began, last = time.monotonic(), -1
        for data in self._received(client, page, SIGHT, "camera", stop):
            number, picture = int((time.monotonic() - began) * _FPS), picture_of(data)
            if picture is not None and number > last:
                last = number
                yield number, picture

    def _received(
        self, client: viser.ClientHandle, page: Page, kind: int, device: str, stop: threading.Event
    ) -> Iterator[bytes]:
        """What a page's device sends until told otherwise, or it is silent for long, or the page leaves."""
        last = time.monotonic()
        page.received(kind)  # of an earlier time
        page.order(device, on=True)
        try:
            while not stop.is_set() and self._desk.pages.get(client) is page:
                for data in page.received(kind):
                    last = time.monotonic()
                    yield data
                if device in page.refused or time.monotonic() - last > _SILENT_SECONDS:
                    raise StudioError(
                        f"the browser sends nothing of its {device}", next=f"let this page use the {device}"
                    )
                time.sleep(_POLL_SECONDS)
        finally:
            page.order(device, on=False)


def _replaced(codes: Codes, _: Codes) -> Codes:
    return codes


def samples_of(data: bytes) -> np.ndarray:
    """[N] float32 -1..1 of 16-bit samples."""
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768


def picture_of(data: bytes) -> np.ndarray | None:
    """[H, W, 3] uint8 of a JPEG that a page sent; None where it is none, or larger than asked for."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if not 0 < image.width * image.height <= _MOST_PIXELS:
                return None
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except (OSError, ValueError, cv2.error):
        return None


TAB = Tab("Live", 70, LivePanel, lambda desk: desk.avatar.space.hash == ARKIT52.hash)
