"""A real browser without a screen, for screenshots, benchmarks and tests: the system's Chromium, through Playwright."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from studio.errors import StudioError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-angle=swiftshader-webgl",  # as on a machine without a GPU: only WebGL is drawn by SwiftShader
    "--enable-unsafe-swiftshader",
)

_PATIENCE_SECONDS = 120
_SAME = 3  # pictures in a row that must be equal to count as settled


def why_no_browser() -> str | None:
    """Why pages cannot be opened here; None where they can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed (pip install playwright)"
    return None if find_chromium() else "no Chromium is installed (apt install chromium), nor named in STUDIO_CHROMIUM"


def find_chromium() -> str | None:
    """The browser's program: ``STUDIO_CHROMIUM``, or the first that is installed."""
    named = os.environ.get("STUDIO_CHROMIUM")
    return named or next((found for name in _NAMES if (found := shutil.which(name))), None)


@contextmanager
def browser(*arguments: str) -> Iterator[Any]:
    """A running browser of Playwright's, with further arguments of its command line.

    Raises:
        StudioError: there is none.
    """
    reason = why_no_browser()
    if reason is not None:
        raise StudioError("no browser to look with", got=reason, expected="playwright and a system Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=[*_ARGUMENTS, *arguments])
        try:
            yield chromium
        finally:
            chromium.close()


class StudioPage:
    """A page with the viewer in it, used as a person would.

    Args:
        browser: of ``browser``.
        url: of the viewer.
        size: width and height of the window.

    Attributes:
        page: Playwright's.
        errors: what the page's own scripts raised.
    """

    def __init__(self, browser: Any, url: str, size: tuple[int, int] = (1280, 720), **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **options)
        self.page.set_default_timeout(_PATIENCE_SECONDS * 1000)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)

    def close(self) -> None:
        self.page.close()

    def __enter__(self) -> StudioPage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0, every: float = 0.1) -> float:
        """Until something is true; returns the seconds it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise AssertionError("it did not happen in time")
            self.page.wait_for_timeout(every * 1000)
        return time.monotonic() - began

    def tab(self, label: str) -> None:
        """Open a tab of the panel."""
        self.page.get_by_role("tab", name=label, exact=True).click()

    def key(self, name: str) -> None:
        """Press a key over the picture."""
        self.page.evaluate("document.activeElement && document.activeElement.blur()")
        self.page.keyboard.press(name)

    def row(self, label: str) -> Any:
        """The line of a control, by its label, where it is on show."""
        labels = self.page.locator(f'label:text-is("{label}"):visible').first
        return labels.locator("xpath=ancestor::div[contains(@class,'mantine-Flex-root')][1]")

    def type_number(self, label: str, value: float) -> None:
        """Give a slider a value by its number field."""
        field = self.row(label).locator("input[type=text]").first
        field.fill(f"{value:g}")
        field.press("Enter")
        field.press("Tab")

    def drag(self, label: str, share: float) -> None:
        """Drag a slider to a share of its way."""
        box = self.row(label).locator(".mantine-Slider-root").first.bounding_box()
        thumb = self.row(label).get_by_role("slider").first.bounding_box()
        assert box is not None
        assert thumb is not None
        mouse, y = self.page.mouse, thumb["y"] + thumb["height"] / 2
        mouse.move(thumb["x"] + thumb["width"] / 2, y)
        mouse.down()
        mouse.move(box["x"] + box["width"] * share, y, steps=6)
        mouse.up()

    def number(self, label: str) -> float:
        """What a slider's number field says."""
        return float(self.row(label).locator("input[type=text]").first.input_value())

    def press(self, label: str) -> None:
        """Click a button by its label."""
        self.page.get_by_role("button", name=label, exact=True).locator("visible=true").first.click()

    def tick(self, label: str) -> None:
        """Click a checkbox by its label."""
        self.row(label).locator("input[type=checkbox]").first.click()

    def choose(self, label: str, option: str) -> None:
        """Pick from a list by its label."""
        self.row(label).locator("input").first.click()
        self.page.get_by_role("option", name=option, exact=True).locator("visible=true").first.click()

    def text(self) -> str:
        """All that can be read."""
        return str(self.page.locator("body").inner_text())

    def screenshot(self) -> np.ndarray:
        """[H, W, 3] RGB: the whole window."""
        data = np.frombuffer(self.page.screenshot(), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))

    def picture(self) -> np.ndarray:
        """[H, W, 3] RGB: the part of the window with the avatar."""
        box = self.page.locator("canvas[data-engine]").first.bounding_box()
        assert box is not None
        x, y, width, height = (round(box[name]) for name in ("x", "y", "width", "height"))
        return self.screenshot()[y : y + height, x : x + width]

    def sees_head(self) -> bool:
        """Whether there is more in the middle of the picture than a backdrop."""
        picture = self.picture()
        height, width = picture.shape[:2]
        middle = picture[height // 4 : -height // 4, width // 3 : -width // 3].astype(float)
        return bool(middle.std(axis=(0, 1)).max() > 12)

    def settled(self, seconds: float = 60.0) -> np.ndarray:
        """The picture once it no longer changes and is the full one."""
        last, same = self.picture(), 0
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            self.page.wait_for_timeout(200)
            picture = self.picture()
            same = same + 1 if np.array_equal(picture, last) and "drawn in" in self.text() else 0
            if same == _SAME:
                return picture
            last = picture
        raise AssertionError("the picture never came to rest")
