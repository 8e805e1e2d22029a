"""How well a mouth speaks: visemes against timed phones, closures, stillness, and opening against a tracked mouth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfiltfilt

from capture.synthetic.phones import TimedPhone
from reenact.audio.articulation import bilabial_spans
from reenact.audio.phones import NAMES, SILENCE, VISEME_OF, VISEMES

_STEP = 0.01  # seconds between judged moments
_BAND = (0.7, 6.0)  # Hz in which mouths and voices move together
_SLACK = 0.04  # seconds by which a closure may be early or late
_LEAST = 1e-4  # probability below which all are alike
_CLOSED = 0.7  # of the movement ``close``, from which lips touch


def viseme_track(phones: Sequence[TimedPhone], seconds: float) -> np.ndarray:
    """Index into ``VISEMES`` at every 10 ms, from 5 ms on: [T]."""
    result = np.full(int(seconds / _STEP), VISEMES.index("sil"))
    moments = (np.arange(len(result)) + 0.5) * _STEP
    for item in phones:
        result[slice(*np.searchsorted(moments, (item.start, item.end)))] = VISEMES.index(VISEME_OF[item.name])
    return result


def heard_visemes(
    probabilities: np.ndarray,  # [T, NAMES]
    rate: float,  # of T, in a second
    seconds: float,
) -> np.ndarray:
    """The most probable viseme at every 10 ms, from 5 ms on; log probabilities are linear in between."""
    groups = np.stack(
        [probabilities[:, [VISEME_OF[name] == viseme for name in NAMES]].sum(1) for viseme in VISEMES], axis=1
    )
    moments = (np.arange(int(seconds / _STEP)) + 0.5) * _STEP * rate
    places, scores = np.arange(len(groups)), np.log(groups + _LEAST)
    return np.stack([np.interp(moments, places, score) for score in scores.T], axis=1).argmax(1)


@dataclass(frozen=True)
class VisemeScore:
    """Agreement by 10-ms frames.

    Args:
        all: share of frames with the right viseme, silence included.
        speech: the same over frames in which the truth is no silence.
        bilabial: share of the true P, B, M frames that were called so.
    """

    all: float
    speech: float
    bilabial: float


def viseme_score(guess: np.ndarray, truth: np.ndarray) -> VisemeScore:  # [T] each
    """Compare two tracks of visemes."""
    length = min(len(guess), len(truth))
    guess, truth = guess[:length], truth[:length]
    right, said, lips = guess == truth, truth != VISEMES.index("sil"), truth == VISEMES.index("PP")
    return VisemeScore(
        *(float(right[chosen].mean()) if chosen.any() else float("nan") for chosen in (said | ~said, said, lips))
    )


@dataclass(frozen=True)
class ClosureScore:
    """Lips against the P, B, M that were said.

    Args:
        recall: share of these sounds in which, 40 ms early or late, the lips touch.
        false_share: share of the remaining time in which they touch, pauses left out.
    """

    recall: float
    false_share: float


def closure_score(
    phones: Sequence[TimedPhone],
    times: np.ndarray,  # [T] seconds
    close: np.ndarray,  # [T] the movement ``close``
) -> ClosureScore:
    """Compare closures with the phones that need them."""
    spans = bilabial_spans(phones)
    shut = close > _CLOSED
    near = np.zeros(len(times), dtype=bool)
    hits = []
    for start, end in spans:
        inside = (times >= start - _SLACK) & (times <= end + _SLACK)
        near |= (times >= start - 2 * _SLACK) & (times <= end + 2 * _SLACK)
        hits.append(bool((shut & inside).any()))
    said = np.zeros(len(times), dtype=bool)
    for item in phones:
        if item.name != SILENCE:
            said |= (times >= item.start) & (times < item.end)
    other = said & ~near
    return ClosureScore(
        float(np.mean(hits)) if hits else float("nan"), float(shut[other].mean()) if other.any() else 0.0
    )


def band_passed(curve: np.ndarray, rate: float) -> np.ndarray:  # [T] at ``rate`` a second
    """The part of a movement between 0.7 and 6 Hz, which speech makes; no shift in time."""
    return sosfiltfilt(butter(2, _BAND, "bandpass", fs=rate, output="sos"), curve)


def lagged_correlation(
    guess: np.ndarray,  # [T]
    truth: np.ndarray,  # [T]
    rate: float,
    lags: np.ndarray,  # seconds by which the truth is later than the guess
) -> np.ndarray:
    """Pearson correlation, band-passed, at each lag."""
    length = min(len(guess), len(truth))
    first, second = band_passed(guess[:length], rate), band_passed(truth[:length], rate)
    result = []
    for shift in np.rint(np.asarray(lags) * rate).astype(int):
        a, b = (first[: length - shift], second[shift:]) if shift >= 0 else (first[-shift:], second[:shift])
        result.append(float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0)
    return np.array(result)
