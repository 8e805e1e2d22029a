"""Where the codes of a track stay: its neutral state and the range of each channel.

An avatar keeps the range of the track it was learned from, a driver has the range of its clip; motion is transferred
from one to the other relative to both (reenact/retarget.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from studio.codes import JOINT_SIZES, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.rotations import matrix_to_axis_angle, mean_rotation, rigid, rigid_inverse

# Channels that pull in opposite directions: their difference is one signed quantity whose rest is its median, while
# every other channel rests at the low end of what it does.
OPPOSED_CHANNELS: tuple[tuple[str, str], ...] = (
    ("eyeLookOutLeft", "eyeLookInLeft"),
    ("eyeLookUpLeft", "eyeLookDownLeft"),
    ("eyeLookOutRight", "eyeLookInRight"),
    ("eyeLookUpRight", "eyeLookDownRight"),
    ("jawLeft", "jawRight"),
    ("mouthLeft", "mouthRight"),
)
# Parts of the face that move by themselves -> how the names of their channels and joints begin. Lids are in none: an
# eye may close in any face.
REGIONS: Mapping[str, tuple[str, ...]] = {
    "mouth": ("jaw", "mouth", "cheek", "nose", "tongue"),
    "eyes": ("eyeLook", "eyeSquint", "eyeWide", "eye_pose"),
    "brows": ("brow",),
    "torso": ("neck",),
}
_REST_QUANTILE = 0.1  # a talking mouth is closed, and an eye open, in more than a tenth of the frames
_EXTREMES = (0.01, 0.99)  # of all frames: a single mistracked frame must not widen the range
# Deviation that is nothing unusual in any recording, by name of the joint: what stood still is not infinitely far away.
_USUAL = {"jaw_pose": 0.03, "neck_pose": 0.03, "neck_translation": 0.003, "eye_pose": 0.05}
_USUAL_EXPRESSION = 0.1
_LEAST_REACH = 3.0  # deviations: what a recording of a still face counts as near


@dataclass(frozen=True)
class CodeRange:
    """What the codes of a clip do, over its valid frames.

    Args:
        neutral: the resting state (no batch): each channel at rest, joints at their median, the head at its mean pose.
        low: the low end of every channel and joint component (no batch).
        high: the high end.
        turn_low: [3] lowest axis-angle components, radians, of the head's turn away from its neutral pose (head frame).
        turn_high: [3] the highest.
        shift_low: [3] lowest displacement, metres, of the head from its neutral place (neutral head frame).
        shift_high: [3] the highest.
        whitening: [V, V] a factor W of the inverse second moments of ``Codes.vector`` about the neutral state, one
            block for each region: |(v - neutral) W| over a region's entries is how far it is away, in deviations.
        reach: [R] that distance in nearly all frames, for each of ``REGIONS``.
    """

    neutral: Codes
    low: Codes
    high: Codes
    turn_low: Tensor
    turn_high: Tensor
    shift_low: Tensor
    shift_high: Tensor
    whitening: Tensor
    reach: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, as stored in files."""
        named = {"turn_low": self.turn_low, "turn_high": self.turn_high}
        named |= {"shift_low": self.shift_low, "shift_high": self.shift_high}
        named |= {"whitening": self.whitening, "reach": self.reach}
        for part in ("neutral", "low", "high"):
            named |= {f"{part}.{name}": value for name, value in getattr(self, part).tensors().items()}
        return {name: value.contiguous() for name, value in named.items()}

    @staticmethod
    def from_tensors(space: CodeSpace, named: Mapping[str, Tensor]) -> CodeRange:
        """Inverse of ``tensors``."""

        def codes(part: str) -> Codes:
            return Codes(space, **{name: named[f"{part}.{name}"] for name in Codes.neutral(space).tensors()})

        rest = {name: value for name, value in named.items() if "." not in name}
        neutral, low, high = codes("neutral"), codes("low"), codes("high")
        if "whitening" not in rest:  # written before regions were judged as a whole: only the ends are known
            ends = torch.stack((low.vector(), high.vector()))
            rest |= dict(zip(("whitening", "reach"), _moments(space, ends - neutral.vector()), strict=True))
        return CodeRange(neutral, low, high, **rest)


def measure_range(track: CodeTrack) -> CodeRange:
    """Neutral state and range of a track, over its valid frames.

    Raises:
        StudioError: no frame is valid.
    """
    if not bool(track.valid.any()):
        raise StudioError("the track has no valid frame", expected="frames that show a face")
    codes = track.codes[track.valid]
    neutral = _neutral(codes)
    low, high = (replace(_quantile(codes, q), head_to_world=neutral.head_to_world) for q in _EXTREMES)
    turns, shifts = head_motion(codes.head_to_world, neutral.head_to_world)
    turn_low, turn_high = (turns.quantile(q, dim=0) for q in _EXTREMES)
    shift_low, shift_high = (shifts.quantile(q, dim=0) for q in _EXTREMES)
    moments = _moments(codes.space, codes.vector() - neutral.vector())
    return CodeRange(neutral, low, high, turn_low, turn_high, shift_low, shift_high, *moments)


def region_numbers(space: CodeSpace) -> Tensor:
    """[V] the region, by its place in ``REGIONS``, of each entry of ``Codes.vector``; -1 for what is in none."""
    names = [*space.channels, *(name for name, size in JOINT_SIZES.items() for _ in range(size))]
    numbered = list(enumerate(REGIONS.values()))
    return torch.tensor([next((n for n, stems in numbered if name.startswith(stems)), -1) for name in names])


def _moments(
    space: CodeSpace,
    away: Tensor,  # [T, V] from the neutral state
) -> tuple[Tensor, Tensor]:
    """``whitening`` and ``reach`` of a clip."""
    numbers, away = region_numbers(space), away.double()
    usual = [_USUAL_EXPRESSION] * len(space) + [_USUAL[name] for name, size in JOINT_SIZES.items() for _ in range(size)]
    moments = away.T @ away / len(away) + torch.diag(torch.tensor(usual).double().square())
    moments = torch.where(numbers[:, None] == numbers, moments, 0.0)
    whitening = torch.linalg.cholesky(torch.linalg.inv(moments))
    parts = torch.stack([(away * (numbers == number)) @ whitening for number in range(len(REGIONS))])
    reach = parts.norm(dim=-1).quantile(_EXTREMES[1], dim=1).clamp(min=_LEAST_REACH)
    return whitening.float(), reach.float()


def head_motion(
    head_to_world: Tensor,  # [..., 4, 4]
    neutral: Tensor,  # [4, 4]
) -> tuple[Tensor, Tensor]:
    """How the head is turned [..., 3] (axis-angle) and shifted [..., 3] (metres) in the frame of its neutral pose."""
    relative = rigid_inverse(neutral) @ head_to_world
    return matrix_to_axis_angle(relative[..., :3, :3].contiguous()), relative[..., :3, 3]


def _quantile(codes: Codes, q: float) -> Codes:
    return Codes(codes.space, **{name: _over_time(value, q) for name, value in codes.tensors().items()})


def _over_time(values: Tensor, q: float) -> Tensor:
    """Quantile along the first dimension; torch refuses the empty expression of a space without channels."""
    return values.quantile(q, dim=0) if values.numel() else values[0]


def _neutral(codes: Codes) -> Codes:
    median = _quantile(codes, 0.5)
    expression = _over_time(codes.expression, _REST_QUANTILE)
    channels = codes.space.channels
    for forward, backward in OPPOSED_CHANNELS:
        if forward in channels and backward in channels:
            first, second = channels.index(forward), channels.index(backward)
            rest = (codes.expression[:, first] - codes.expression[:, second]).median()
            expression[first], expression[second] = rest.clamp(min=0), (-rest).clamp(min=0)
    return replace(median, expression=expression, head_to_world=mean_pose(codes.head_to_world))


def mean_pose(
    poses: Tensor,  # [T, 4, 4] rigid
) -> Tensor:
    """The mean rotation with the median place, [4, 4].

    The median is taken along the axes of the mean head, so that the result turns and moves with the world.
    """
    rotation = mean_rotation(poses[:, :3, :3])
    return rigid(rotation, rotation @ (poses[:, :3, 3] @ rotation).quantile(0.5, dim=0))
