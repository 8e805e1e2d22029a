"""Which frames are trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.selection import front_camera, select, shuffled, spread
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.errors import StudioError


def test_a_block_in_the_middle_is_set_aside(capture: Capture, track: CodeTrack) -> None:
    chosen = select(capture, track, "train", 0.34)
    assert chosen.timesteps == (0, 1, 4, 5)
    assert chosen.validation == (2, 3)
    assert chosen.validation_keys == [(2, 0), (2, 2), (3, 0), (3, 2)]
    assert set(chosen.keys) == {(t, c) for t in (0, 1, 4, 5) for c in (0, 2)}


def test_frames_that_were_not_tracked_are_left_out(capture: Capture, track: CodeTrack) -> None:
    valid = torch.ones(len(track), dtype=torch.bool)
    valid[1] = False
    assert select(capture, replace(track, valid=valid), "train", 0.0).timesteps == (0, 2, 3, 4, 5)
    with pytest.raises(StudioError, match="nothing to train on"):
        select(capture, replace(track, valid=torch.zeros_like(valid)), "train", 0.0)


def test_rare_frames_are_those_with_the_strongest_expressions(capture: Capture, track: CodeTrack) -> None:
    codes = replace(track.codes, expression=torch.zeros_like(track.codes.expression))
    strong = replace(track, codes=codes.with_channels(jawOpen=torch.tensor([0, 0, 1.0, 0, 0, 0, 0, 0])))
    chosen = select(capture, strong, "train", 0.0)
    assert chosen.rare == {2}
    assert chosen.rare_keys == [(2, 0), (2, 2)]


def test_spread_takes_both_ends_and_shuffled_none_twice() -> None:
    keys = [(t, 0) for t in range(10)]
    assert spread(keys, 4) == [(0, 0), (3, 0), (6, 0), (9, 0)]
    assert spread(keys, 20) == keys
    some = shuffled(keys, 6, torch.Generator().manual_seed(0))
    assert len(set(some)) == 6
    assert set(some) <= set(keys)


def test_the_front_camera_is_the_one_that_the_face_looks_at(capture: Capture, track: CodeTrack) -> None:
    """The middle one of the orbit."""
    assert front_camera(capture, track, (0, 1, 2)) == 1
