"""Training images: which ones, in which order, read once and kept in a bounded cache."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from studio.cameras import Camera
from studio.captures import Capture
from studio.codes import Codes
from studio.heads.mediapipe_points import EYE_CORNERS, LIDS_LEFT, LIDS_RIGHT, LIPS
from studio.heads.model import HeadModel

Key = tuple[int, int]  # (timestep_index, camera_index)
AHEAD, _READERS = 8, 2  # views that are read ahead of their use, and threads that read them
_REGION_MARGIN = 0.15  # eye distances that a region reaches beyond its landmarks


@dataclass(frozen=True)
class View:
    """One training image as tensors.

    Args:
        key: (timestep_index, camera_index).
        image: [H, W, 3] uint8 sRGB.
        alpha: [H, W] uint8 matte, or None.
        emphasis: [H, W] uint8, 1 where the mouth or the eyes are.
        camera: C = 1.
    """

    key: Key
    image: Tensor
    alpha: Tensor | None
    emphasis: Tensor
    camera: Camera

    def size(self) -> int:
        """Bytes held."""
        return self.image.numel() + self.emphasis.numel() + (0 if self.alpha is None else self.alpha.numel())


class Views:
    """Lazily read views of a capture, at most ``max_bytes`` of them in memory (least recently used go first)."""

    def __init__(self, capture: Capture, head: HeadModel, codes: Codes, max_bytes: int = 2 << 30) -> None:
        """Args: head without identity parameters; codes: batch [T], all timesteps of the capture."""
        self.capture, self._codes = capture, codes
        self._landmarks = head.landmark_submodel()
        self._max_bytes, self._bytes = max_bytes, 0
        self.device = torch.device("cpu")
        self._held: OrderedDict[Key, View] = OrderedDict()
        self._coming: dict[Key, Future[View]] = {}
        self._readers: ThreadPoolExecutor | None = None
        self.reads, self.read_seconds = 0, 0.0

    def __getitem__(self, key: Key) -> View:
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        began = time.perf_counter()
        coming = self._coming.pop(key, None)
        view = self._read(key) if coming is None else coming.result()
        self.reads, self.read_seconds = self.reads + 1, self.read_seconds + time.perf_counter() - began
        self._held[key] = view
        self._bytes += view.size()
        while self._bytes > self._max_bytes and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].size()
        return view

    def expect(self, keys: Iterable[Key]) -> None:
        """Begin to read views that will soon be asked for; at most ``AHEAD`` are read ahead of their use."""
        for key in keys:
            if len(self._coming) >= AHEAD:
                return
            if key not in self._held and key not in self._coming:
                self._readers = self._readers or ThreadPoolExecutor(_READERS, thread_name_prefix="views")
                self._coming[key] = self._readers.submit(self._read, key)

    def move(self, device: torch.device) -> None:
        """From now on images come on another device, where they may take up to half of the memory that is free."""
        if device == self.device:
            return
        self._coming.clear()
        self._held.clear()
        self.device, self._bytes = device, 0
        if device.type == "cuda":
            self._max_bytes = torch.cuda.mem_get_info(device)[0] // 2

    def renew(self, capture: Capture, head: HeadModel, codes: Codes) -> None:
        """Go on with a capture that has grown; what is held stays as it was read. Arguments as for the constructor."""
        self._coming.clear()  # they were read with the codes before
        self.capture, self._codes = capture, codes
        self._landmarks = head.landmark_submodel()

    def ahead(self, keys: Collection[Key], turns: float) -> tuple[int, int]:
        """How many images will be read when all keys are wanted several times, and the bytes that will be held more."""
        size = self._bytes // max(len(self._held), 1)
        missing = len(set(keys) - self._held.keys())
        room = (self._max_bytes - self._bytes) // max(size, 1)
        overflow = max(0, missing - room)
        return missing + round(overflow * max(0.0, turns - 1)), min(missing, room) * size

    def _read(self, key: Key) -> View:
        frame = self.capture.frame(*key)
        regions = region_masks(self._landmarks, self._codes[key[0]], frame.camera)
        emphasis = torch.from_numpy(regions["mouth"] | regions["eyes"]).to(torch.uint8).to(self.device)
        alpha = None if frame.alpha is None else torch.from_numpy(frame.alpha).to(self.device)
        return View(key, torch.from_numpy(frame.image).to(self.device), alpha, emphasis, frame.camera)


def region_masks(
    head: HeadModel,  # without identity parameters; a ``landmark_submodel`` is enough
    codes: Codes,  # no batch
    camera: Camera,  # C = 1
) -> dict[str, np.ndarray]:
    """Where face, mouth and eyes are in an image: bool [H, W] each, hulls of the head model's posed landmarks.

    Mouth and eyes reach a little beyond their landmarks, relative to the distance between the eye corners.
    """
    points = head.landmarks(head.vertices(codes.expression.new_zeros(0), codes))
    projected = camera.project(points)[0][0].numpy()
    valid = head.landmark_valid.numpy()
    unit = float(np.linalg.norm(projected[EYE_CORNERS[0]] - projected[EYE_CORNERS[1]]))

    def hull(indices: tuple[int, ...], margin: float) -> np.ndarray:
        mask = np.zeros((camera.height, camera.width), np.uint8)
        chosen = projected[[index for index in indices if valid[index]]]
        if len(chosen) >= 3 and np.isfinite(chosen).all() and np.abs(chosen).max() < 1e5:
            cv2.fillConvexPoly(mask, cv2.convexHull(np.round(chosen).astype(np.int32)), 1)
            reach = 2 * round(margin * unit) + 1
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
            cv2.dilate(mask, disc, dst=mask)
        return mask.astype(bool)

    return {
        "face": hull(tuple(range(len(valid))), 0.0),
        "mouth": hull(LIPS, _REGION_MARGIN),
        "eyes": hull(LIDS_LEFT, _REGION_MARGIN) | hull(LIDS_RIGHT, _REGION_MARGIN),
    }


class Draws(Protocol):
    """Which training image comes next, by its place in the list; ``drawn`` is how many came."""

    drawn: int

    def next(self) -> int: ...

    def coming(self, count: int) -> list[int]:
        """The next ones, as far as they are known, without drawing them."""
        ...


class Sampler:
    """Goes through all indices in random order, again and again; ``drawn`` is all of its state."""

    def __init__(self, count: int, seed: int, drawn: int = 0) -> None:
        """Args: count: how many indices; seed: of the orders; drawn: how many were drawn before."""
        self._count, self._seed, self.drawn = count, seed, drawn
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def next(self) -> int:
        """The next index."""
        epoch, place = divmod(self.drawn, self._count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self._seed, epoch)).permutation(self._count)
        self.drawn += 1
        return int(self._order[place])

    def coming(self, count: int) -> list[int]:
        """The next indices of this round, without drawing them."""
        epoch, place = divmod(self.drawn, self._count)
        return [] if epoch != self._epoch else [int(index) for index in self._order[place : place + count]]
