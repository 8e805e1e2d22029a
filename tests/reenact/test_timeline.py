"""Cutting and resampling of tracks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reenact.timeline import cut, resample
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid


def _turning(frames: int, fps: float) -> CodeTrack:
    """A head that turns and moves at constant speed while the jaw opens."""
    time = torch.arange(frames) / fps
    turn = torch.stack((torch.zeros_like(time), 0.4 * time, torch.zeros_like(time)), dim=-1)
    codes = Codes.neutral(batch=(frames,)).with_channels(jawOpen=0.2 * time)
    pose = rigid(axis_angle_to_matrix(turn), 0.1 * turn)
    codes = replace(codes, jaw_pose=turn * 0.1, neck_pose=turn * 0.5, head_to_world=pose)
    return CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool))


@pytest.mark.parametrize("fps", [30.0, 25.0, 29.97, 60.0, 12.5])
def test_resampling_keeps_the_motion_in_time(fps: float) -> None:
    resampled = resample(_turning(50, 25.0), fps)
    assert len(resampled) == round(2.0 * fps)
    assert resampled.fps == fps
    expected = _turning(len(resampled), fps)
    inside = [frame for frame in range(len(resampled)) if frame / fps <= 49 / 25]  # beyond, the last state is held
    for name, value in expected.codes[inside].tensors().items():
        assert torch.allclose(resampled.codes[inside].tensors()[name], value, atol=2e-5), name


def test_invalid_frames_stay_invalid() -> None:
    track = _turning(10, 25.0)
    track.valid[4] = False
    assert not resample(track, 50.0).valid[[7, 8, 9]].any()


def test_cut() -> None:
    track = _turning(10, 25.0)
    part = cut(track, 3, 7)
    assert len(part) == 4
    assert torch.equal(part.codes.expression, track.codes.expression[3:7])
    for start, stop in ((5, 5), (-1, 3), (3, 11)):
        with pytest.raises(StudioError, match="expected a range within 0 to 10"):
            cut(track, start, stop)
    with pytest.raises(StudioError, match="not a frame rate"):
        resample(track, 0)
