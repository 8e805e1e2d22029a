"""Synthesised speech: where its sound and its mouth shapes are, and that they are at the same time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from capture.synthetic.articulation import articulate
from capture.synthetic.phones import DOMINANCE, PHONES, SENTENCES, VISEMES, schedule
from capture.synthetic.speech import synthesise
from studio.codes import ARKIT52
from studio.errors import StudioError


def channel(curves: np.ndarray, name: str) -> np.ndarray:
    return curves[:, ARKIT52.index(name)]


def spectral_peak(samples: np.ndarray, rate: int, low: float, high: float) -> float:
    """Frequency of the greatest energy between two frequencies."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    band = (frequency >= low) & (frequency <= high)
    smooth = np.convolve(spectrum, np.hanning(61), mode="same")
    return float(frequency[band][smooth[band].argmax()])


def test_every_phone_has_a_shape_and_every_sentence_only_phones() -> None:
    assert {phone.viseme for phone in PHONES.values()} == set(VISEMES)
    assert set(DOMINANCE) <= set(VISEMES)
    assert all(phone.glide is None or phone.glide in PHONES for phone in PHONES.values())
    for text in SENTENCES.values():
        timed = schedule(text, 1.0, 3.0)
        assert timed[0].start == 1.0
        assert timed[-1].end == pytest.approx(3.0)
        assert all(a.end == b.start for a, b in pairwise(timed))


def test_a_sentence_that_is_not_in_arpabet_is_refused() -> None:
    with pytest.raises(StudioError, match="not written in ARPAbet; got HELLO; expected SIL AA"):
        schedule("HELLO AA", 0, 1)


@pytest.mark.parametrize("vowel", ["IY", "AA", "UW"])
def test_a_long_vowel_has_its_formants(vowel: str) -> None:
    audio = synthesise(schedule(vowel, 0.1, 0.9), 1.0, pitch=100.0)
    steady = audio.samples[audio.rate // 4 : 3 * audio.rate // 4, 0]
    first, second, _ = PHONES[vowel].formants
    assert spectral_peak(steady, audio.rate, 150, 0.5 * (first + second)) == pytest.approx(first, abs=110)
    assert spectral_peak(steady, audio.rate, 0.5 * (first + second), second + 500) == pytest.approx(second, abs=160)


def test_it_is_silent_where_nothing_is_said_and_the_same_at_every_call() -> None:
    timed = schedule(SENTENCES["boat"], 0.5, 2.5)
    audio = synthesise(timed, 3.0, seed=3)
    assert audio.duration == pytest.approx(3.0)
    level = np.abs(audio.samples[:, 0])
    assert level[: int(0.45 * audio.rate)].max() < 0.01 * level.max()
    assert level[int(2.6 * audio.rate) :].max() < 0.01 * level.max()
    assert np.array_equal(audio.samples, synthesise(timed, 3.0, seed=3).samples)


def test_friction_is_high_and_voice_is_low() -> None:
    audio = synthesise(schedule("S", 0.1, 0.5), 0.6), synthesise(schedule("M", 0.1, 0.5), 0.6)
    peaks = [spectral_peak(item.samples[4000:11000, 0], item.rate, 60, 10000) for item in audio]
    assert peaks[0] > 4500
    assert peaks[1] < 500


def test_lips_close_for_m_while_it_sounds_and_open_for_the_vowel() -> None:
    times = np.arange(0, 1.2, 0.01)
    timed = schedule("AA M AA", 0.2, 1.0)
    curves = articulate(timed, times)
    nasal = (times > timed[1].start) & (times < timed[1].end)
    first = (times > timed[0].start + 0.05) & (times < timed[0].end - 0.12)
    assert channel(curves, "jawOpen")[nasal].max() < 0.02
    assert channel(curves, "mouthPressLeft")[nasal].max() > 0.25
    assert channel(curves, "jawOpen")[first].max() > 0.35
    assert np.abs(curves[times < 0.05]).max() < 0.05
    assert curves.min() >= 0
    assert curves.max() <= 1


def test_curves_are_smooth_and_follow_a_shift_in_time_exactly() -> None:
    times = np.arange(0, 3, 1 / 60)
    early, late = (articulate(schedule(SENTENCES["voice"], s, s + 2.2), times + s) for s in (0.2, 0.7))
    assert np.allclose(early, late, atol=1e-9)
    assert np.abs(np.diff(early, axis=0)).max() < 0.25  # of the range, in a sixtieth of a second
