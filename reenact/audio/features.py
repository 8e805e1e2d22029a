"""What the network hears: log-mel bands, loudness, voicing and pitch, 100 times a second.

Everything is causal but for half a window, and every state is carried from call to call, so that sound in pieces gives
the same numbers as sound as a whole. Levels and channels cancel: the loudness is relative to the speaker's peaks, each
band to its running mean over speech.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.fft import irfft, rfft

RATE = 16_000
HOP = 160  # samples from frame to frame: 10 ms
FRAMES_PER_SECOND = RATE // HOP
_WINDOW = 400  # samples of the spectrum's window
_PITCH_WINDOW = 640  # longer: two periods of the lowest voice
MARGIN = _PITCH_WINDOW // 2  # samples that a frame needs on either side of its moment
BANDS = 64
SIZE = BANDS + 3
_LOWEST, _HIGHEST = 60.0, 7600.0  # Hz
_ECHO_SIZE = 1024  # of the transform: no echo of the window's end reaches the lags
_LAGS = slice(RATE // 420, RATE // 62)  # periods of a voice, in samples
_FLOOR = 1e-5  # power of a band below which is nothing: what 16 bits cannot hold
_QUIET = -12.0  # loudness (natural log of mean power) that peaks never fall below: -52 dB of full scale
_USUAL = -7.0  # peaks of a usual recording: what they are taken for until some were heard
_OCTAVE_COST = 0.03  # of an echo for each octave: a voice also repeats at multiples of its period
_RELEASE = 0.004  # how much the peak level falls in a frame: 1.7 dB a second
_RANGE = 7.0  # loudness below the peaks at which a frame no longer counts as speech: 30 dB
_MEMORY = 300.0  # frames of speech over which a band's mean runs
_PRIOR = 40.0  # frames that the usual spectrum counts for at the beginning


def _usual_spectrum() -> np.ndarray:
    """Log band powers [BANDS] of ordinary speech relative to its peaks, until the speaker's own are known."""
    return np.interp(np.arange(BANDS), [0, 8, 20, 40, 63], [2.0, 3.0, 1.0, -1.5, -3.0])


@dataclass
class Features:
    """Turns sound into features, piece by piece."""

    _samples: np.ndarray = field(default_factory=lambda: np.zeros(MARGIN))
    _peak: float = _USUAL
    _mean: np.ndarray = field(default_factory=_usual_spectrum)
    _weight: float = _PRIOR

    def push(
        self,
        samples: np.ndarray,  # [N] at 16 kHz, -1..1
    ) -> np.ndarray:
        """Features [F, SIZE] of the frames that are now complete; frame k of all is at k * 10 ms."""
        self._samples = np.concatenate((self._samples, np.asarray(samples, dtype=np.float64)))
        count = max((len(self._samples) - 2 * MARGIN) // HOP + 1, 0)
        if not count:
            return np.zeros((0, SIZE), dtype=np.float32)
        starts = np.arange(count) * HOP
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, _PITCH_WINDOW)[starts]
        features = self._normalised(*_spectra(windows))
        self._samples = self._samples[count * HOP :]
        return features

    def flush(self) -> np.ndarray:
        """The frames that only wait for sound that will not come: silence takes its place."""
        return self.push(np.zeros(MARGIN))

    def _normalised(
        self,
        bands: np.ndarray,  # [F, BANDS] log power
        loudness: np.ndarray,  # [F] log power
        voice: np.ndarray,  # [F, 2]
    ) -> np.ndarray:
        result = np.empty((len(bands), SIZE), dtype=np.float32)
        for row, band, level in zip(result, bands, loudness, strict=True):
            self._peak = max(level, self._peak - _RELEASE, _QUIET)
            relative = band - self._peak
            speech = min(max(1.0 + (level - self._peak) / _RANGE, 0.0), 1.0)
            self._weight = min(self._weight + speech, _MEMORY)
            self._mean += (speech / self._weight) * (relative - self._mean)
            row[:BANDS] = relative - self._mean
            row[BANDS] = level - self._peak
        result[:, BANDS + 1 :] = voice
        result[:, : BANDS + 1] = np.clip(result[:, : BANDS + 1], -10.0, 6.0) / 3.0
        return result


def features_of(samples: np.ndarray) -> np.ndarray:  # [N] at 16 kHz -> [F, SIZE]
    """Features of a sound as a whole: one frame for every 10 ms begun."""
    maker = Features()
    return np.concatenate((maker.push(samples), maker.flush()))


def raw_features(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # [N] at 16 kHz
    """Log band powers [F, BANDS], log loudness [F], voicing and pitch [F, 2] (octaves above 150 Hz), as they are."""
    padded = np.pad(np.asarray(samples, dtype=np.float64), MARGIN)
    if len(samples) == 0:
        return np.zeros((0, BANDS)), np.zeros(0), np.zeros((0, 2))
    return _spectra(np.lib.stride_tricks.sliding_window_view(padded, _PITCH_WINDOW)[::HOP])


@lru_cache
def band_frequencies() -> np.ndarray:
    """Centres [BANDS] of the bands in Hz, equally spaced on the mel scale."""
    low, high = 2595 * np.log10(1 + np.array([_LOWEST, _HIGHEST]) / 700)
    return np.asarray(700 * (10 ** (np.linspace(low, high, BANDS + 2)[1:-1] / 2595) - 1))


def _spectra(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log band powers [F, BANDS], log loudness [F], voicing and pitch [F, 2] of windows [F, 640]."""
    side = (_PITCH_WINDOW - _WINDOW) // 2
    middle = windows[:, side : side + _WINDOW] * np.hanning(_WINDOW)
    power = np.abs(rfft(middle, 512, axis=1)) ** 2
    bands = np.log(power @ _filters().T + _FLOOR)
    loudness = np.log((middle**2).mean(1) + 1e-10)
    tapered = (windows - windows.mean(1, keepdims=True)) * np.hanning(_PITCH_WINDOW)
    spectrum = np.abs(rfft(tapered, _ECHO_SIZE, axis=1)) ** 2
    spectrum[:, : _ECHO_SIZE * 60 // RATE] = 0.0
    spectrum[:, _ECHO_SIZE * 1500 // RATE :] = 0.0  # where the harmonics of voices are strong
    echo = irfft(spectrum, axis=1)[:, : _LAGS.stop]
    echo /= np.maximum(echo[:, :1], 1e-9) * _taper()[: _LAGS.stop]
    candidates = echo[:, _LAGS]
    best = (candidates - _OCTAVE_COST * np.log2(np.arange(_LAGS.start, _LAGS.stop))).argmax(1)
    voicing = np.clip(candidates[np.arange(len(best)), best], 0.0, 1.0)
    pitch = np.log2(RATE / (best + _LAGS.start) / 150.0)
    return bands, loudness, np.stack((voicing, pitch * (voicing > 0.5)), axis=1)


@lru_cache
def _taper() -> np.ndarray:
    """Autocorrelation of the window, by which that of a tapered sound falls."""
    echo = irfft(np.abs(rfft(np.hanning(_PITCH_WINDOW), _ECHO_SIZE)) ** 2)
    return echo / echo[0]


@lru_cache
def _filters() -> np.ndarray:
    """Triangular filters [BANDS, 257], equally spaced on the mel scale (2595 log10(1 + f / 700))."""
    low, high = 2595 * np.log10(1 + np.array([_LOWEST, _HIGHEST]) / 700)
    edges = np.linspace(low, high, BANDS + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = np.arange(257) * RATE / 512
    below, centre, above = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    shape = np.minimum((bins - below) / (centre - below), (above - bins) / (above - centre))
    # Low bands are narrower than a bin: each keeps at least the bin next to it.
    nearest = np.zeros_like(shape)
    nearest[np.arange(BANDS), np.rint(hertz[1:-1] / (RATE / 512)).astype(int)] = 0.5
    return np.maximum(np.maximum(shape, 0.0), nearest)
