"""How far sound and lips are apart: two estimators, judged against mouths that move likewise by chance.

Both compare curves between 0.7 and 6 Hz, where speech moves the mouth: the loudness of the voice, and how far the
jaw should be open for the phones that a recogniser hears. A lag counts only where both agree and beat chance: one alone
is wrong too often on clips of a few seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, correlate, sosfiltfilt

from studio.media.audio import Audio

RATE = 100.0  # samples per second of all curves
_BAND = (0.7, 6.0)  # Hz
_VOICE = (300.0, 3400.0)  # Hz
_REACH = 0.6  # seconds
_SURROGATES = 150  # curves of the same spectrum that say what chance gives
_SAME = 0.07  # seconds by which the estimators may differ
_LEAST_SECONDS = 4.0
_SPEECH_RATE = 16000
# How far the jaw is open for a phone, 0..1 (ARPAbet, without stress); what is not listed is in between.
_JAW: dict[str, float] = {
    **dict.fromkeys(("AA", "AE", "AO", "AW", "AY"), 1.0),
    **dict.fromkeys(("AH", "EH", "ER", "EY", "OW", "OY"), 0.7),
    **dict.fromkeys(("IH", "IY", "UH", "UW", "Y", "W", "R", "L", "HH"), 0.45),
    **dict.fromkeys(("D", "DH", "G", "K", "N", "NG", "T", "TH"), 0.3),
    **dict.fromkeys(("CH", "JH", "S", "SH", "Z", "ZH", "F", "V"), 0.15),
    **dict.fromkeys(("B", "M", "P", "SIL", "+SPN+", "+NSN+"), 0.0),
}


@dataclass(frozen=True)
class Lag:
    """What the estimators say of a clip.

    Args:
        each: [E] by how many seconds the sound is later than the lips, by each estimator.
        curves: [E, L] correlations over ``lags``.
        score: the highest of their mean.
        chance: what that reaches in one of a hundred cases with a mouth that moves likewise, but at random.
    """

    each: np.ndarray
    curves: np.ndarray
    score: float
    chance: float

    @property
    def seconds(self) -> float | None:
        """The lag; None where there is one estimator only, where they differ, or where chance would do as well."""
        if len(self.each) < 2 or np.ptp(self.each) > _SAME or self.score <= self.chance:
            return None
        return float(lags()[int(self.curves.mean(0).argmax())])


def lags() -> np.ndarray:
    """[L] seconds of ``Lag.curves``."""
    reach = round(_REACH * RATE)
    return np.arange(-reach, reach + 1) / RATE


def estimate(mouth: np.ndarray, heard: Sequence[np.ndarray]) -> Lag | None:
    """The lag between curves at ``RATE``; None where they are too short or nothing moves.

    Args:
        mouth: [N] how far the mouth is open.
        heard: [N] each: the same as the sound tells it, by several estimators.
    """
    count = min(len(mouth), *(len(curve) for curve in heard))
    if count < _LEAST_SECONDS * RATE:
        return None
    a, *sounds = (_banded(curve[:count]) for curve in (mouth, *heard))
    if min(curve.std() for curve in (a, *sounds)) < 1e-9:
        return None
    curves = np.array([_correlation(a, b) for b in sounds])
    by_chance = [np.mean([_correlation(other, b) for b in sounds], axis=0).max() for other in _surrogates(a)]
    each = lags()[curves.argmax(1)]
    return Lag(each, curves, float(curves.mean(0).max()), float(np.quantile(by_chance, 0.99)))


def _banded(curve: np.ndarray) -> np.ndarray:
    return np.asarray(sosfiltfilt(butter(2, _BAND, "bandpass", fs=RATE, output="sos"), curve))


def _surrogates(curve: np.ndarray) -> Iterator[np.ndarray]:
    """Curves with the spectrum of this one and phases left to chance (Theiler et al. 1992)."""
    rng, spectrum = np.random.default_rng(0), np.abs(np.fft.rfft(curve))
    for _ in range(_SURROGATES):
        phases = np.exp(2j * np.pi * rng.random(len(spectrum)))
        yield np.fft.irfft(spectrum * phases, len(curve))


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of a(t) and b(t + lag) over ``lags``, each over what overlaps."""
    reach, count = round(_REACH * RATE), len(a)
    products = correlate(b, a, "full")[count - 1 - reach : count + reach]
    powers = [np.r_[0.0, np.cumsum(curve**2)] for curve in (a, b)]
    shift = np.arange(-reach, reach + 1)
    first, last = np.maximum(-shift, 0), count - np.maximum(shift, 0)
    size = (powers[0][last] - powers[0][first]) * (powers[1][last + shift] - powers[1][first + shift])
    return np.asarray(products / np.sqrt(np.maximum(size, 1e-18)))


def loudness(sound: Audio) -> np.ndarray:
    """[N] square root of the envelope of the voice's band, at ``RATE``."""
    mono = sound.resampled(_SPEECH_RATE).samples.mean(1).astype(np.float64)
    voice = sosfiltfilt(butter(4, _VOICE, "bandpass", fs=_SPEECH_RATE, output="sos"), mono)
    step = round(_SPEECH_RATE / RATE)
    blocks = np.abs(voice[: len(voice) // step * step]).reshape(-1, step).mean(1)
    return np.sqrt(blocks)


def heard_jaw(sound: Audio) -> np.ndarray | None:
    """[N] how far the jaw should be open, at ``RATE``, by free phone recognition; None without pocketsphinx."""
    try:
        from pocketsphinx import Decoder, get_model_path
    except ImportError:
        return None
    model = get_model_path()
    decoder = Decoder(
        hmm=f"{model}/en-us/en-us",
        allphone=f"{model}/en-us/en-us-phone.lm.bin",
        lm=None,
        lw=2.0,
        beam=1e-20,
        pbeam=1e-20,
        loglevel="FATAL",
    )
    mono = sound.resampled(_SPEECH_RATE).samples.mean(1)
    decoder.start_utt()
    decoder.process_raw((np.clip(mono, -1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    jaw = np.zeros(round(len(mono) / _SPEECH_RATE * RATE))
    for segment in decoder.seg() or ():
        jaw[segment.start_frame : segment.end_frame + 1] = _JAW.get(segment.word.split("(")[0], 0.4)
    kernel = np.hanning(11)
    return np.convolve(jaw, kernel / kernel.sum(), mode="same")
