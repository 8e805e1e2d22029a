"""The tab that drives live: this browser's microphone, a camera of the viewer's machine, Live Link Face."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import viser

from reenact.live_sources import LiveCodes, live_codes, spoken_codes
from studio.codes import ARKIT52, Codes
from studio.errors import StudioError
from viewer.desk import Client, Desk, Tab

_MICROPHONE = "Microphone of this browser"
_SOURCES = {"Live Link Face (UDP 11111)": "udp", "Camera": "camera", "Second camera": "camera:1"}
_POLL_SECONDS = 0.04
_FOLLOW_SECONDS = 0.15
_MOST_BYTES = 200_000  # of sound in one answer: six seconds
_SILENT_SECONDS = 10.0
_LINK_SECONDS = 2.0  # less than `stop` waits for


class LivePanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        gui = desk.gui
        self._sources = {_MICROPHONE: "microphone", **_SOURCES}
        driver = desk.subject.driver
        given = next((label for label, source in self._sources.items() if source == driver), driver or _MICROPHONE)
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
        if source != "microphone":
            return live_codes(source, avatar)
        if client is None:
            raise StudioError("a microphone belongs to a browser", next="start it from a page")
        return spoken_codes(self._heard(client, stop), avatar)

    def _linked(self, source: str, stop: threading.Event) -> Iterator[LiveCodes]:
        """States of Live Link Face, which may begin late and pause: it is listened to until told otherwise."""
        avatar: Any = self._desk.avatar
        while not stop.is_set():
            yield from live_codes(source, avatar, patience=_LINK_SECONDS)
            if not stop.is_set():
                self._state.content = "Nothing arrives: in Live Link Face, enter this machine's address. Waiting …"

    def _heard(self, client: viser.ClientHandle, stop: threading.Event) -> Iterator[np.ndarray]:
        """Blocks of sound, 16 kHz, from a page's microphone until told otherwise or it is silent for long."""
        pages, last = self._desk.pages, time.monotonic()
        pages.order(client, "microphone", on=True)
        try:
            while not stop.is_set() and client.client_id in self._desk.server.get_clients():
                samples = samples_of(pages.ask(client, "microphone"))
                if len(samples):
                    last = time.monotonic()
                    yield samples
                elif time.monotonic() - last > _SILENT_SECONDS:
                    raise StudioError("the browser sends no sound", next="let this page use the microphone")
                time.sleep(_POLL_SECONDS)
        finally:
            pages.order(client, "microphone", on=False)


def _replaced(codes: Codes, _: Codes) -> Codes:
    return codes


def samples_of(told: object) -> np.ndarray:
    """[N] float32 -1..1 of what a page heard: base64 of 16-bit samples; nothing for anything else."""
    if not isinstance(told, str) or len(told) > _MOST_BYTES:
        return np.zeros(0, np.float32)
    try:
        data = base64.b64decode(told, validate=True)
    except (binascii.Error, ValueError):
        return np.zeros(0, np.float32)
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768


TAB = Tab("Live", 70, LivePanel, lambda desk: desk.avatar.space.hash == ARKIT52.hash)
