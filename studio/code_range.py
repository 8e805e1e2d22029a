"""Where the codes of a track stay: its neutral state and the range of each channel.

An avatar keeps the range of the track it was learned from, a driver has the range of its clip; motion is transferred
from one to the other relative to both (reenact/retarget.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from studio.codes import Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.rotations import matrix_to_axis_angle, rigid, rigid_inverse

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
_REST_QUANTILE = 0.1  # a talking mouth is closed, and an eye open, in more than a tenth of the frames
_EXTREMES = (0.01, 0.99)  # of all frames: a single mistracked frame must not widen the range


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
    """

    neutral: Codes
    low: Codes
    high: Codes
    turn_low: Tensor
    turn_high: Tensor
    shift_low: Tensor
    shift_high: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, as stored in files."""
        named = {"turn_low": self.turn_low, "turn_high": self.turn_high}
        named |= {"shift_low": self.shift_low, "shift_high": self.shift_high}
        for part in ("neutral", "low", "high"):
            named |= {f"{part}.{name}": value for name, value in getattr(self, part).tensors().items()}
        return {name: value.contiguous() for name, value in named.items()}

    @staticmethod
    def from_tensors(space: CodeSpace, named: Mapping[str, Tensor]) -> CodeRange:
        """Inverse of ``tensors``."""

        def codes(part: str) -> Codes:
            return Codes(space, **{name: named[f"{part}.{name}"] for name in Codes.neutral(space).tensors()})

        rest = {name: value for name, value in named.items() if "." not in name}
        return CodeRange(codes("neutral"), codes("low"), codes("high"), **rest)


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
    return CodeRange(neutral, low, high, turn_low, turn_high, shift_low, shift_high)


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
    """The mean rotation (chordal: the rotation nearest to the mean matrix) with the median place, [4, 4].

    The median is taken along the axes of the mean head, so that the result turns and moves with the world.
    """
    u, _, vt = torch.linalg.svd(poses[:, :3, :3].mean(0))
    flip = torch.diag(u.new_tensor((1.0, 1.0, float(torch.linalg.det(u @ vt).sign()))))
    rotation = u @ flip @ vt
    return rigid(rotation, rotation @ (poses[:, :3, 3] @ rotation).quantile(0.5, dim=0))
