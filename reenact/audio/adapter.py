"""A subject's own way of speaking, learned from a capture that has sound: what is heard -> what this mouth does.

Ridge regression from what the network knows around a moment to the subject's mouth codes. Its answer is drawn towards
mouths that the subject has really made (local linear embedding, as GeneFace++ does) and kept within the recorded
quantiles, so that no sound makes a mouth that was never seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reenact.audio.articulation import codes_of
from reenact.audio.listen import Heard, hear_all
from reenact.audio.network import OUTPUTS_PER_SECOND
from reenact.audio.scores import lagged_correlation
from studio.codes import ARKIT52
from studio.errors import StudioError

MOUTH_CHANNELS: tuple[str, ...] = tuple(
    name for name in ARKIT52.channels if name.startswith(("jaw", "mouth")) or name in ("cheekPuff", "tongueOut")
)
_MOUTH = [ARKIT52.index(name) for name in MOUTH_CHANNELS]
_OFFSETS = (-6, -3, -1, 0, 1, 3, 6)  # outputs of the network that are looked at around a moment
_DIRECTIONS = 48  # of the network's features that are kept
_FEATURES = len(_OFFSETS) * _DIRECTIONS
_NEIGHBOURS, _EMBEDDED = 10, 0.2  # mouths that a point is made of, and how far it is drawn to them
_QUANTILES = (0.03, 0.97)
_LEAST_SECONDS = 5.0
_LAGS = np.arange(-0.4, 0.401, 0.02)  # seconds by which a recording's picture may be late


@dataclass(frozen=True)
class Adapter:
    """What was learned of a subject.

    Args:
        basis: [directions, width] of the network's hidden features.
        centre: [width] of these features.
        weights: [offsets * directions + MOVEMENTS + 1, mouth] of the regression.
        mouths: [M, mouth] codes that the subject has made.
        low: [mouth] lower quantile.
        high: [mouth] upper quantile.
        lag: seconds by which the capture's picture is later than its sound.
        seconds: of capture that it was learned from.
    """

    basis: np.ndarray
    centre: np.ndarray
    weights: np.ndarray
    mouths: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lag: float
    seconds: float

    def reduced(self, hidden: np.ndarray) -> np.ndarray:
        """The network's hidden features [T, width] as the adapter uses them: [T, directions]."""
        return ((hidden - self.centre) @ self.basis.T).astype(np.float32)

    def codes(
        self,
        reduced: np.ndarray,  # [N, directions] at 50 Hz
        moved: np.ndarray,  # [N, MOVEMENTS]
        times: np.ndarray,  # [T] seconds
    ) -> np.ndarray:
        """ARKit weights [T, 52] of the subject saying what was heard, in time with the sound."""
        parts = np.array_split(times, len(times) // 5000 + 1)  # bounded memory
        mouths = np.concatenate([_inputs(reduced, moved, part) @ self.weights for part in parts])
        mouths = np.clip(self._embedded(mouths), self.low, self.high)
        result = np.zeros((len(times), len(ARKIT52)))
        result[:, _MOUTH] = mouths
        return result

    def _embedded(self, mouths: np.ndarray) -> np.ndarray:  # [T, mouth]
        """Each drawn towards the best mixture of its nearest recorded mouths."""
        result = np.empty_like(mouths)
        for index, mouth in enumerate(mouths):
            near = np.argsort(((self.mouths - mouth) ** 2).sum(1))[:_NEIGHBOURS]
            result[index] = (1 - _EMBEDDED) * mouth + _EMBEDDED * _mixture(self.mouths[near], mouth)
        return result


def _mixture(
    near: np.ndarray,  # [K, D]
    point: np.ndarray,  # [D]
) -> np.ndarray:
    """The point closest to ``point`` that is a weighted mean of its neighbours (Roweis and Saul 2000)."""
    offsets = near - point
    gram = offsets @ offsets.T
    gram += np.eye(len(near)) * (1e-3 * np.trace(gram) + 1e-9)
    weights = np.linalg.solve(gram, np.ones(len(near)))
    return weights / weights.sum() @ near


def learn_adapter(
    samples: np.ndarray,  # [N] at 16 kHz, from the first frame on
    expression: np.ndarray,  # [T, 52] codes of the track
    fps: float,
) -> Adapter:
    """Learn from a recording and its track.

    Raises:
        StudioError: too short, or silent.
    """
    seconds = len(expression) / fps
    if seconds < _LEAST_SECONDS:
        raise StudioError(
            "too little speech to learn a subject's mouth from",
            got=f"{seconds:.1f} s",
            expected=f"{_LEAST_SECONDS:.0f} s",
        )
    if not np.any(np.abs(samples) > 1e-4):
        raise StudioError("the capture's sound is silent", next="choose a capture with speech")
    heard = hear_all(samples)
    lag = own_lag(heard, expression, fps)
    times = np.arange(len(expression)) / fps - lag
    centre = heard.hidden.mean(0)
    basis = np.linalg.svd(heard.hidden - centre, full_matrices=False)[2][:_DIRECTIONS]
    inputs = _inputs((heard.hidden - centre) @ basis.T, heard.moved, times)
    mouths = expression[:, _MOUTH].astype(np.float64)
    low, high = np.quantile(mouths, _QUANTILES, axis=0)
    return Adapter(basis, centre, _fitted(inputs, mouths), mouths, low, high, lag, seconds)


def own_lag(heard: Heard, expression: np.ndarray, fps: float) -> float:
    """Seconds by which a recording's mouth is later than what is heard; 0 where no lag stands out."""
    times = np.arange(len(expression)) / fps
    ours = codes_of(_at(heard.moved, times))[:, ARKIT52.index("jawOpen")]
    theirs = expression[:, ARKIT52.index("jawOpen")]
    score = lagged_correlation(ours, theirs, fps, _LAGS)
    return float(_LAGS[score.argmax()]) if score.max() > 0.3 else 0.0


def _fitted(inputs: np.ndarray, mouths: np.ndarray) -> np.ndarray:
    """Regression weights: of movements first, then of what the network's features tell beyond them.

    How strongly the latter are held back is chosen on the recording's own quarters, each left out in turn.
    """
    parts = np.arange(len(inputs)) * 4 // len(inputs)

    def solved(chosen: np.ndarray, strength: float) -> np.ndarray:
        x, y = inputs[chosen], mouths[chosen]
        simple = _ridge(x[:, _FEATURES:], y, 0.01)
        more = _ridge(x[:, :_FEATURES], y - x[:, _FEATURES:] @ simple, strength)
        return np.concatenate((more, simple))

    def error(strength: float) -> float:
        missed = (inputs[parts == k] @ solved(parts != k, strength) - mouths[parts == k] for k in range(4))
        return sum(float((miss**2).sum()) for miss in missed)

    best = min((0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e6), key=error)
    return solved(np.ones(len(inputs), dtype=bool), best)


def _ridge(inputs: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    penalty = strength * len(inputs) * np.eye(inputs.shape[1])
    return np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets)


def _inputs(reduced: np.ndarray, moved: np.ndarray, times: np.ndarray) -> np.ndarray:
    """What the regression sees at each time: features around it, movements, and a constant."""
    around = [_at(reduced, times + offset / OUTPUTS_PER_SECOND) for offset in _OFFSETS]
    return np.concatenate((*around, 3.0 * _at(moved, times), np.ones((len(times), 1))), axis=1)


def _at(values: np.ndarray, times: np.ndarray) -> np.ndarray:  # [T, D] at 50 Hz
    """Rows at times, linear between them, the ends held."""
    place = np.clip(times * OUTPUTS_PER_SECOND, 0, len(values) - 1)
    low = place.astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    return values[low] + (place - low)[:, None] * (values[high] - values[low])
