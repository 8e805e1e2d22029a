"""How restless a video is where nothing moves: frame-to-frame changes of render and source on static pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from studio.errors import StudioError

_BLUR, _LEAST_BLUR = 1 / 128, 3.0  # standard deviation: of the longer side, and pixels; noise is gone after it
_STILL = 1.5  # grey levels of 255: a blurred pixel that changes less, with all its neighbours, is static
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


@dataclass
class Flicker:
    """RMS change of brightness (grey levels of 255) between consecutive frames, on pixels where the source is static.

    Static is decided on the blurred source, so that its noise stays in: the source's own figure is what a camera on a
    tripod gives. ``regions`` holds "full", and "person" where there are mattes.
    """

    regions: dict[str, _Changes] = field(default_factory=dict)
    _before: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None

    def cut(self) -> None:
        """The next frame does not follow on the last one."""
        self._before = None

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
        now = _grey(source), _grey(render), person
        if self._before is not None:
            changes = [after - before for after, before in zip(now[:2], self._before[:2])]
            static = _static(changes[0])
            masks = {"full": static}
            if person is not None and self._before[2] is not None:
                masks["person"] = static & person & self._before[2]
            for name, mask in masks.items():
                self.regions.setdefault(name, _Changes()).add(changes[0][mask], changes[1][mask])
        self._before = now

    def figures(self) -> dict[str, dict[str, float | int | None]]:
        """By region: "source" and "render" in grey levels, and over how many pixels."""
        return {name: changes.figures() for name, changes in self.regions.items()}


def _grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _static(change: np.ndarray) -> np.ndarray:
    """[H, W] bool: where the source [H, W] changes by noise only."""
    blur = max(_BLUR * max(change.shape), _LEAST_BLUR)
    reach = 2 * math.ceil(_REACH * blur) + 1
    moved = np.abs(cv2.GaussianBlur(change, (0, 0), blur))
    return np.asarray(cv2.dilate(moved, np.ones((reach, reach), np.uint8)) < _STILL)
