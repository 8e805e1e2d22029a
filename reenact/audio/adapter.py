"""A subject's own way of speaking, learned from a capture that has sound: what is heard -> what this mouth does.

Layer 2's mouth, as large and about the pose that the subject's has, and a residual: ridge regression from what the
network knows around a moment, held back as far as the recording itself advises. The answer is drawn towards
mouths that the subject has really made (local linear embedding, as GeneFace++ does) and kept within the recorded
quantiles, so that no sound makes a mouth that was never seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from reenact.audio.articulation import codes_of
from reenact.audio.extractor import SpeechExtractor
from reenact.audio.listen import Heard, hear_all
from reenact.audio.network import OUTPUTS_PER_SECOND
from reenact.audio.scores import lagged_correlation
from reenact.mouth import lip_gap
from studio.codes import ARKIT52, Codes
from studio.errors import StudioError

MOUTH_CHANNELS: tuple[str, ...] = tuple(
    name for name in ARKIT52.channels if name.startswith(("jaw", "mouth")) or name in ("cheekPuff", "tongueOut")
)
_MOUTH = [ARKIT52.index(name) for name in MOUTH_CHANNELS]
_OFFSETS = (-3, 0, 3)  # outputs of the network that are looked at around a moment
_DIRECTIONS = 24  # of the network's features that are kept
_STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 1e6)  # by which the residual is held back; the last leaves layer 2
_ABOUT = 0.02  # difference of scores that is none
_APART = 10.0  # by how much recording the channels' own gains are held to the common one
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
        weights: [offsets * directions + mouth + 1, mouth] of features, layer 2 and a constant.
        mouths: [M, mouth] codes that the subject has made.
        low: [mouth] lower quantile.
        high: [mouth] upper quantile.
        lag: seconds by which the capture's picture is later than its sound.
        seconds: of capture that it was learned from.
        extractor: the user's own features instead of the network's, see ``reenact.audio.extractor``.
    """

    basis: np.ndarray
    centre: np.ndarray
    weights: np.ndarray
    mouths: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lag: float
    seconds: float
    extractor: SpeechExtractor | None = None

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
    extractor: SpeechExtractor | None = None,
) -> Adapter:
    """Learn from a recording and its track; from the user's own features where an extractor is given.

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
    if extractor is not None:
        heard = replace(heard, hidden=np.concatenate(list(extractor.hear([samples])))[: len(heard.phones)])
    times = np.arange(len(expression)) / fps - lag
    centre = heard.hidden.mean(0)
    basis = np.linalg.svd(heard.hidden - centre, full_matrices=False)[2][:_DIRECTIONS]
    inputs = _inputs((heard.hidden - centre) @ basis.T, heard.moved, times)
    mouths = expression[:, _MOUTH].astype(np.float64)
    low, high = np.quantile(mouths, _QUANTILES, axis=0)
    return Adapter(basis, centre, _fitted(inputs, mouths), mouths, low, high, lag, seconds, extractor)


def own_lag(heard: Heard, expression: np.ndarray, fps: float) -> float:
    """Seconds by which a recording's mouth is later than what is heard; 0 where no lag stands out."""
    times = np.arange(len(expression)) / fps
    ours = codes_of(_at(heard.moved, times))[:, ARKIT52.index("jawOpen")]
    theirs = expression[:, ARKIT52.index("jawOpen")]
    score = lagged_correlation(ours, theirs, fps, _LAGS)
    return float(_LAGS[score.argmax()]) if score.max() > 0.3 else 0.0


def _fitted(inputs: np.ndarray, mouths: np.ndarray) -> np.ndarray:
    """Regression weights: layer 2 as large as the subject's mouth moves, and what features tell beyond it.

    How far the residual may leave layer 2 is chosen on the recording's own quarters, each left out in turn: of
    strengths that do about as well, the one that stays closest.
    """
    parts = np.arange(len(inputs)) * 4 // len(inputs)
    truth = _gap(mouths)
    spread = mouths.std(0) + 0.01

    def score(strength: float) -> float:
        guess = np.empty_like(mouths)
        for part in range(4):
            guess[parts == part] = inputs[parts == part] @ _solved(inputs, mouths, parts != part, strength)
        gap = _gap(guess)
        follows = [_correlation(gap[parts == part], truth[parts == part]) for part in range(4)]
        return float(np.mean(((guess - mouths) / spread) ** 2)) - float(np.mean(follows))

    scores = {strength: score(strength) for strength in _STRENGTHS}
    best = max(strength for strength in _STRENGTHS if scores[strength] <= min(scores.values()) + _ABOUT)
    return _solved(inputs, mouths, np.ones(len(inputs), dtype=bool), best)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's; 0 for what does not move."""
    return float(np.corrcoef(first, second)[0, 1]) if min(first.std(), second.std()) > 1e-9 else 0.0


def _solved(inputs: np.ndarray, mouths: np.ndarray, chosen: np.ndarray, strength: float) -> np.ndarray:
    """Weights [features + mouth + 1, mouth] from some of the frames; ``strength`` holds the features' part back."""
    edge = -len(MOUTH_CHANNELS) - 1  # features, layer 2, and the constant
    features, plain, y = inputs[chosen, :edge], inputs[chosen, edge:-1], mouths[chosen]
    middle, rest, mean = features.mean(0), plain.mean(0), y.mean(0)
    gains = _gains(plain - rest, y - mean)
    centred = features - middle
    size = strength * len(y) * float(centred.var(0).mean()) + 1e-9
    more = np.linalg.solve(
        centred.T @ centred + size * np.eye(features.shape[1]), centred.T @ (y - mean - gains * (plain - rest))
    )
    return np.concatenate((more, np.diag(gains), (mean - gains * rest - middle @ more)[None]))


def _gains(
    plain: np.ndarray,  # [T, mouth] layer 2 about its mean
    own: np.ndarray,  # [T, mouth] the subject about its mean
) -> np.ndarray:
    """How much farther [mouth] the subject moves than layer 2: one gain for all, and each channel's a little apart.

    The common gain lies between that of least squares, which a poor correlation makes small, and half of the ratio of
    their sizes, so that a mouth which is hard to foretell is not silenced.
    """
    weight = 1.0 / (own.var(0) + 1e-4)
    power = float((weight * plain**2).sum()) + 1e-9
    slope = float((weight * plain * own).sum()) / power
    ratio = float(np.sqrt((weight * own**2).sum() / power))
    common = float(np.clip(slope, 0.5 * min(ratio, 2.0), 2.0))
    apart = _APART * len(plain) * float(plain.var(0).mean()) + 1e-9
    return ((plain * own).sum(0) + apart * common) / ((plain**2).sum(0) + apart)


def _gap(mouths: np.ndarray) -> np.ndarray:  # [T, mouth] -> [T]
    """How far lips are apart, as the built-in head's mouth does these codes."""
    codes = Codes.neutral(batch=(len(mouths),))
    codes.expression[:, _MOUTH] = torch.from_numpy(mouths).float().clamp(0, 1)
    return lip_gap(codes).numpy()


def _inputs(reduced: np.ndarray, moved: np.ndarray, times: np.ndarray) -> np.ndarray:
    """What the regression sees at each time: features around it, layer 2's mouth, and a constant."""
    around = [_at(reduced, times + offset / OUTPUTS_PER_SECOND) for offset in _OFFSETS]
    plain = codes_of(_at(moved, times))[:, _MOUTH]
    return np.concatenate((*around, plain, np.ones((len(times), 1))), axis=1)


def _at(values: np.ndarray, times: np.ndarray) -> np.ndarray:  # [T, D] at 50 Hz
    """Rows at times, linear between them, the ends held."""
    place = np.clip(times * OUTPUTS_PER_SECOND, 0, len(values) - 1)
    low = place.astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    return values[low] + (place - low)[:, None] * (values[high] - values[low])
