"""How far sound and picture are apart, by two estimators of what the voice does to a mouth, each with its null.

Everything is compared between 0.7 and 6 Hz, where mouths move. A lag counts only when it beats 95 % of the lags that
the same clip gives when its sound is shifted round by seconds, and is only told when both estimators agree: at zero lag
even good clips correlate anywhere between -0.3 and 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfiltfilt

from reenact.mouth import lip_gap
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio

_BAND = (0.7, 6.0)
_VOICE = (300.0, 3400.0)
_MOST = 0.4  # seconds of lag that are tried
_RATE = 100.0  # curves are compared at so many values a second
_SHIFTS = 60
_LEAST_SHIFT = 1.0  # seconds, of the null
_AGREE = 0.045  # seconds
_LEAST_SECONDS = 3.0


@dataclass(frozen=True)
class Offset:
    """What one estimator finds.

    Args:
        lag: seconds that the mouth is late.
        r: correlation at that lag.
        null: the 95th percentile of the best correlation with shifted sound.
    """

    lag: float
    r: float
    null: float

    @property
    def counts(self) -> bool:
        """Whether it is more than chance."""
        return self.r > self.null


def voice_envelope(audio: Audio) -> np.ndarray:
    """[N] at 100 a second: the square root of the loudness between 300 and 3400 Hz."""
    samples = audio.resampled(16_000).samples.mean(1).astype(np.float64)
    if len(samples) < 1600:
        raise StudioError("a sound is too short", got=f"{audio.duration:.2f} s", expected=f"{_LEAST_SECONDS} s")
    voice = sosfiltfilt(butter(4, _VOICE, "bandpass", fs=16_000, output="sos"), samples)
    hop = round(16_000 / _RATE)
    count = len(voice) // hop
    loud: np.ndarray = np.sqrt(np.sqrt((voice[: count * hop].reshape(count, hop) ** 2).mean(1)))
    return loud


def find_offset(track: CodeTrack, curve: np.ndarray, seed: int = 0) -> Offset | None:
    """The lag at which the mouth's opening follows a curve of the voice; None where either is too short or still.

    Args:
        track: the motion.
        curve: [N] at 100 a second, from the first frame on.
        seed: of the shifts of the null.
    """
    mouth = _opening(track)
    count = min(len(mouth), len(curve))
    if count < _LEAST_SECONDS * _RATE:
        return None
    a, b = _banded(mouth[:count]), _banded(np.asarray(curve[:count], np.float64))
    if a.std() < 1e-9 or b.std() < 1e-9:
        return None
    lag, r = _best(a, b)
    rng = np.random.default_rng(seed)
    low = round(_LEAST_SHIFT * _RATE)
    shifts = rng.integers(low, max(count - low, low + 1), _SHIFTS)
    null = np.quantile([_best(a, np.roll(b, shift))[1] for shift in shifts], 0.95)
    return Offset(lag / _RATE, r, float(null))


def offsets(
    track: CodeTrack, audio: Audio, jaw: Callable[[Audio], np.ndarray] | None = None
) -> dict[str, float | str | None]:
    """Figures of both estimators, and the lag when they agree and beat chance.

    Args:
        track: the motion.
        audio: its sound, from the first frame on.
        jaw: the second estimator: how far a jaw is open [N] at 100 a second, from phones that are recognised; it is not
            measured when not given.
    """
    found = {"envelope": find_offset(track, voice_envelope(audio))}
    if jaw is not None:
        found["phones"] = find_offset(track, jaw(audio))
    figures: dict[str, float | str | None] = {}
    for name, offset in found.items():
        figures[f"A/V lag by {name}, s"] = None if offset is None else offset.lag
        figures[f"A/V r by {name}"] = None if offset is None else offset.r
        figures[f"A/V r by {name}, shuffled (p95)"] = None if offset is None else offset.null
    sure = [item for item in found.values() if item is not None and item.counts]
    if jaw is None:
        figures["A/V lag by phones, s"] = "not measured"
    agreed = len(sure) == 2 and abs(sure[0].lag - sure[1].lag) <= _AGREE
    figures["A/V lag, s"] = float(np.mean([item.lag for item in sure])) if agreed else "not measured"
    return figures


def _opening(track: CodeTrack) -> np.ndarray:
    gap = lip_gap(track.codes).double().numpy()
    times = np.arange(0, len(track) / track.fps, 1 / _RATE)
    moved: np.ndarray = np.interp(times, np.arange(len(track)) / track.fps, gap)
    return moved


def _banded(values: np.ndarray) -> np.ndarray:
    passed: np.ndarray = sosfiltfilt(butter(2, _BAND, "bandpass", fs=_RATE, output="sos"), values)
    return passed


def _best(mouth: np.ndarray, voice: np.ndarray) -> tuple[int, float]:
    """The lag (values, positive: the mouth is late) of the highest correlation, and that."""
    most = round(_MOST * _RATE)
    best = (0, -1.0)
    for lag in range(-most, most + 1):
        a, b = (mouth[lag:], voice[: len(voice) - lag]) if lag >= 0 else (mouth[:lag], voice[-lag:])
        a, b = a - a.mean(), b - b.mean()
        r = float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-12))
        if r > best[1]:
            best = (lag, r)
    return best
