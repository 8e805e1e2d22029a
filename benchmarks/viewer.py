"""The viewer in a real browser (Chromium without a screen, WebGL by software): start, rates, delays, sound, crowds.

    python -m benchmarks.viewer feel runs/anna/avatar track=captures/anna/talk/tracks/fitted [--size 512] [--minute 60]
    python -m benchmarks.viewer crowd runs/anna/avatar [--clients 10] [--seconds 600]

``feel``: seconds from the command to the stored picture of a head and to the first drawn one; pictures a second that
the page has shown while it is orbited and while a track plays; processor time a picture, in the viewer and in the
browser; milliseconds from a key on a slider to the picture; seconds until a view at rest is the full picture; sound
against the frame on show (median and 95th percentile of the absolute difference). A picture counts as shown with the
frame of the screen that shows it.
``crowd``: clients that look, turn, leave in the middle of a picture, shrink to nothing and send garbage; errors, and
memory after a sixth of the time and at the end.
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import print_table
from studio.media.audio import Audio
from viewer.app import Viewer
from viewer.chromium import StudioPage, browser
from viewer.opening import Request, open_subject
from viewer.pages import Page
from viewer.settings import ViewerConfig
from viewer.transport import Reel

_WINDOW_MORE = 360  # pixels of the window that the panel takes
_TRIES = 12


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("feel", "crowd"))
    parser.add_argument("avatar", type=Path)
    parser.add_argument("track", nargs="?", default="", help="track=folder")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--minute", type=float, default=60.0, help="seconds of sound")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=600.0)
    arguments = parser.parse_args()
    track = Path(arguments.track.removeprefix("track=")) if arguments.track else None
    if arguments.what == "crowd":
        print_table([crowd(arguments.avatar, arguments.clients, arguments.seconds)])
        return
    stored, drawn = first_pictures(arguments.avatar, arguments.size)
    row: dict[str, object] = {"stored picture s": stored, "drawn picture s": drawn}
    print_table([row | feel(arguments.avatar, track, arguments.size, arguments.minute)])


def first_pictures(avatar: Path, size: int) -> tuple[float, float]:
    """Seconds from the command to a head in its page: the stored picture of the avatar, and one that was drawn."""
    with browser() as chromium, tempfile.TemporaryFile("w+") as said:
        chromium.new_page().close()  # the browser itself is running already, as a user's is
        began = time.monotonic()
        command = [sys.executable, "-m", "studio.cli.main", "view", f"avatar={avatar.resolve()}", f"size={size}"]
        process = subprocess.Popen([*command, "port=0"], stderr=said)
        try:
            url = ""
            while not url:
                assert process.poll() is None, "the viewer ended"
                time.sleep(0.01)
                said.seek(0)
                url = next((word for word in said.read().split() if word.startswith("http://")), "")
            with StudioPage(chromium, url, (size + _WINDOW_MORE, size)) as page:
                page.wait(page.sees_head, 60, every=0.02)
                stored = time.monotonic() - began
                page.wait(lambda: page.page.query_selector("#studio-picture") is not None, 60, every=0.02)
                return stored, time.monotonic() - began
        finally:
            process.terminate()
            process.wait()


def feel(avatar: Path, track: Path | None, size: int, minute: float) -> dict[str, object]:
    """Rates and delays of one browser."""
    subject = open_subject(Request(avatar=avatar, track=track))
    with (
        Viewer(subject, None, ViewerConfig(port=0, size=size)) as viewer,
        browser() as chromium,
        StudioPage(chromium, viewer.url, (size + _WINDOW_MORE, size)) as page,
    ):
        page.wait(page.sees_head, 60)
        page.key("f")
        desk = viewer._desk
        (client,) = desk.server.get_clients().values()
        page.wait(lambda: desk.pages.clock(client) is not None)
        told = desk.pages.get(client)
        assert told is not None
        shown = _Shown(viewer, told)
        effort = _Effort(shown)
        row: dict[str, object] = {"orbiting pictures/s": _orbit(page, shown, seconds=6.0)}
        row |= effort.told("orbit")
        row["full after s"] = _rest(page)
        row["slider ms"] = _slider(page, shown)
        if subject.reel is not None:
            row |= _played(viewer, page, shown, subject.reel, client, minute)
        return row


class _Shown:
    """When the page has shown which picture, and what frame was on it."""

    def __init__(self, viewer: Viewer, page: Page) -> None:
        self.frames: dict[int, int] = {}  # of each picture by its number
        self.numbers: list[int] = []  # of the pictures that were shown, in the order of showing
        self.times: list[float] = []  # when each was shown
        draw, send, tell = viewer._desk.stage.draw, page.picture, page.on_shown
        last = 0

        def drawn(shot: Any, scale: float = 1.0) -> np.ndarray:
            nonlocal last
            last = shot.scene.frame
            return draw(shot, scale)

        def sent(number: int, jpeg: bytes) -> None:
            self.frames[number] = last
            send(number, jpeg)

        def shown(number: int) -> None:
            if number in self.frames:
                self.numbers.append(number)
                self.times.append(time.monotonic())
            tell(number)

        viewer._desk.stage.draw = drawn  # type: ignore[method-assign]
        page.picture = sent  # type: ignore[method-assign]
        page.on_shown = shown

    def rate(self, since: float) -> float:
        """Pictures a second that were shown since a moment."""
        return sum(moment > since for moment in self.times) / (time.monotonic() - since)

    def frame_at(self, moment: float) -> int | None:
        """The frame that was on at a moment."""
        index = int(np.searchsorted(self.times, moment)) - 1
        return self.frames[self.numbers[index]] if index >= 0 else None


class _Effort:
    """Milliseconds of processor time that pictures take, here and in the browser, since here."""

    def __init__(self, shown: _Shown) -> None:
        self._shown, self._count, self._before = shown, len(shown.times), _spent()

    def told(self, name: str) -> dict[str, object]:
        count = max(len(self._shown.times) - self._count, 1)
        here, there = ((now - then) / count for now, then in zip(_spent(), self._before, strict=True))
        return {f"{name}: ms here": here, f"{name}: in the browser": there}


def _spent() -> tuple[float, float]:
    """Milliseconds of processor time so far of this process, without what drives the browser, and of the browser."""
    here = (time.process_time() - time.thread_time()) * 1e3
    family, there = {os.getpid()}, 0.0
    found = sorted(int(path.name) for path in Path("/proc").glob("[0-9]*"))
    for number in found:
        with suppress(OSError, ValueError):
            fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) in family:
                family.add(number)
                is_browser = b"--type=" in Path(f"/proc/{number}/cmdline").read_bytes()
                there += (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK") if is_browser else 0.0
    return here, there


def _orbit(page: StudioPage, shown: _Shown, seconds: float) -> float:
    box = page.page.locator("canvas[data-engine]").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        angle = 2.0 * (time.monotonic() - began)
        page.page.mouse.move(x + 90 * np.sin(angle), y + 30 * np.cos(angle))
    rate = shown.rate(began)
    page.page.mouse.up()
    return rate


def _rest(page: StudioPage) -> float:
    """Seconds from the end of a movement to the full picture."""
    return page.wait(lambda: "drawn in" in page.text(), 60, every=0.02)


def _slider(page: StudioPage, shown: _Shown) -> float:
    """Median milliseconds from a key on a slider to a picture that was drawn after it."""
    page.tab("Face")
    thumb = page.row("Open").get_by_role("slider").first
    thumb.scroll_into_view_if_needed()
    delays = []
    for _ in range(_TRIES):
        page.page.wait_for_timeout(1200)
        before, began = len(shown.times), time.monotonic()
        thumb.press("ArrowRight")
        page.wait(lambda before=before: len(shown.times) > before, every=0.002)  # type: ignore[misc]
        delays.append(1e3 * (shown.times[before] - began))
    return float(np.median(delays))


def _played(
    viewer: Viewer, page: StudioPage, shown: _Shown, reel: Reel, client: Any, minute: float
) -> dict[str, object]:
    """Rate while a track plays, and its sound against the frame on show."""
    desk, fps = viewer._desk, reel.track.fps
    if reel.audio is None:
        silence = np.zeros((round(16000 * len(reel.track) / fps), 1), np.float32)
        reel = Reel(reel.track, Audio(silence, 16000), reel.name)
    desk.transport.load(reel)
    length = len(reel.track) / fps
    page.tab("Play")
    desk.transport.toggle()
    page.page.wait_for_timeout(3000)
    effort = _Effort(shown)
    began, errors = time.monotonic(), []
    while time.monotonic() - began < minute:
        page.page.wait_for_timeout(250)
        told, clock = desk.pages.ask(client, "sound"), desk.pages.clock(client)
        if not told or not told["playing"] or clock is None:
            errors.append(np.nan)
            continue
        moment = (told["now"] - clock.offset) / 1000
        frame = shown.frame_at(moment)
        if frame is not None:
            difference = told["time"] - (frame + 0.5) / fps
            errors.append((difference + length / 2) % length - length / 2)
    rate = shown.rate(began)
    desk.transport.pause()
    heard = np.abs(np.array(errors)[~np.isnan(errors)]) * 1e3
    return {
        "playing pictures/s": rate,
        **effort.told("play"),
        "sound off by ms": float(np.median(heard)) if len(heard) else np.nan,
        "95 %": float(np.quantile(heard, 0.95)) if len(heard) else np.nan,
        "silent %": 100 * float(np.isnan(errors).mean()),
    }


def crowd(avatar: Path, clients: int, seconds: float) -> dict[str, object]:
    """Many clients at once, most of them rude."""
    with Viewer(open_subject(Request(avatar=avatar)), None, ViewerConfig(port=0, size=256)) as viewer:
        end, failures, pictures = time.monotonic() + seconds, list[str](), [0] * clients

        def visit(number: int) -> None:
            chance = random.Random(number)
            try:
                while time.monotonic() < end:
                    pictures[number] += rude_visit(viewer, chance, min(end, time.monotonic() + chance.uniform(2, 20)))
            except Exception as error:  # counted, and told in the table
                failures.append(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 6)
        early = _resident_megabytes()
        for thread in threads:
            thread.join()
        return {
            "clients": clients,
            "s": seconds,
            "pictures": sum(pictures),
            "failures": len(failures),
            "first": failures[0][:80] if failures else "-",
            "MB after a sixth": early,
            "MB at the end": _resident_megabytes(),
        }


def rude_visit(viewer: Viewer, chance: random.Random, until: float) -> int:
    """One client: looks, turns, shrinks to nothing, sends garbage, leaves in the middle; how many pictures it got."""
    from websockets.exceptions import ConnectionClosed

    from tests.viewer.browser import Browser

    points = viewer._desk.viewpoints
    sizes = ((0, 0), (1, 1), (64, 48), (200, 150), (256, 256))
    with Browser(viewer.url) as page:
        page.look(points.front, points.front_fov, 128, 128)
        page.wait(lambda: page.pictures > 0, 60)
        with suppress(ConnectionClosed):  # garbage may end the connection of who sends it
            while time.monotonic() < until:
                page.look(chance.choice((points.front, points.capture)), points.front_fov, *chance.choice(sizes))
                page.turn("jawOpen", chance.choice((0.0, 0.5, 1.0, 1e9, float("nan"))))
                if chance.random() < 0.1:
                    page.look(points.front, float("nan"), 64, 64)
                if chance.random() < 0.05:
                    page.send_garbage(bytes(chance.randrange(256) for _ in range(chance.randrange(200))))
                pause = time.monotonic() + 0.1
                page.wait(lambda pause=pause: time.monotonic() > pause)  # type: ignore[misc]
    return page.pictures


def _resident_megabytes() -> float:
    for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()
