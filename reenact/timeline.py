"""Editing tracks in time: cutting a part out, changing the frame rate."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid, slerp


def cut(track: CodeTrack, start: int, stop: int) -> CodeTrack:
    """Frames ``start`` to ``stop`` (exclusive) of a track; the tracker's extras stay behind.

    Raises:
        StudioError: the range is empty or leaves the track.
    """
    if not 0 <= start < stop <= len(track):
        raise StudioError(
            "no such part of the track", got=f"frames {start} to {stop}", expected=f"a range within 0 to {len(track)}"
        )
    return replace(track, codes=track.codes[start:stop], valid=track.valid[start:stop], extras={})


def resample(track: CodeTrack, fps: float) -> CodeTrack:
    """The same motion at another constant frame rate, beginning at the same instant and as long.

    Channels and translations are interpolated linearly, rotations along the shortest arc. A new frame is valid where
    both of its neighbours are.

    Raises:
        StudioError: ``fps`` is not positive.
    """
    if fps <= 0:
        raise StudioError("not a frame rate", got=fps, expected="frames per second above 0")
    if fps == track.fps:
        return track
    count = max(1, round(len(track) * fps / track.fps))
    position = (torch.arange(count, dtype=torch.float64) * track.fps / fps).clamp(max=len(track) - 1)
    before = position.long()
    after = (before + 1).clamp(max=len(track) - 1)
    codes = blend(track.codes[before], track.codes[after], (position - before).float())
    return replace(track, codes=codes, fps=fps, valid=track.valid[before] & track.valid[after], extras={})


def sampled(
    track: CodeTrack,
    times: Tensor,  # [T] seconds of the track
) -> tuple[Codes, Tensor]:
    """States [T] of a track at any times, its ends held, and where [T] it has a valid frame on either side.

    Times on a frame, to a thousandth of one, give that frame as it is.
    """
    position = times.double() * track.fps
    inside = (position > -0.5) & (position < len(track) - 0.5)
    position = position.clamp(0, len(track) - 1)
    position = torch.where((position - position.round()).abs() < 1e-3, position.round(), position)
    before = position.long()
    after = (before + (position > before)).clamp(max=len(track) - 1)
    weight = (position - before).float()
    exact = bool((weight == 0).all())
    codes = track.codes[before] if exact else blend(track.codes[before], track.codes[after], weight)
    return codes, inside & track.valid[before] & track.valid[after]


def blend(
    first: Codes,  # batch [T]
    second: Codes,  # batch [T]
    weight: Tensor,  # [T], 0 gives the first, 1 the second
) -> Codes:
    """States between two: linear in channels and translations, spherical in rotations."""

    def linear(a: Tensor, b: Tensor) -> Tensor:
        return torch.lerp(a, b, weight.reshape(-1, *[1] * (a.ndim - 1)))

    def turned(a: Tensor, b: Tensor) -> Tensor:
        return matrix_to_axis_angle(slerp(axis_angle_to_matrix(a), axis_angle_to_matrix(b), weight))

    return Codes(
        first.space,
        expression=linear(first.expression, second.expression),
        jaw_pose=turned(first.jaw_pose, second.jaw_pose),
        neck_pose=turned(first.neck_pose, second.neck_pose),
        neck_translation=linear(first.neck_translation, second.neck_translation),
        eye_pose=turned(first.eye_pose, second.eye_pose),
        head_to_world=rigid(
            slerp(first.head_to_world[:, :3, :3], second.head_to_world[:, :3, :3], weight),
            linear(first.head_to_world[:, :3, 3], second.head_to_world[:, :3, 3]),
        ),
    )
