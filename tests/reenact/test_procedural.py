"""Procedural life: statistics as in the literature, in time with a voice, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reenact.drivers.procedural import ProceduralDriver
from reenact.gaze import gaze_directions
from reenact.procedural import ProceduralConfig, Prosody, blink_times, breathing, closed_lids, gaze_targets, procedural
from reenact.torso import torso_to_world
from studio.codes import ARKIT52, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio, write_wav

RATE = 16_000


def _phrases(seconds: float = 30.0) -> Audio:
    """Phrases of 1.6 s with pauses of 0.6 s, in syllables of 5 Hz."""
    times = np.arange(round(seconds * RATE)) / RATE
    loud = ((times % 2.2) < 1.6) * (0.55 + 0.45 * np.sin(2 * np.pi * 5 * times))
    return Audio((0.3 * loud * np.sin(2 * np.pi * 150 * times)).astype(np.float32)[:, None], RATE)


def _channel(track: CodeTrack, name: str) -> np.ndarray:
    values: np.ndarray = track.codes.expression[:, ARKIT52.index(name)].numpy()
    return values


def test_the_same_seed_is_the_same_to_the_bit_and_another_is_not() -> None:
    first, second = (procedural(100, 25.0, ProceduralConfig(seed=4)) for _ in range(2))
    other = procedural(100, 25.0, ProceduralConfig(seed=5))
    for name, value in first.codes.tensors().items():
        assert torch.equal(value, second.codes.tensors()[name]), name
    assert not torch.equal(first.codes.expression, other.codes.expression)
    assert set(first.provenance.values()) == {"procedural"}


def test_a_longer_clip_begins_like_a_shorter_one() -> None:
    short, long = procedural(150, 25.0), procedural(400, 25.0)
    assert torch.allclose(short.codes.head_to_world, long.codes.head_to_world[:150], atol=1e-6)
    assert torch.allclose(short.codes.expression, long.codes.expression[:150], atol=1e-5)


@pytest.mark.parametrize(("rate", "expected"), [(None, 17.0), (30.0, 30.0)])
def test_rate_of_blinks(rate: float | None, expected: float) -> None:
    none = np.zeros((0, 2))
    counts = [len(blink_times(600, rate, none, np.zeros((1, 3)), np.random.default_rng(seed))) for seed in range(8)]
    assert np.mean(counts) / 10 == pytest.approx(expected, rel=0.12)
    intervals = np.diff(blink_times(3000, rate, none, np.zeros((1, 3)), np.random.default_rng(0)))
    assert intervals.min() >= 0.44
    assert 0.35 < np.log(intervals).std() < 0.65  # log-normal, as people's are
    assert not len(blink_times(60, 0.0, none, np.zeros((1, 3)), np.random.default_rng(0)))


def test_blinks_come_with_pauses_of_speech() -> None:
    pauses = Prosody.of(_phrases(120), 3000, 25.0).pauses
    assert len(pauses) > 40
    assert np.allclose(np.diff(pauses[:, 0]), 2.2, atol=0.05)

    def near(moments: np.ndarray) -> float:
        return float(np.mean([np.abs(pauses[:, 0] + 0.05 - moment).min() < 0.06 for moment in moments]))

    generators = [np.random.default_rng(seed) for seed in (0, 0)]
    tied = near(blink_times(120, 26.0, pauses, np.zeros((1, 3)), generators[0]))
    free = near(blink_times(120, 26.0, np.zeros((0, 2)), np.zeros((1, 3)), generators[1]))
    assert tied > 0.25
    assert tied > 2 * free


@pytest.mark.parametrize("fps", [24.0, 25.0, 60.0])
def test_every_blink_closes_and_lasts_as_long_as_one(fps: float) -> None:
    times = np.arange(round(4 * fps)) / fps
    closed = closed_lids(times, np.array([1.013, 2.507]))
    assert closed[(times > 0.8) & (times < 1.4)].max() > 0.98
    assert closed[(times > 2.3) & (times < 2.9)].max() > 0.98
    assert 0.1 < (closed > 0.5).sum() / fps / 2 < 0.3
    assert closed[0] == closed[-1] == 0


def test_gaze_rests_mostly_on_the_camera_and_jumps() -> None:
    rows = gaze_targets(600, np.random.default_rng(0), speaking=True)
    moments = np.append(rows[:, 0], 600)
    stays = np.diff(moments)
    at_camera = np.hypot(rows[:, 1], rows[:, 2]) < np.radians(2.5)
    assert 0.5 < stays[at_camera].sum() / 600 < 0.85
    assert np.abs(rows[:, 1:]).max() <= 0.4
    track = procedural(1000, 50.0, ProceduralConfig(head=0.0, breath=0.0))
    angle = np.arctan2(*gaze_directions(track.codes)[:, 0, [0, 2]].T.numpy())
    speed = np.abs(np.diff(angle)) * 50
    assert speed.max() > np.radians(80)  # saccades
    assert np.median(speed) < np.radians(1)  # fixations


def test_eyes_stay_on_the_camera_while_the_head_moves() -> None:
    track = procedural(500, 25.0, ProceduralConfig(seed=2, gaze=0.0))
    world = (track.codes.head_to_world[:, None, :3, :3] @ gaze_directions(track.codes)[..., None])[..., 0]
    assert float(torch.acos(world[..., 2].clamp(-1, 1)).max()) < 0.01


def test_breath() -> None:
    times = np.arange(0, 120, 0.04)
    values = breathing(times, np.random.default_rng(1))
    rises = ((values[1:] > 0) & (values[:-1] <= 0)).sum() / 2
    assert 11 < rises < 17
    assert np.abs(np.diff(values)).max() < 0.12


def test_the_head_moves_with_the_voice_and_the_torso_does_not() -> None:
    quiet = procedural(750, 25.0, ProceduralConfig(breath=0.0))
    spoken = procedural(750, 25.0, ProceduralConfig(breath=0.0), _phrases())

    def power(track: CodeTrack, low: float, high: float) -> float:
        spectrum = np.abs(np.fft.rfft(track.codes.neck_pose.numpy(), axis=0)) ** 2
        rates = np.fft.rfftfreq(len(track), 1 / track.fps)
        return float(spectrum[(rates > low) & (rates < high)].sum())

    assert power(spoken, 0.9, 2.1) > 5 * power(quiet, 0.9, 2.1)
    assert power(spoken, 4.0, 12.0) < 0.1 * power(spoken, 0.9, 2.1)
    assert torso_to_world(spoken.codes).diff(dim=0).abs().max() < 1e-3
    assert spoken.codes.neck_pose.abs().max() < 0.3


def test_silence_is_as_no_sound_at_all() -> None:
    silent = Audio(np.zeros((RATE, 1), np.float32), RATE)
    assert torch.equal(procedural(50, 25.0, voice=silent).codes.expression, procedural(50, 25.0).codes.expression)


def test_driver(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", _phrases(4.0))
    driving = ProceduralDriver(tmp_path / "a.wav").drive()
    assert len(driving.track) == 100
    assert driving.rest is not None
    assert len(ProceduralDriver(seconds=2.0, fps=30.0).drive().track) == 60
    with pytest.raises(StudioError, match="nothing to make"):
        ProceduralDriver(seconds=0.0).drive()
    with pytest.raises(StudioError, match="impossible strength gaze"):
        ProceduralConfig(gaze=-1)
