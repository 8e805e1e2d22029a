"""What a person can turn on an avatar: each dial reads and writes one number of a driving state."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from studio.code_range import CodeRange
from studio.codes import Codes, CodeSpace
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid, rigid_inverse

# Region of the face -> how its channels' names begin; the first match counts.
_REGIONS: dict[str, tuple[str, ...]] = {
    "Gaze": ("eyeLook",),
    "Eyes": ("eye",),
    "Brows": ("brow",),
    "Jaw": ("jaw",),
    "Mouth": ("mouth",),
    "Cheeks & nose": ("cheek", "nose"),
    "Tongue": ("tongue",),
}
REGION_ORDER = ("Eyes", "Gaze", "Brows", "Jaw", "Mouth", "Cheeks & nose", "Tongue", "Other")
# Left and right here are directions of one movement, not sides of the face.
_ONE_WAY = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")
# (left eye, right eye) of the positive and of the negative direction.
_SIDEWAYS = (("eyeLookOutLeft", "eyeLookInRight"), ("eyeLookInLeft", "eyeLookOutRight"))
_UPWARD = (("eyeLookUpLeft", "eyeLookUpRight"), ("eyeLookDownLeft", "eyeLookDownRight"))
_GAZE_CHANNELS = tuple(channel for pair in (*_SIDEWAYS, *_UPWARD) for channel in pair)
# Of a dial's whole range: so far beyond the recording an avatar usually still holds.
_BEYOND_MARGIN = 0.2
_TURNS = (("Nod", "down"), ("Turn", "to the subject's left"), ("Tilt", "to the subject's right"))


@dataclass(frozen=True)
class Dial:
    """One number of a driving state.

    Args:
        name: identifies it, e.g. "mouthSmileLeft" or "neck.x".
        label: short, for a slider in the group's folder.
        group: the folder it belongs in.
        low: least value offered.
        high: greatest value offered.
        step: of a slider.
        hint: what it is and where positive values go.
        read: its value in a state.
        write: the state with another value, all else unchanged.
        twin: name of the same dial on the other side of the face.
        seen: lowest and highest value in the recording that the avatar was learned from, where that is known.
    """

    name: str
    label: str
    group: str
    low: float
    high: float
    step: float
    hint: str
    read: Callable[[Codes], float]
    write: Callable[[Codes, float], Codes]
    twin: str | None = None
    seen: tuple[float, float] | None = None

    def shown(self, codes: Codes) -> float:
        """Its value for a slider: within the offered range, rounded to the slider's steps."""
        return round(round(self.limited(self.read(codes)) / self.step) * self.step, 6)

    def limited(self, value: float) -> float:
        """The nearest value that is offered; the lowest for what is no number."""
        return min(max(self.low, value), self.high)


def beyond_limits(code_range: CodeRange) -> tuple[Tensor, Tensor]:
    """Values [E] of expression channels below and above which an avatar is well outside of what it has learned."""
    space = code_range.neutral.space
    margin = _BEYOND_MARGIN * (space.high - space.low)
    return code_range.low.expression - margin, code_range.high.expression + margin


def face_dials(code_range: CodeRange) -> list[Dial]:
    """A dial for each expression channel, by region of the face, and two that turn both eyes together."""
    space = code_range.neutral.space
    sides = sorted(space.channels, key=_side_order(space))
    dials = [_with_seen(_channel_dial(space, channel), code_range) for channel in sides]
    if set(_GAZE_CHANNELS) <= set(space.channels):
        dials = [_gaze_dial(space, "Both sideways", _SIDEWAYS), _gaze_dial(space, "Both up", _UPWARD), *dials]
    return sorted(dials, key=lambda dial: REGION_ORDER.index(dial.group))


def pose_dials(rest: Codes) -> list[Dial]:
    """Dials for head (relative to where it rests), neck, jaw joint and eyeballs, in degrees."""
    head = [_head_dial(rest.head_to_world, axis) for axis in range(3)]
    neck = [_joint_dial("neck_pose", "Neck", (axis,), 30.0) for axis in range(3)]
    jaw = [_joint_dial("jaw_pose", "Jaw joint", (axis,), 15.0) for axis in range(3)]
    eyes = [
        _joint_dial("eye_pose", "Eyeballs", (side, axis), 30.0, suffix=f" {letter}")
        for side, letter in enumerate("LR")
        for axis in range(2)
    ]
    return [*head, *neck, *jaw, *eyes]


def region_of(channel: str) -> str:
    """The region of the face that an expression channel moves."""
    return next((region for region, starts in _REGIONS.items() if channel.startswith(starts)), "Other")


def reset(codes: Codes, rest: Codes, dials: list[Dial]) -> Codes:
    """The state with these dials as they are at rest."""
    for dial in dials:
        codes = dial.write(codes, dial.read(rest))
    return codes


def _side_order(space: CodeSpace) -> Callable[[str], tuple[int, str]]:
    """A sorting key that keeps the order of the space, with left and right of a movement next to each other."""

    def key(channel: str) -> tuple[int, str]:
        other = re.sub("Left$", "Right", channel) if channel.endswith("Left") else re.sub("Right$", "Left", channel)
        first = channel if other not in space.channels else min(channel, other, key=space.index)
        return space.index(first), channel

    return key


def _with_seen(dial: Dial, code_range: CodeRange) -> Dial:
    seen = dial.read(code_range.low), dial.read(code_range.high)
    return replace(dial, seen=seen, hint=f"{dial.hint}, {seen[0]:.2f} to {seen[1]:.2f} in the recording")


def _channel_dial(space: CodeSpace, channel: str) -> Dial:
    index = space.index(channel)

    def read(codes: Codes) -> float:
        return float(codes.expression[index])

    def write(codes: Codes, value: float) -> Codes:
        return replace(codes, expression=_with_entry(codes.expression, (index,), value))

    twin = _twin(channel)
    return Dial(
        name=channel,
        label=_label(channel),
        group=region_of(channel),
        low=space.low,
        high=space.high,
        step=(space.high - space.low) / 100,
        hint=channel,
        read=read,
        write=write,
        twin=twin if twin in space.channels else None,
    )


def _twin(channel: str) -> str | None:
    """The channel that does the same on the other side of the face; gaze moves both eyes the same way."""
    if channel in _ONE_WAY:
        return None
    swap = {"Left": "Right", "Right": "Left"}
    if channel.startswith("eyeLook"):
        swap |= {"In": "Out", "Out": "In"}
    twin = re.sub("|".join(swap), lambda found: swap[found.group()], channel)
    return None if twin == channel else twin


def _gaze_dial(space: CodeSpace, label: str, channels: tuple[tuple[str, str], tuple[str, str]]) -> Dial:
    """Both eyes along one direction, -1..1: the pairs (left eye, right eye) of channels for positive and negative."""
    indices = [[space.index(channel) for channel in pair] for pair in channels]

    def read(codes: Codes) -> float:
        positive, negative = (codes.expression[pair].mean() for pair in indices)
        return float(positive - negative)

    def write(codes: Codes, value: float) -> Codes:
        expression = codes.expression.clone()
        expression[indices[0]], expression[indices[1]] = max(value, 0.0), max(-value, 0.0)
        return replace(codes, expression=expression)

    hint = "both eyes, " + ("to the subject's left" if channels is _SIDEWAYS else "upwards")
    return Dial(f"gaze{label.split()[-1].capitalize()}", label, "Gaze", -1.0, 1.0, 0.02, hint, read, write)


def _label(channel: str) -> str:
    """ "mouthSmileLeft" -> "Smile L": without the region's name where the folder says it."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[0-9]+|[A-Z]+", channel)] or [channel]
    if len(words) > 1 and words[0] not in ("cheek", "nose"):
        words = words[1:]
    if len(words) > 1 and words[-1] in ("left", "right"):
        words[-1] = words[-1][0].upper()
    return " ".join([words[0].capitalize(), *words[1:]])


def _joint_dial(field: str, group: str, entry: tuple[int, ...], reach: float, suffix: str = "") -> Dial:
    turn, positive = _TURNS[entry[-1]]

    def read(codes: Codes) -> float:
        return math.degrees(float(getattr(codes, field)[entry]))

    def write(codes: Codes, value: float) -> Codes:
        changed: dict[str, Any] = {field: _with_entry(getattr(codes, field), entry, math.radians(value))}
        return replace(codes, **changed)

    name = ".".join((field, *map(str, entry)))
    return Dial(name, turn + suffix, group, -reach, reach, 0.5, f"degrees, {positive}", read, write)


def _head_dial(rest: Tensor, axis: int) -> Dial:
    """Rotation of the head about its own origin, relative to ``rest`` [4, 4], as one part of an axis-angle vector."""
    turn, positive = _TURNS[axis]

    def turned(codes: Codes) -> Tensor:
        return matrix_to_axis_angle((rigid_inverse(rest) @ codes.head_to_world)[:3, :3])

    def read(codes: Codes) -> float:
        return math.degrees(float(turned(codes)[axis]))

    def write(codes: Codes, value: float) -> Codes:
        angles = _with_entry(turned(codes), (axis,), math.radians(value))
        rotation = rest[:3, :3] @ axis_angle_to_matrix(angles)
        return replace(codes, head_to_world=rigid(rotation, codes.head_to_world[:3, 3]))

    return Dial(f"head.{axis}", turn, "Head", -60.0, 60.0, 0.5, f"degrees, {positive}", read, write)


def _with_entry(values: Tensor, entry: tuple[int, ...], value: float) -> Tensor:
    changed = values.clone()
    changed[entry] = torch.tensor(value, dtype=values.dtype)
    return changed
