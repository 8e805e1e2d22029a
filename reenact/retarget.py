"""Retargeting: the motion of one person on the head of another, relative to how each of them rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from studio.code_guard import bent
from studio.code_range import OPPOSED_CHANNELS, CodeRange, head_motion, measure_range
from studio.codes import Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

# Channels that work together keep their proportions: one gain for each group, not one for each channel, or else lips
# would no longer meet when jawOpen and mouthClose cancel each other, and the two sides of a face would differ.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "lids": ("eyeBlink",),
    "eyes": ("eyeSquint", "eyeWide"),
    "jaw": ("jawOpen", "jawForward", "mouth", "tongue"),
    "brows": ("brow",),
    "cheeks": ("cheek", "nose"),
}
_CLOSES_FULLY = "lids"  # a blink is a closed eye, however far the tracker thought it went
_LID_GAIN_LIMITS = (0.5, 2.0)
_GAIN_LIMITS = (0.6, 1.2)  # an avatar that has learned grimaces must not shout what a driver says calmly
_STILL = 0.15  # a group of channels that moves less than this altogether has no range worth matching
# How far beyond what was recorded a head may turn and move: a share of its range and a floor.
_TURN_MARGIN = (0.5, 0.10)  # radians
_SHIFT_MARGIN = (0.5, 0.015)  # metres


@dataclass(frozen=True)
class RetargetConfig:
    """How motion is transferred.

    Args:
        expression: strength of the expression, 1 as the driver has it.
        head_motion: strength of the head's movement, 0 keeps it at rest.
    """

    expression: float = 1.0
    head_motion: float = 1.0

    def __post_init__(self) -> None:
        for name in ("expression", "head_motion"):
            if not 0 <= getattr(self, name) <= 3:
                raise StudioError(f"impossible strength {name}", got=getattr(self, name), expected="0 to 3")


def retarget(track: CodeTrack, avatar: CodeRange, config: RetargetConfig | None = None) -> CodeTrack:
    """A driver's track as codes for an avatar.

    Every channel moves from the avatar's neutral by as much as the driver's moves from the driver's neutral, which is
    estimated over the whole track; ranges are matched per group of channels (by the square root of their ratio, fully
    for blinks). The head turns and moves about the avatar's resting pose as the driver's does about its mean pose, not
    much farther than it did in the avatar's recording. What the avatar has not learned otherwise is left to
    ``studio.code_guard``.

    Raises:
        StudioError: the track is of another code space, or shows no face at all.
    """
    config = config or RetargetConfig()
    avatar.neutral.space.require(track.codes.space, "the driver")
    driver = measure_range(track)
    codes, rest, space = track.codes, avatar.neutral, track.codes.space
    moved = Codes(
        space,
        expression=_expression(codes.expression, driver, avatar, config.expression),
        jaw_pose=rest.jaw_pose + config.expression * (codes.jaw_pose - driver.neutral.jaw_pose),
        neck_pose=_turn_from(codes.neck_pose, driver.neutral.neck_pose, rest.neck_pose, config.head_motion),
        neck_translation=rest.neck_translation
        + config.head_motion * (codes.neck_translation - driver.neutral.neck_translation),
        eye_pose=rest.eye_pose + codes.eye_pose - driver.neutral.eye_pose,
        head_to_world=_head(codes.head_to_world, driver, avatar, config.head_motion),
    )
    return replace(track, codes=moved, extras={}, provenance={**track.provenance, "transfer": "relative to neutral"})


def _expression(expression: Tensor, driver: CodeRange, avatar: CodeRange, strength: float) -> Tensor:
    space = avatar.neutral.space
    gain = strength * match_gains(driver, avatar)
    signed = _to_signed(avatar.neutral.expression, space) + gain * (
        _to_signed(expression, space) - _to_signed(driver.neutral.expression, space)
    )
    return _from_signed(signed, space).clamp(min=space.low)


def match_gains(driver: CodeRange, avatar: CodeRange) -> Tensor:
    """Gain [E] for each channel from the driver's amplitude to the avatar's, equal within a group of channels."""
    channels = avatar.neutral.space.channels
    gains = torch.ones(len(channels))
    for group, stems in _GROUPS.items():
        members = torch.tensor([name.startswith(stems) for name in channels])
        if not members.any():
            continue
        spans = [(clip.high.expression - clip.neutral.expression)[members].norm() for clip in (driver, avatar)]
        if min(spans) > _STILL:
            ratio = spans[1] / spans[0]
            closes = group == _CLOSES_FULLY
            gains[members] = ratio.clamp(*_LID_GAIN_LIMITS) if closes else ratio.sqrt().clamp(*_GAIN_LIMITS)
    return gains


def _to_signed(expression: Tensor, space: CodeSpace) -> Tensor:
    """Opposed pairs as (difference, 0), so that a rest on one side can be subtracted from a motion to the other."""
    signed = expression.clone()
    for first, second in _pairs(space):
        signed[..., first] = expression[..., first] - expression[..., second]
        signed[..., second] = 0
    return signed


def _from_signed(signed: Tensor, space: CodeSpace) -> Tensor:
    expression = signed.clone()
    for first, second in _pairs(space):
        expression[..., first] = signed[..., first].clamp(min=0)
        expression[..., second] = (-signed[..., first]).clamp(min=0)
    return expression


def _pairs(space: CodeSpace) -> list[tuple[int, int]]:
    names = space.channels
    return [(names.index(a), names.index(b)) for a, b in OPPOSED_CHANNELS if a in names and b in names]


def _head(poses: Tensor, driver: CodeRange, avatar: CodeRange, strength: float) -> Tensor:
    """[T, 4, 4]: the driver's motion about its mean pose, about the avatar's resting pose.

    Both motions are in metres in the frame of a resting head, so that cameras and places in the room cancel.
    """
    turns, shifts = head_motion(poses, driver.neutral.head_to_world)
    turns = _near(strength * turns, avatar.turn_low, avatar.turn_high, _TURN_MARGIN)
    shifts = _near(strength * shifts, avatar.shift_low, avatar.shift_high, _SHIFT_MARGIN)
    return avatar.neutral.head_to_world @ rigid(axis_angle_to_matrix(turns), shifts)


def _turn_from(turns: Tensor, driver_rest: Tensor, avatar_rest: Tensor, strength: float) -> Tensor:
    """Axis-angle [T, 3]: the rotation away from the driver's rest, applied at the avatar's rest."""
    relative = axis_angle_to_matrix(driver_rest).T @ axis_angle_to_matrix(turns)
    relative = axis_angle_to_matrix(strength * matrix_to_axis_angle(relative))
    return matrix_to_axis_angle(axis_angle_to_matrix(avatar_rest) @ relative)


def _near(values: Tensor, low: Tensor, high: Tensor, margin: tuple[float, float]) -> Tensor:
    share, floor = margin
    return bent(values, low, high, share * (high - low) + floor)
