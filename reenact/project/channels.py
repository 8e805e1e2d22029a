"""The channels of the timeline: parts of a face that take their motion from different sources.

A state is held as a sheet of parts: expression, jaw, eyes, and head and torso as two bodies in the world, so that a
neck from one source and a head from another do not swing each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reenact.torso import torso_to_world, with_torso
from studio.codes import Codes, CodeSpace
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid, rigid_inverse, slerp

# Channel -> how the names of its expression channels begin. Head and neck have none.
CHANNELS: Mapping[str, tuple[str, ...]] = {
    "mouth": ("mouth", "tongue"),
    "jaw": ("jaw",),
    "brows": ("brow",),
    "lids": ("eyeBlink", "eyeSquint", "eyeWide"),
    "gaze": ("eyeLook",),
    "nose": ("nose", "cheek"),
    "head": (),
    "neck": (),
}
_JOINTS = {"jaw": ("jaw_pose",), "gaze": ("eye_pose",), "head": ("head_to_world",), "neck": ("torso",)}
_POSES = ("head_to_world", "torso")
# The most that a hand-over may move a channel in a second: weights, radians, metres. Talking faces are faster than
# this (a blink takes a tenth of a second), so that a hand-over is never what catches the eye.
NATURAL_SPEED = {"weight": 4.0, "turn": 1.2, "shift": 0.25}


@dataclass(frozen=True)
class Part:
    """One channel over time.

    Args:
        values: tensors [T, ...] by name: "weights" [T, n], "jaw_pose" [T, 3], "eye_pose" [T, 2, 3], "head_to_world" and
            "torso" [T, 4, 4].
    """

    values: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def __getitem__(self, index: Tensor) -> Part:
        """The part at some frames."""
        return Part({name: value[index] for name, value in self.values.items()})


def members(channel: str, space: CodeSpace) -> list[int]:
    """Indices of a channel's expression channels."""
    stems = CHANNELS[channel]
    return [index for index, name in enumerate(space.channels) if stems and name.startswith(stems)]


def part_of(channel: str, codes: Codes) -> Part:
    """A channel of codes [T]."""
    values = {"torso": torso_to_world(codes)} if channel == "neck" else {}
    values |= {name: getattr(codes, name) for name in _JOINTS.get(channel, ()) if name != "torso"}
    indices = members(channel, codes.space)
    if indices:
        values["weights"] = codes.expression[..., indices]
    return Part(values)


def assembled(parts: Mapping[str, Part], space: CodeSpace) -> Codes:
    """Codes [T] of all channels."""
    count = len(parts["head"])
    named = Codes.neutral(space, (count,)).tensors()
    for channel, part in parts.items():
        indices = members(channel, space)
        if indices:
            named["expression"][:, indices] = part.values["weights"]
        named |= {name: value for name, value in part.values.items() if name in named}
    return with_torso(Codes(space, **named), parts["neck"].values["torso"])


def mixed(
    first: Part,
    second: Part,
    weight: Tensor,  # [T], 0 gives the first, 1 the second
) -> Part:
    """Between two parts: linear, rotations along the shorter arc."""
    values = {}
    for name, a in first.values.items():
        b = second.values[name]
        if name in _POSES:
            turn = slerp(a[:, :3, :3], b[:, :3, :3], weight)
            value = rigid(turn, torch.lerp(a[:, :3, 3], b[:, :3, 3], weight[:, None]))
        elif name.endswith("_pose"):
            turned = slerp(axis_angle_to_matrix(a), axis_angle_to_matrix(b), weight)
            value = matrix_to_axis_angle(turned)
        else:
            value = torch.lerp(a, b, weight[:, None])
        # Exactly one or the other at the ends, so that what does not take part stays the same to the bit.
        shape = (-1, *[1] * (a.ndim - 1))
        values[name] = torch.where((weight == 0).reshape(shape), a, torch.where((weight == 1).reshape(shape), b, value))
    return Part(values)


def amplified(part: Part, rest: Part, gain: float) -> Part:
    """A part whose distance from rest (one frame) is multiplied; head and torso about their resting pose."""
    if gain == 1.0:
        return part
    values = {}
    for name, value in part.values.items():
        still = rest.values[name]
        if name in _POSES:
            motion = rigid_inverse(still) @ value
            turn = axis_angle_to_matrix(gain * matrix_to_axis_angle(motion[:, :3, :3].contiguous()))
            values[name] = still @ rigid(turn, gain * motion[:, :3, 3])
        else:
            values[name] = still + gain * (value - still)
    return Part(values)


def smoothed(part: Part, seconds: float, fps: float) -> Part:
    """A part averaged over time by a Gaussian of that standard deviation; its ends are held."""
    if seconds <= 0:
        return part
    reach = max(1, round(3 * seconds * fps))
    window = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / (seconds * fps)).square())
    window = window / window.sum()
    values = {}
    for name, value in part.values.items():
        flat = value.reshape(len(value), -1)
        padded = torch.cat((flat[:1].expand(reach, -1), flat, flat[-1:].expand(reach, -1))).T[:, None]
        mean = torch.nn.functional.conv1d(padded, window[None, None])[:, 0].T.reshape(value.shape)
        values[name] = _rigid_again(mean) if name in _POSES else mean
    return Part(values)


def seconds_needed(first: Part, second: Part, frame: int) -> float:
    """How long it must take at least to go from the one part to the other at a frame, at natural speed."""
    times = [0.0]
    for name, a in first.values.items():
        here, there = a[frame], second.values[name][frame]
        if name in _POSES:
            relative = rigid_inverse(here) @ there
            turn = float(matrix_to_axis_angle(relative[None, :3, :3].contiguous()).norm())
            times += [turn / NATURAL_SPEED["turn"], float(relative[:3, 3].norm()) / NATURAL_SPEED["shift"]]
        else:
            speed = NATURAL_SPEED["turn" if name.endswith("_pose") else "weight"]
            times.append(float((there - here).abs().max()) / speed)
    return 1.5 * max(times)  # a smooth step is 1.5 times as fast in its middle


def _rigid_again(mean: Tensor) -> Tensor:
    """[T, 4, 4] means of poses with their rotations made rotations again."""
    u, _, vt = torch.linalg.svd(mean[:, :3, :3])
    return rigid(u @ vt, mean[:, :3, 3])
