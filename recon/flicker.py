"""How restless a video is where nothing moves: frame-to-frame changes of render and source on static pixels."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np

from studio.errors import StudioError

_BLUR, _LEAST_BLUR = 1 / 128, 3.0  # standard deviation: of the longer side, and pixels; noise is gone after it
_STILL = 1.5  # grey levels of 255: a blurred pixel whose range is less, with all its neighbours, is static
_FRAMES = 6  # of stillness, the change in whose middle counts: 0.2 s of video
_REACH = 2  # blurs: how far away neighbours count


@dataclass
class _Changes:
    """Sums of squared changes from frame to frame."""

    source: float = 0.0
    render: float = 0.0
    pixels: int = 0

    def add(self, source: np.ndarray, render: np.ndarray) -> None:
        """Take changes [N] into account."""
        self.source += float(np.square(source).sum(dtype=np.float64))
        self.render += float(np.square(render).sum(dtype=np.float64))
        self.pixels += len(source)

    def figures(self) -> dict[str, float | int | None]:
        if not self.pixels:
            return {"source": None, "render": None, "pixels": 0}
        source, render = (round(math.sqrt(value / self.pixels), 3) for value in (self.source, self.render))
        return {"source": source, "render": render, "pixels": self.pixels}


@dataclass(frozen=True)
class _Moment:
    """A frame: brightness of source, blurred source and render [H, W], and where the person is."""

    source: np.ndarray
    blurred: np.ndarray
    render: np.ndarray
    person: np.ndarray | None


@dataclass
class Flicker:
    """RMS change of brightness (grey levels of 255) from frame to frame, on pixels where the source is static.

    Static is what holds still for several frames in the blurred source, with its neighbours: what turns round in a
    motion is not, and the source's own noise stays in, which is what a camera on a tripod gives. ``regions`` holds
    "full", and "person" where there are mattes.
    """

    regions: dict[str, _Changes] = field(default_factory=dict)
    _recent: deque[_Moment] = field(default_factory=lambda: deque(maxlen=_FRAMES))

    def cut(self) -> None:
        """The next frame does not follow on the last one."""
        self._recent.clear()

    def add(
        self,
        source: np.ndarray,  # [H, W, 3] uint8
        render: np.ndarray,  # [H, W, 3] uint8
        person: np.ndarray | None = None,  # [H, W] bool
    ) -> None:
        """Take the next frame of one camera into account.

        Raises:
            StudioError: source and render differ in size.
        """
        if source.shape != render.shape:
            raise StudioError("cannot compare flicker", got=render.shape, expected=source.shape)
        grey = _grey(source)
        self._recent.append(_Moment(grey, cv2.GaussianBlur(grey, (0, 0), _blur(grey)), _grey(render), person))
        if len(self._recent) == _FRAMES:
            self._measure()

    def _measure(self) -> None:
        """The change in the middle of the recent frames."""
        before, after = self._recent[_FRAMES // 2 - 1], self._recent[_FRAMES // 2]
        static = _static(np.stack([moment.blurred for moment in self._recent]))
        masks = {"full": static}
        if before.person is not None and after.person is not None:
            masks["person"] = static & before.person & after.person
        for name, mask in masks.items():
            changes = ((after.source - before.source)[mask], (after.render - before.render)[mask])
            self.regions.setdefault(name, _Changes()).add(*changes)

    def figures(self) -> dict[str, dict[str, float | int | None]]:
        """By region: "source" and "render" in grey levels, and over how many pixels."""
        return {name: changes.figures() for name, changes in self.regions.items()}


def _blur(image: np.ndarray) -> float:
    return max(_BLUR * max(image.shape), _LEAST_BLUR)


def _grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _static(
    blurred: np.ndarray,  # [T, H, W]
) -> np.ndarray:
    """[H, W] bool: where a blurred source holds still."""
    reach = 2 * math.ceil(_REACH * _blur(blurred[0])) + 1
    moved = blurred.max(0) - blurred.min(0)
    return np.asarray(cv2.dilate(moved, np.ones((reach, reach), np.uint8)) < _STILL)
