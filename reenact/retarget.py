"""Retargeting: the motion of one person on the head of another, relative to how each of them rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reenact.gaze import turned_eyes
from reenact.torso import NECK_PIVOT, about_neck, neck_sway, torso_to_world, with_torso
from studio.code_guard import bent
from studio.code_range import OPPOSED_CHANNELS, CodeRange, head_motion, measure_range
from studio.codes import Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid, rigid_inverse

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
        gaze: how far the eyes make up for a head that turns less than the driver's: 1 keeps them on their target, 0
            leaves them as they were in the head.
    """

    expression: float = 1.0
    head_motion: float = 1.0
    gaze: float = 1.0

    def __post_init__(self) -> None:
        for name in ("expression", "head_motion", "gaze"):
            if not 0 <= getattr(self, name) <= 3:
                raise StudioError(f"impossible strength {name}", got=getattr(self, name), expected="0 to 3")


def retarget(
    track: CodeTrack,
    avatar: CodeRange,
    config: RetargetConfig | None = None,
    rest: Codes | None = None,
    measured: CodeRange | None = None,
) -> CodeTrack:
    """A driver's track as codes for an avatar.

    Every channel moves from the avatar's neutral by as much as the driver's moves from the driver's neutral, which is
    estimated over the whole track; ranges are matched per group of channels (by the square root of their ratio, fully
    for blinks). The head turns and moves about the avatar's resting pose as the driver's does about its mean pose, not
    much farther than it did in the avatar's recording. What the avatar has not learned otherwise is left to
    ``studio.code_guard``.

    Args:
        track: the driver's.
        avatar: where the codes stayed that the avatar was learned from.
        config: strengths.
        rest: the driver's neutral state where it is known; nothing is estimated then, and amplitudes stay as they are,
            but for blinks, which close the avatar's eyes.
        measured: the driver's neutral state and range where they are known from earlier, as in a live stream.

    Raises:
        StudioError: the track is of another code space, or shows no face at all.
    """
    config = config or RetargetConfig()
    avatar.neutral.space.require(track.codes.space, "the driver")
    if rest is None:
        driver = measure_range(track) if measured is None else measured
        neutral, gains = driver.neutral, match_gains(driver, avatar)
    else:
        neutral, gains = rest, _lid_gains(avatar)
    codes, own = track.codes, avatar.neutral
    moved = Codes(
        codes.space,
        expression=_expression(codes.expression, neutral, own, config.expression * gains),
        jaw_pose=own.jaw_pose + config.expression * (codes.jaw_pose - neutral.jaw_pose),
        neck_pose=codes.neck_pose,
        neck_translation=codes.neck_translation,
        eye_pose=own.eye_pose + codes.eye_pose - neutral.eye_pose,
        head_to_world=_head(codes.head_to_world, neutral, avatar, config.head_motion),
    )
    moved = with_torso(moved, _torso(codes, neutral, own, config.head_motion))
    moved = _on_target(moved, codes.head_to_world, neutral, own, config.gaze)
    return replace(track, codes=moved, extras={}, provenance={**track.provenance, "transfer": "relative to neutral"})


def _expression(expression: Tensor, driver: Codes, avatar: Codes, gain: Tensor) -> Tensor:
    space = avatar.space
    signed = _to_signed(avatar.expression, space) + gain * (
        _to_signed(expression, space) - _to_signed(driver.expression, space)
    )
    return _from_signed(signed, space).clamp(min=space.low)


def _lid_gains(avatar: CodeRange) -> Tensor:
    """Gain [E] for codes in which 1 is a closed eye: what the avatar's recording called closed, and 1 elsewhere."""
    gains = torch.ones(len(avatar.neutral.space))
    for index, name in enumerate(avatar.neutral.space.channels):
        closed = float(avatar.high.expression[index] - avatar.neutral.expression[index])
        if name.startswith(_GROUPS[_CLOSES_FULLY]) and closed > _LID_GAIN_LIMITS[0]:
            gains[index] = min(closed, 1.0)
    return gains


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


def _head(poses: Tensor, driver: Codes, avatar: CodeRange, strength: float) -> Tensor:
    """[T, 4, 4]: the driver's motion about its mean pose, about the avatar's resting pose.

    Both are in the frame of a resting head, in radians and metres, so that cameras and places in the room cancel. A
    turn that is bent back keeps its pivot, the neck.
    """
    turns, shifts = (strength * part for part in head_motion(poses, driver.head_to_world))
    bent_turns = _near(turns, avatar.turn_low, avatar.turn_high, _TURN_MARGIN)
    full, less = axis_angle_to_matrix(turns), axis_angle_to_matrix(bent_turns)
    shifts = shifts + (full - less) @ torch.tensor(NECK_PIVOT)
    shifts = _near(shifts, avatar.shift_low, avatar.shift_high, _SHIFT_MARGIN)
    return avatar.neutral.head_to_world @ rigid(less, shifts)


def _torso(codes: Codes, driver: Codes, avatar: Codes, strength: float) -> Tensor:
    """[T, 4, 4] the avatar's torso in the world: moved from its rest as the driver's is, seen from a resting head."""
    at_rest = rigid_inverse(driver.head_to_world)
    motion = at_rest @ torso_to_world(codes) @ rigid_inverse(at_rest @ torso_to_world(driver))
    turns = axis_angle_to_matrix(strength * matrix_to_axis_angle(motion[..., :3, :3].contiguous()))
    motion = about_neck(turns, strength * neck_sway(motion))
    return avatar.head_to_world @ motion @ rigid_inverse(avatar.head_to_world) @ torso_to_world(avatar)


def _on_target(moved: Codes, driver_poses: Tensor, driver: Codes, avatar: Codes, strength: float) -> Codes:
    """Eyes that look where the driver's did, though the head turns less: the difference goes into the eyeballs."""
    if not strength or "eyeLookOutLeft" not in moved.space.channels:
        return moved
    theirs = (rigid_inverse(driver.head_to_world) @ driver_poses)[..., :3, :3]
    ours = (rigid_inverse(avatar.head_to_world) @ moved.head_to_world)[..., :3, :3]
    missing = matrix_to_axis_angle((ours.transpose(-1, -2) @ theirs).contiguous())
    return turned_eyes(moved, axis_angle_to_matrix(strength * missing))


def _near(values: Tensor, low: Tensor, high: Tensor, margin: tuple[float, float]) -> Tensor:
    share, floor = margin
    return bent(values, low, high, share * (high - low) + floor)
