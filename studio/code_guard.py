"""Codes that leave what an avatar has learned: told by channel and by region, and bent back smoothly.

Two limits, both the identity inside and monotone beyond (a tanh knee, so that no speed jumps):

1. Every channel and joint component keeps to its recorded range and a margin.
2. So does the distance of each region of the face as a whole, by the recorded second moments about the neutral state
   (Mahalanobis 1936): single channels may all be in range while no face was ever so in all of them at once. Beyond, the
   region goes back towards neutral along a straight line, which keeps the proportions of its channels. Regions are
   judged apart, so that a shouting mouth does not open eyes that blink.

The place of the head in the world is no matter of the avatar and stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from studio.code_range import REGIONS, CodeRange, region_numbers
from studio.codes import JOINT_SIZES, Codes, CodeSpace

# How far beyond what it has learned an avatar may go: a share of its range and a floor. Expressions have the head
# model's shapes to go on with where nothing was learned; a torso has nothing but skin that is stretched until it tears.
_EXPRESSION_MARGIN = (0.5, 0.2)
_JOINT_MARGINS = {
    "jaw_pose": (0.5, 0.05),  # radians
    "neck_pose": (0.25, 0.03),
    "neck_translation": (0.25, 0.003),  # metres
    "eye_pose": (0.5, 0.1),
}
_REGION_MARGIN = (0.5, 1.0)
_LIDS = "eyeBlink"  # an eye can always be closed, whether or not the recording happens to hold a blink
_TOLD = 0.1  # of the margin: less is nothing to speak of


@dataclass(frozen=True)
class Excess:
    """How a channel, a joint component or a region left what an avatar has learned.

    Args:
        name: such as "jawOpen", "neck_pose.1", or "mouth as a whole".
        frames: share of the frames in which it did, 0..1.
        most: the value farthest out; for a region its distance, where 1 is the farthest that was recorded.
        recorded: the end of the recorded range that it passed.
    """

    name: str
    frames: float
    most: float
    recorded: float

    def __str__(self) -> str:
        return f"{self.name} {self.most:.2f} (recorded up to {self.recorded:.2f}) in {self.frames:.0%} of the frames"


def guarded(
    codes: Codes,  # batch [T]
    learned: CodeRange,
) -> tuple[Codes, tuple[Excess, ...]]:
    """The codes within what an avatar has learned, and what was beyond it, the most frequent first.

    Raises:
        StudioError: codes of another space.
    """
    space = learned.neutral.space
    space.require(codes.space, "the driver")
    low, high, margin = _ends(learned)
    vector = codes.vector()
    found = _told(vector, low, high, margin, _component_names(space))
    vector = bent(vector, low, high, margin)
    expressions = len(space)
    vector[..., :expressions].clamp_(space.low, space.high)
    neutral, numbers = learned.neutral.vector(), region_numbers(space)
    for number, region in enumerate(REGIONS):
        away = torch.where(numbers == number, vector - neutral, 0.0)
        distance = (away @ learned.whitening).norm(dim=-1, keepdim=True)
        reach = learned.reach[number]
        allowed = _REGION_MARGIN[0] * reach + _REGION_MARGIN[1]
        found += _told(distance / reach, -torch.ones(1), torch.ones(1), allowed / reach, [f"{region} as a whole"])
        limited = bent(distance, -reach, reach, allowed)
        vector = vector - away * (1 - limited / distance.clamp(min=1e-9)) * (distance > reach)
    return codes.with_vector(vector), tuple(sorted(found, key=lambda excess: -excess.frames))


def bent(values: Tensor, low: Tensor, high: Tensor, margin: Tensor) -> Tensor:
    """Unchanged between ``low`` and ``high``; beyond, bent smoothly (tanh) so as never to leave them by ``margin``."""
    above = high + margin * torch.tanh((values - high) / margin)
    below = low - margin * torch.tanh((low - values) / margin)
    return torch.where(values > high, above, torch.where(values < low, below, values))


def _ends(learned: CodeRange) -> tuple[Tensor, Tensor, Tensor]:
    """Lowest and highest value [V] of ``Codes.vector`` that count as learned, and the margin beyond [V]."""
    neutral = learned.neutral.vector()
    low = torch.minimum(learned.low.vector(), neutral)
    high = torch.maximum(learned.high.vector(), neutral)
    space = learned.neutral.space
    shares, floors = [_EXPRESSION_MARGIN[0]] * len(space), [_EXPRESSION_MARGIN[1]] * len(space)
    for name, size in JOINT_SIZES.items():
        shares += [_JOINT_MARGINS[name][0]] * size
        floors += [_JOINT_MARGINS[name][1]] * size
    margin = torch.tensor(shares) * (high - low) + torch.tensor(floors)
    low[: len(space)] = space.low  # less of an expression is always a face that the head model knows
    for index, channel in enumerate(space.channels):
        if channel.startswith(_LIDS):
            high[index] = space.high
    return low, high, margin


def _component_names(space: CodeSpace) -> list[str]:
    joints = [f"{name}.{part}" for name, size in JOINT_SIZES.items() for part in range(size)]
    return [*space.channels, *joints]


def _told(values: Tensor, low: Tensor, high: Tensor, margin: Tensor, names: list[str]) -> list[Excess]:
    """What is beyond by more than a hair, over values [T, N]."""
    over, under = values - high, low - values
    beyond = torch.maximum(over, under) > _TOLD * margin
    found = []
    for index in torch.nonzero(beyond.any(0))[:, 0].tolist():
        is_over = float(over[:, index].max()) >= float(under[:, index].max())
        most, end = (values.amax(0), high) if is_over else (values.amin(0), low)
        share = float(beyond[:, index].float().mean())
        found.append(Excess(names[index], share, float(most[index]), float(end[index])))
    return found
