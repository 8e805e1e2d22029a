"""Which frames of a capture are trained on, which only choose the best state, and which are out of the ordinary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recon.frames import Key
from studio.captures import Capture
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError

_RARE = 0.2  # share of the training frames with the strongest expressions


@dataclass(frozen=True)
class Selection:
    """The parts of a split.

    Args:
        timesteps: those trained on.
        validation: those that only choose the best state.
        cameras: of both.
        rare: the timesteps, of those trained on, whose expression is farthest from the mean: wide mouths, blinks.
    """

    timesteps: tuple[int, ...]
    validation: tuple[int, ...]
    cameras: tuple[int, ...]
    rare: frozenset[int]

    @property
    def keys(self) -> list[Key]:
        """Every training image once."""
        return [(t, c) for t in self.timesteps for c in self.cameras]

    @property
    def rare_keys(self) -> list[Key]:
        """The training images of the rare timesteps."""
        return [key for key in self.keys if key[0] in self.rare]

    @property
    def validation_keys(self) -> list[Key]:
        """Every validation image once."""
        return [(t, c) for t in self.validation for c in self.cameras]


def select(capture: Capture, track: CodeTrack, split: str, validation: float) -> Selection:
    """The frames of a split that were tracked, a block in their middle set aside.

    Args:
        split: name of the split.
        validation: share of its timesteps that is set aside.

    Raises:
        StudioError: no frame of the split was tracked.
    """
    part = capture.split(split)
    usable = [t for t in part.timesteps if bool(track.valid[t])]
    if not usable:
        raise StudioError(
            f"nothing to train on in {capture.folder}", got=f"no valid frame in {split}", expected="tracked frames"
        )
    aside = min(int(validation * len(usable)), len(usable) - 1)
    first = (len(usable) - aside) // 2
    timesteps = (*usable[:first], *usable[first + aside :])
    rare = rare_frames(track.codes[list(timesteps)])
    unusual = frozenset(t for t, is_rare in zip(timesteps, rare) if is_rare)
    return Selection(timesteps, tuple(usable[first : first + aside]), part.cameras, unusual)


def rare_frames(
    codes: Codes,  # batch [T]
) -> Tensor:
    """[T] bool: the frames whose expression is farthest from the mean."""
    distance = (codes.expression - codes.expression.mean(0)).norm(dim=-1)
    return distance > torch.quantile(distance, 1 - _RARE)


def spread(keys: list[Key], count: int) -> list[Key]:
    """At most ``count`` of the keys, evenly spread."""
    if len(keys) <= count:
        return keys
    return [keys[int(index)] for index in np.linspace(0, len(keys) - 1, count).round()]


def shuffled(keys: list[Key], count: int, generator: torch.Generator) -> list[Key]:
    """At most ``count`` of the keys, at random."""
    return [keys[index] for index in torch.randperm(len(keys), generator=generator)[:count].tolist()]


def front_camera(capture: Capture, track: CodeTrack, cameras: tuple[int, ...]) -> int:
    """That of the cameras that sees the face most from the front, over the clip."""
    forward = track.codes.head_to_world[:, :3, 2].mean(0)
    middle = track.codes.head_to_world[:, :3, 3].mean(0)
    towards = torch.nn.functional.normalize(capture.cameras.centers[list(cameras)] - middle, dim=-1)
    return cameras[int((towards @ forward).argmax())]
