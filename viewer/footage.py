"""The pictures of a capture, as the viewer shows them: read when asked for, a few kept."""

from __future__ import annotations

import threading
from collections import OrderedDict

import torch
from torch import Tensor

from studio.cameras import Camera
from studio.captures import Capture

_KEPT = 24


class Footage:
    """Pictures and backgrounds of a capture.

    Args:
        capture: whose.
    """

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], Tensor | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.capture)

    def camera(self, index: int) -> Camera:
        """A camera of the capture (C = 1)."""
        return self.capture.cameras[index]

    def image(self, frame: int, camera: int) -> Tensor:
        """[H, W, 3] sRGB 0..1; the nearest frame that exists. Raises StudioError for a damaged file."""
        frame = min(max(frame, 0), len(self) - 1)
        kept = self._get((frame, camera))
        if kept is None:
            kept = torch.from_numpy(self.capture.image(frame, camera)).float() / 255
            self._keep((frame, camera), kept)
        return kept

    def background(self, camera: int) -> Tensor | None:
        """[H, W, 3] what the camera sees behind the person, where that is known."""
        key = (-1, camera)
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        found = self.capture.background(camera)
        image = None if found is None else torch.from_numpy(found).float() / 255
        self._keep(key, image)
        return image

    def _get(self, key: tuple[int, int]) -> Tensor | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: tuple[int, int], image: Tensor | None) -> None:
        with self._lock:
            self._kept[key] = image
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
