"""What synthetic subjects do: smooth, in range, with everything that a test needs in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from capture.synthetic.script import NECK_PIVOT, SEGMENTS, UNSEEN_SEGMENTS, perform
from studio.codes import ARKIT52
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid, rigid_inverse, transform_points


def test_a_mixed_script_shows_every_segment_and_then_speaks() -> None:
    played = perform("mixed", 300, 25.0, seed=1)
    names = list(dict.fromkeys(played.segments))
    assert names == [*SEGMENTS, *UNSEEN_SEGMENTS, "sentence"]
    unseen = {name for name, new in zip(played.segments, played.unseen, strict=True) if new}
    assert unseen == {*UNSEEN_SEGMENTS, "sentence"}
    assert 0.1 < played.unseen.mean() < 0.35
    assert played.phones[0].start >= 0.6 * 12
    assert played.audio.duration == pytest.approx(12.0, abs=1e-3)
    weights = played.codes.expression
    assert weights.min() >= 0
    assert weights.max() <= 1
    used = weights.amax(0) > 0.15
    never = {name for name, seen in zip(ARKIT52.channels, used.tolist(), strict=True) if not seen}
    assert never <= {"mouthClose", "jawForward", "mouthShrugUpper", "tongueOut"}


def test_motion_is_smooth_and_blinks_shut_the_eyes_for_a_frame() -> None:
    played = perform("sentence", 250, 50.0, seed=4)
    weights = played.codes.expression
    fast = [index for index, name in enumerate(ARKIT52.channels) if name.startswith(("eyeBlink", "eyeLook"))]
    slow = np.setdiff1d(np.arange(len(ARKIT52)), fast)
    assert weights[:, slow].diff(dim=0).abs().max() < 0.3
    assert weights[:, ARKIT52.index("eyeBlinkLeft")].max() == 1
    assert played.codes.neck_pose.diff(dim=0).norm(dim=1).max() < 0.02
    assert played.codes.neck_pose.norm(dim=1).max() > 0.05


def test_the_head_turns_on_a_torso_that_stays() -> None:
    codes = perform("expressions", 100, 25.0, seed=2).codes
    pivot = torch.tensor(NECK_PIVOT)
    back = axis_angle_to_matrix(-codes.neck_pose)
    torso = codes.head_to_world @ rigid(back, pivot - back @ pivot)
    assert torch.allclose(torso[:, :3, :3], torch.eye(3).expand(100, 3, 3), atol=1e-5)
    moved = transform_points(torso, pivot[None])[:, 0] - pivot
    assert moved.norm(dim=1).max() < 0.03
    assert torch.allclose(rigid_inverse(torso) @ torso, torch.eye(4).expand(100, 4, 4), atol=1e-5)


def test_a_clap_is_heard_at_the_very_frame_that_shows_it() -> None:
    played = perform("claps", 120, 30.0, seed=0)
    shown = torch.nonzero(played.codes.expression[:, ARKIT52.index("jawOpen")] > 0.5)[:, 0].numpy()
    loud = np.flatnonzero(np.abs(played.audio.samples[:, 0]) > 0.5) / played.audio.rate
    heard = loud[np.flatnonzero(np.diff(loud, prepend=-1) > 0.5)]
    assert len(shown) == 4
    assert np.abs(shown / 30.0 - heard).max() < 1e-3


def test_the_same_seed_plays_the_same_and_another_does_not() -> None:
    first, again, other = (perform("mixed", 40, 12.0, seed) for seed in (5, 5, 6))
    assert torch.equal(first.codes.vector(), again.codes.vector())
    assert not torch.equal(first.codes.vector(), other.codes.vector())


def test_an_unknown_script_is_refused() -> None:
    with pytest.raises(StudioError, match="unknown script; got dance; expected mixed"):
        perform("dance", 10, 25.0, 0)
