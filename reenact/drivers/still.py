"""A still face: an expression by its name, or transplanted from a frame of a track, at any pose of the head."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from reenact.drivers import Driving
from reenact.drivers.track import TrackDriver
from reenact.emotion.directions import read_direction
from reenact.emotion.layer import add_emotion, perform
from reenact.torso import NECK_PIVOT
from studio.code_range import measure_range
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import content_hash
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

_STEEPEST = 80.0  # degrees to any side
_LONG = 60.0  # seconds by which an action begins before and ends after: it is at its height throughout


@dataclass(frozen=True)
class StillDriver:
    """One state, held. Pose and expression are set apart.

    Args:
        source: a track folder, or a capture with a track, from which a frame is transplanted; a face at rest without.
        frame: which frame of it.
        do: an expression or action in plain words, on top: "joy 60%", "brows up"; see ``reenact.emotion.directions``.
        yaw: degrees that the head is turned to its left; as in the frame when none of the three is given.
        pitch: degrees upwards.
        roll: degrees to the left shoulder.
        seconds: how long it is held.
        fps: frames per second.
    """

    source: Path | None = None
    frame: int = 0
    do: str = ""
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    seconds: float = 0.04
    fps: float = 25.0
    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        """Make the state. Raises StudioError when there is no such frame, or a pose no neck can take."""
        frames = round(self.seconds * self.fps)
        if frames < 1:
            raise StudioError("nothing to show", got=f"{self.seconds} s at {self.fps} frames/s", expected="a frame")
        state, rest, parents = self._base()
        angles = (self.yaw, self.pitch, self.roll)
        if any(angle is not None for angle in angles):
            state = turned(state, rest, *(angle or 0.0 for angle in angles))
        told = f"still: frame {self.frame} of {self.source.name}" if self.source else "still: at rest"
        track = CodeTrack(state[[0] * frames], self.fps, torch.ones(frames, dtype=torch.bool), {"expression": told})
        if self.do:
            actions = [replace(item, start=-_LONG, end=_LONG) for item in read_direction(self.do, 1.0)]
            track = add_emotion(track, perform(actions, frames, self.fps), torch.zeros(frames))
            track = replace(track, provenance={"expression": f"{told}, {self.do}"})
        return Driving(track, parents=parents or {"still": self.do or "at rest"}, rest=rest)

    def _base(self) -> tuple[Codes, Codes, dict[str, str]]:
        """The state [1], how whoever shows it rests, and where it comes from."""
        if self.source is None:
            return Codes.neutral(ARKIT52, (1,)), Codes.neutral(), {}
        if not self.source.exists():
            raise StudioError(f"no such track: {self.source}", expected="a track folder, or a capture with a track")
        driving = TrackDriver(self.source).drive()
        if not 0 <= self.frame < len(driving.track):
            raise StudioError(
                f"{self.source} has no such frame", got=self.frame, expected=f"0 to {len(driving.track) - 1}"
            )
        rest = measure_range(driving.track).neutral
        parents = dict(driving.parents) or {self.source.name: content_hash(self.source)}
        return driving.track.codes[[self.frame]], rest, parents


def turned(state: Codes, rest: Codes, yaw: float, pitch: float, roll: float) -> Codes:
    """A state [1] whose head is turned from its rest by angles in degrees, about the neck; the torso stays."""
    if max(abs(yaw), abs(pitch), abs(roll)) > _STEEPEST:
        raise StudioError(
            "no neck turns so far", got=f"{yaw:g}, {pitch:g}, {roll:g}", expected=f"at most {_STEEPEST:g} degrees"
        )
    left, up, side = (math.radians(angle) for angle in (yaw, pitch, roll))
    axes = torch.tensor([[0.0, left, 0.0], [-up, 0.0, 0.0], [0.0, 0.0, side]])  # as they are applied, the last first
    rotation = torch.linalg.multi_dot(list(axis_angle_to_matrix(axes)))[None]
    pivot = torch.tensor(NECK_PIVOT)
    neck = axis_angle_to_matrix(rest.neck_pose[None]) @ rotation
    return replace(
        state,
        neck_pose=matrix_to_axis_angle(neck),
        neck_translation=rest.neck_translation[None].clone(),
        head_to_world=rest.head_to_world[None] @ rigid(rotation, pivot - rotation @ pivot),
    )


DRIVER = StillDriver
