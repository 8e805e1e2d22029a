"""A subject's own mouth: found from its sound, kept to what was recorded, refused where too little is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.synthetic.phones import schedule, usual_seconds
from capture.synthetic.speech import synthesise
from reenact.audio.adapter import MOUTH_CHANNELS, _mixture, learn_adapter, own_lag
from reenact.audio.articulation import codes_of, movements
from reenact.audio.features import RATE
from reenact.audio.listen import hear_all
from studio.codes import ARKIT52
from studio.errors import StudioError

FPS = 25.0
_JAW = ARKIT52.index("jawOpen")


@pytest.fixture(scope="module")
def recorded() -> tuple[np.ndarray, np.ndarray]:
    """Twelve seconds of speech, and a mouth that makes it in its own way, 80 ms late."""
    rng = np.random.default_rng(2)
    names = ["AA", "P", "IY", "M", "UW", "S", "AE", "B", "OW", "T", "EH", "F", "SIL"]
    text = " ".join(rng.choice(names, 110))
    seconds = usual_seconds(text)
    phones = schedule(text, 0.0, seconds)
    samples = synthesise(phones, seconds).resampled(RATE).samples[:, 0]
    times = np.arange(int(seconds * FPS)) / FPS - 0.08
    own = 0.5 * codes_of(movements(phones, times))
    own[:, ARKIT52.index("mouthLeft")] = 0.1 + 0.3 * own[:, _JAW]
    return samples, own


def test_learns_a_mouth_and_its_lag(recorded):
    samples, own = recorded
    split = int(0.75 * len(own))
    adapter = learn_adapter(samples[: round(split / FPS * RATE)], own[:split], FPS)
    assert adapter.lag == pytest.approx(0.08, abs=0.045)
    heard = hear_all(samples)
    codes = adapter.codes(adapter.reduced(heard.hidden), heard.moved, np.arange(len(own)) / FPS - adapter.lag)
    late = slice(split, None)
    assert np.corrcoef(codes[late, _JAW], own[late, _JAW])[0, 1] > 0.6
    resting = np.abs(own[:split].mean(0) - own[late]).mean()
    assert np.abs(codes[late] - own[late]).mean() < 0.8 * resting
    mouth = [ARKIT52.index(name) for name in MOUTH_CHANNELS]
    assert (codes[:, mouth] <= own[:split, mouth].max(0) + 1e-9).all()
    assert not np.delete(codes, mouth, axis=1).any()


def test_no_lag_is_claimed_where_none_stands_out(recorded):
    samples, own = recorded
    noise = np.random.default_rng(0).random(own.shape)
    assert own_lag(hear_all(samples), noise, FPS) == 0.0


@given(st.integers(0, 1000))
def test_a_mixture_is_a_weighted_mean_and_closest(seed):
    rng = np.random.default_rng(seed)
    near = rng.normal(size=(5, 8))
    weights = rng.random(5)
    inside = weights / weights.sum() @ near
    assert np.allclose(_mixture(near, inside), inside, atol=0.05)
    shift = rng.normal(size=8)
    assert np.allclose(_mixture(near + shift, inside + shift), _mixture(near, inside) + shift)


def test_too_little_or_silent_is_one_line():
    with pytest.raises(StudioError, match="too little speech"):
        learn_adapter(np.ones(RATE), np.zeros((25, 52)), FPS)
    with pytest.raises(StudioError, match="silent"):
        learn_adapter(np.zeros(6 * RATE), np.zeros((150, 52)), FPS)
