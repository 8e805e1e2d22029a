"""What a channel does while its source has nothing: hold, fade to rest, or go on by procedure; without a jump."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from reenact.project.channels import Part, mixed, seconds_needed

Missing = Literal["hold", "fade", "procedural"]
BRIDGE = 0.5  # seconds: shorter gaps are crossed on a straight way from their one end to the other


def carried_over(
    part: Part,
    present: Tensor,  # [T] bool: where the source has something to say
    rest: Part,  # [T]
    idle: Part,  # [T] the procedural motion of the same channel
    policy: Missing,
    fade: float,
    fps: float,
) -> Part:
    """The part with its gaps filled.

    Gaps up to ``BRIDGE`` between two present frames are crossed smoothly, and before the first one its state is taken:
    a source may begin a little late. In longer ones the last state is held, or
    left for rest or procedural motion; coming and going take ``fade`` seconds, or as long as a natural motion over that
    distance needs.
    """
    frames, count = torch.arange(len(present)), len(present)
    away = idle if policy == "procedural" else rest
    result = part
    for start, stop in gaps(present):
        if start == 0 and stop < count and stop <= BRIDGE * fps:
            result = mixed(result, _still(part, stop), (frames < stop).float())
            continue
        during = ((frames >= start) & (frames < stop)).float()
        if start > 0 and stop < count and stop - start <= BRIDGE * fps:
            across = ramp(frames, start - 1, stop - start + 1)
            result = mixed(result, mixed(_still(result, start - 1), _still(part, stop), across), during)
            continue
        alone = away
        if start > 0:
            held = _still(result, start - 1)
            length = max(fade, seconds_needed(held, away, start))
            alone = held if policy == "hold" else mixed(held, away, ramp(frames, start - 1, length * fps))
        result = mixed(result, alone, during)
        if stop < count:
            length = max(fade, seconds_needed(alone, part, stop))
            back = mixed(alone, part, ramp(frames, stop - 1, length * fps))
            result = mixed(result, back, (frames >= stop).float())
    return result


def gaps(present: Tensor) -> list[tuple[int, int]]:
    """Stretches [start, stop) of absent frames."""
    edges = torch.cat((torch.tensor([True]), present, torch.tensor([True]))).int().diff()
    starts, stops = torch.nonzero(edges < 0)[:, 0].tolist(), torch.nonzero(edges > 0)[:, 0].tolist()
    return list(zip(starts, stops))


def ramp(frames: Tensor, start: float, length: float) -> Tensor:
    """A smooth step [T] from 0 at frame ``start`` to 1 after ``length`` frames."""
    t = ((frames - start) / max(length, 1.0)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _still(part: Part, frame: int) -> Part:
    """A part that stays as it is in one frame."""
    return part[torch.full((len(part),), frame)]
