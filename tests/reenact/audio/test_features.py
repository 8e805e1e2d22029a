"""What the network hears: pieces give what the whole gives, level and channel cancel, pitch is pitch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact.audio.augment import degrade, stretched
from reenact.audio.features import BANDS, HOP, RATE, SIZE, Features, features_of


def voice(seconds: float = 1.5, pitch: float = 140.0) -> np.ndarray:
    """Pulses through one resonance, on for a third of a second, off for as long."""
    times = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * pitch * k * times) / (1 + abs(k * pitch - 700) / 200) for k in range(1, 30))
    return 0.05 * tone * ((3 * times) % 2 < 1)


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_pieces_of_any_size_give_what_the_whole_gives(sizes):
    sound = voice()
    maker, parts, place = Features(), [], 0
    for size in sizes:
        parts.append(maker.push(sound[place : place + size]))
        place += size
    parts += [maker.push(sound[place:]), maker.flush()]
    assert np.array_equal(np.concatenate(parts), features_of(sound))


def test_one_frame_for_every_ten_milliseconds():
    assert features_of(voice(1.0)).shape == (101, SIZE)
    assert features_of(np.zeros(0)).shape == (1, SIZE)
    assert features_of(np.zeros(HOP)).dtype == np.float32


def test_level_cancels_once_it_was_heard():
    sound = np.tile(4 * voice() + np.random.default_rng(0).normal(0, 0.03, len(voice())), 16)
    loud, quiet = features_of(sound), features_of(0.1 * sound)
    voiced = (loud[:, BANDS + 1] > 0.8) & (np.arange(len(loud)) > 0.9 * len(loud))
    assert voiced.sum() > 40
    assert np.abs(loud[voiced] - quiet[voiced]).max() < 0.15


def test_silence_is_finite_and_quiet():
    still = features_of(np.zeros(RATE))
    assert np.isfinite(still).all()
    assert still[:, BANDS].max() < -1.0


@pytest.mark.parametrize("pitch", [80.0, 140.0, 310.0])
def test_pitch_and_voicing(pitch):
    features = features_of(voice(0.33, pitch))[5:-8]
    assert features[:, BANDS + 1].min() > 0.7
    assert 150 * 2 ** np.median(features[:, BANDS + 2]) == pytest.approx(pitch, rel=0.03)
    noise = features_of(np.random.default_rng(0).normal(0, 0.1, RATE))
    assert np.median(noise[:, BANDS + 1]) < 0.6


def test_degraded_speech_stays_in_time_and_in_range():
    click = np.zeros(RATE)
    click[8000:8400] = np.sin(np.arange(400) * 0.3)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sound = degrade(click, rng, np.resize(voice(), RATE))
        assert sound.shape == click.shape
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= 1.0
        energy = np.convolve(sound**2, np.ones(400), "same")
        assert abs(int(energy.argmax()) - 8200) < 400


def test_stretching_changes_length_and_pitch_together():
    assert len(stretched(voice(0.3), 1.2)) == pytest.approx(1.2 * len(voice(0.3)), abs=2)
