"""How excited a voice sounds: pitch, its range, spectral tilt, rate and loudness, against the speaker's own baseline.

High arousal raises pitch, widens its range, flattens the spectrum, hastens and loudens speech (Scherer, "Vocal
communication of emotion", 2003; Juslin and Laukka, 2003). Whether a feeling is pleasant hardly shows in these; they
are not asked for it. How much each usually varies within a speaker is ours, all count the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reenact.audio.features import FRAMES_PER_SECOND, band_frequencies, raw_features

# Usual spread of each cue from window to window of one speaker.
_SPREAD: Mapping[str, float] = {"pitch": 2.5, "range": 3.0, "tilt": 3.0, "rate": 1.5, "loudness": 4.0}
_WINDOW, _HOP = 2.5, 0.5  # seconds
_RANGE = 7.0  # natural log of power below the peaks at which a frame no longer counts as speech: 30 dB
_VOICED = 0.6
_ENOUGH = 40  # voiced frames that a window needs
_SURE = 2.0  # spreads from which a cue tells no more


@dataclass(frozen=True)
class Cues:
    """Cues of windows of a recording.

    Args:
        times: [K] seconds, the middles.
        values: by name: pitch (semitones), range (semitones between the 10 and 90 % quantiles), tilt (dB above less
            below 1 kHz), rate (voiced stretches in a second), loudness (dB); [K], NaN where too little is said.
    """

    times: np.ndarray
    values: Mapping[str, np.ndarray]

    def typical(self) -> dict[str, float]:
        """The median of each cue; NaN where nothing is said."""
        return {
            name: float(np.median(kept)) if len(kept := value[~np.isnan(value)]) else float("nan")
            for name, value in self.values.items()
        }


def cues_of(
    samples: np.ndarray,  # [N] at 16 kHz
) -> Cues:
    """The cues of a recording, in windows of 2.5 s."""
    bands, loudness, voice = raw_features(samples)
    spoken = loudness > np.quantile(loudness, 0.95) - _RANGE if len(loudness) else np.zeros(0, bool)
    voiced = spoken & (voice[:, 0] > _VOICED)
    seconds = len(samples) / 16_000
    times = np.arange(min(_WINDOW, seconds) / 2, max(seconds - _WINDOW / 2, 0.0) + _HOP, _HOP)
    rows = []
    for middle in times:
        here = slice(
            max(round((middle - _WINDOW / 2) * FRAMES_PER_SECOND), 0), round((middle + _WINDOW / 2) * FRAMES_PER_SECOND)
        )
        rows.append(_window(bands[here], loudness[here], voice[here, 1], spoken[here], voiced[here]))
    return Cues(times, {name: np.array([row[name] for row in rows]) for name in _SPREAD})


def _window(
    bands: np.ndarray, loudness: np.ndarray, pitch: np.ndarray, spoken: np.ndarray, voiced: np.ndarray
) -> dict[str, float]:
    if voiced.sum() < _ENOUGH:
        return dict.fromkeys(_SPREAD, float("nan"))
    tones, power = 12.0 * pitch[voiced], np.exp(bands[voiced])
    low = band_frequencies() < 1000.0
    tilt = 10 * np.log10(power[:, ~low].sum(1) / power[:, low].sum(1))
    begins = int((np.diff(voiced.astype(int)) == 1).sum())
    return {
        "pitch": float(np.median(tones)),
        "range": float(np.subtract(*np.quantile(tones, (0.9, 0.1)))),
        "tilt": float(np.median(tilt)),
        "rate": begins / (spoken.sum() / FRAMES_PER_SECOND),
        "loudness": float(10 / np.log(10) * np.median(loudness[spoken])),
    }


def arousal_of(
    cues: Cues,
    baseline: Mapping[str, float] | None = None,  # ``typical`` of a calm recording of the same speaker
) -> np.ndarray:
    """Arousal [K] in -1..1 relative to the speaker; NaN where nothing is said.

    Without a baseline it is relative to the recording itself, and 0 on the whole. Loudness is compared within a
    recording only.
    """
    against = baseline or cues.typical()
    used = [name for name in _SPREAD if baseline is None or name != "loudness"]
    scores = [np.clip((cues.values[name] - against[name]) / _SPREAD[name], -_SURE, _SURE) for name in used]
    return np.asarray(np.mean(scores, axis=0) / _SURE)
