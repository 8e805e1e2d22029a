"""Pixels to train on, streamed: a few timesteps of all cameras are held, and others take their places in time.

How much is held does not depend on how many timesteps there are. Which ones are held at a step, and which pixels are
drawn, follows from the seed and the step alone, so that a resumed run draws the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from studio.cameras import Camera
from studio.captures import Capture
from studio.errors import StudioError

_BORDER = 0.02  # of the image's larger side: what lies so near to the person counts as them when pixels are drawn


@dataclass(frozen=True)
class Pixels:
    """R pixels, in the order of their moments.

    Args:
        timesteps: [C] int64, the moments' timesteps, as places in the list that the stream was made for.
        moments: [R] int64 into ``timesteps``, sorted.
        cameras: [R] int64, places in the list of cameras.
        places: [R, 2] int64 row and column.
        rgb: [R, 3] the person's colours times the matte, sRGB-encoded 0..1.
        alpha: [R] matte 0..1.
        depth: [R] camera z in metres, 0 where nothing is known; None if it was not asked for.
    """

    timesteps: Tensor
    moments: Tensor
    cameras: Tensor
    places: Tensor
    rgb: Tensor
    alpha: Tensor
    depth: Tensor | None


@dataclass(frozen=True)
class _Held:
    """All cameras' images of a timestep: flat over camera, row, column."""

    images: np.ndarray  # [N, 3] uint8
    mattes: np.ndarray  # [N] uint8
    near: np.ndarray  # [M] int32: pixels on or near the person
    telling: np.ndarray  # [E] int32: pixels of mouth and eyes
    depths: np.ndarray | None  # [N] float32

    @property
    def bytes(self) -> int:
        parts = (self.images, self.mattes, self.near, self.telling, self.depths)
        return sum(part.nbytes for part in parts if part is not None)


class PixelStream:
    """Draws training pixels; see the module."""

    def __init__(
        self,
        capture: Capture,
        timesteps: tuple[int, ...],
        cameras: tuple[int, ...],
        *,
        max_bytes: int,
        renew_every: int,
        foreground: float,
        with_depth: bool,
        seed: int,
        emphasis: float = 0.0,
        telling: Callable[[int, Camera], np.ndarray] | None = None,
    ) -> None:
        """Args:
        max_bytes: of the images held, about.
        renew_every: steps after which one timestep gives its place to the next.
        foreground: share of the pixels that are drawn on or near the person.
        with_depth: also read depths.
        emphasis: share of the pixels that are drawn where ``telling`` says.
        telling: from a timestep and a camera (C = 1) to the pixels [H, W] bool that tell most.

        Raises:
            StudioError: images without mattes.
        """
        self.capture, self.timesteps, self.cameras = capture, timesteps, cameras
        self._share, self._depth, self._seed, self._every = foreground, with_depth, seed, renew_every
        self._emphasis, self._telling = emphasis, telling
        self._behind = [capture.background(camera) for camera in cameras]
        self._held: dict[int, _Held] = {}
        self.reads = 0
        first = self._timestep(int(self._order(0)[0]))
        self.places = max(1, min(len(timesteps), max_bytes // max(first.bytes, 1)))

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(len(self.timesteps))

    def pool(self, step: int) -> list[int]:
        """The timesteps that are held at a step, as places in the list."""
        if self.places == len(self.timesteps):
            return list(range(self.places))
        position = step // self._every
        wanted: list[int] = []
        while len(wanted) < self.places:  # at the seam of two orders a timestep may come twice in a row
            epoch, place = divmod(position, len(self.timesteps))
            index = int(self._order(epoch)[place])
            if index not in wanted:
                wanted.append(index)
            position += 1
        return wanted

    def draw(self, step: int, count: int, moments: int) -> Pixels:
        """``count`` pixels of about ``moments`` timesteps."""
        random, pool = np.random.default_rng((self._seed, 1, step)), self.pool(step)
        for index in [index for index in self._held if index not in pool]:
            del self._held[index]
        chosen = np.sort(random.choice(pool, min(moments, len(pool)), replace=False))
        shares = [len(part) for part in np.array_split(np.empty(count), len(chosen))]
        parts = [self._some(self._timestep(int(index)), int(share), random) for index, share in zip(chosen, shares)]
        which, rgb, alpha, depth = (np.concatenate(part) for part in zip(*parts))
        height, width = self.capture.cameras.height, self.capture.cameras.width
        cameras, rest = np.divmod(which, height * width)
        return Pixels(
            torch.from_numpy(chosen),
            torch.from_numpy(np.repeat(np.arange(len(chosen)), shares)),
            torch.from_numpy(cameras),
            torch.from_numpy(np.stack(np.divmod(rest, width), axis=1)),
            torch.from_numpy(rgb),
            torch.from_numpy(alpha),
            torch.from_numpy(depth) if self._depth else None,
        )

    def _some(self, held: _Held, count: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        telling = round(count * self._emphasis) if len(held.telling) else 0
        near = round((count - telling) * self._share) if len(held.near) else 0
        parts = [
            held.telling[random.integers(max(len(held.telling), 1), size=telling)],
            held.near[random.integers(max(len(held.near), 1), size=near)],
            random.integers(len(held.mattes), size=count - telling - near),
        ]
        which = np.concatenate(parts).astype(np.int64)
        alpha = held.mattes[which].astype(np.float32) / 255
        depth = np.zeros(0, np.float32) if held.depths is None else held.depths[which]
        return which, held.images[which].astype(np.float32) / 255, alpha, depth

    def _timestep(self, index: int) -> _Held:
        if index not in self._held:
            self._held[index] = self._read(self.timesteps[index])
        return self._held[index]

    def _read(self, timestep: int) -> _Held:
        images, mattes, near, depths, telling = [], [], [], [], []
        border = 2 * round(_BORDER * max(self.capture.cameras.height, self.capture.cameras.width)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (border, border))
        for place, camera in enumerate(self.cameras):
            frame = self.capture.frame(timestep, camera)
            if frame.alpha is None:
                raise StudioError(
                    f"{self.capture.folder} has no matte of camera {self.capture.cameras.ids[camera]}",
                    expected="mattes of all images: a radiance field of a head learns from them where it ends",
                )
            images.append(_person(frame.image, frame.alpha, self._behind[place]))
            mattes.append(frame.alpha)
            near.append(cv2.dilate(frame.alpha, disc) > 0)
            if self._telling is not None:
                telling.append(self._telling(timestep, frame.camera) & near[-1])
            if self._depth:
                depth = self.capture.depth(timestep, camera)
                depths.append(np.zeros(frame.alpha.shape, np.float32) if depth is None else depth)
        self.reads += len(images)
        flat_near = np.flatnonzero(np.stack(near)).astype(np.int32)
        flat_telling = np.flatnonzero(np.stack(telling) if telling else np.empty(0)).astype(np.int32)
        flat_depths = np.stack(depths).reshape(-1) if self._depth else None
        return _Held(
            np.stack(images).reshape(-1, 3), np.stack(mattes).reshape(-1), flat_near, flat_telling, flat_depths
        )


def _person(image: np.ndarray, alpha: np.ndarray, behind: np.ndarray | None) -> np.ndarray:
    """[H, W, 3] uint8 colours times the matte; where the background is known, exactly."""
    share = alpha[..., None].astype(np.float32) / 255
    person = image * share if behind is None else image - (1.0 - share) * behind
    return np.asarray(np.clip(person + 0.5, 0, 255 * share + 0.5).astype(np.uint8))
