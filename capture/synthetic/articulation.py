"""How a face moves when it speaks: timed phones in, ARKit channels over time out.

Coarticulation by dominance functions: Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993).
Closures of P, B, M are then enforced: an average that never quite closes the lips is what a viewer notices first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capture.synthetic.phones import DOMINANCE, VISEMES, Shape, TimedPhone
from studio.codes import ARKIT52

_LEAD_SECONDS = 0.03  # lips and jaw move a little before the sound they make
_REACH_SECONDS = 0.055  # how far a phone's influence extends beyond its own time
_REST = 0.04  # dominance of the face at rest, always
_OPENING = (
    *("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    *("mouthFunnel", "mouthStretchLeft", "mouthStretchRight"),
)


def articulate(
    phones: Sequence[TimedPhone],
    times: np.ndarray,  # [T] seconds
) -> np.ndarray:
    """Channel weights [T, 52] of speaking; zero before and after."""
    if not phones:
        return np.zeros((len(times), len(ARKIT52)))
    moments = np.asarray(times) + _LEAD_SECONDS
    targets = np.stack([channels(VISEMES[item.phone.viseme]) for item in phones])
    weights = np.stack([_dominance(item, moments) for item in phones], axis=1)  # [T, phones]
    curves = (weights @ targets) / (weights.sum(1, keepdims=True) + _REST)
    shut = np.zeros(len(times))
    for item in phones:
        if item.phone.viseme == "PP":
            shut = np.maximum(shut, _shut(item, np.asarray(times)))
    opening = [ARKIT52.index(name) for name in _OPENING]
    curves[:, opening] *= (1 - shut)[:, None]
    return curves


def channels(shape: Shape) -> np.ndarray:
    """A mouth shape as weights [52]; names may end in "Both" for Left and Right."""
    weights = np.zeros(len(ARKIT52))
    for name, weight in shape.items():
        sides = [name.replace("Both", side) for side in ("Left", "Right")] if name.endswith("Both") else [name]
        weights[[ARKIT52.index(side) for side in sides]] = weight
    return weights


def _dominance(item: TimedPhone, times: np.ndarray) -> np.ndarray:
    """Influence [T] of a phone: strongest in its middle, falling exponentially outside of it."""
    middle, half = 0.5 * (item.start + item.end), 0.5 * (item.end - item.start)
    distance = np.abs(times - middle)
    strength = DOMINANCE.get(item.phone.viseme, 1.0)
    return strength * np.exp(-((distance / (0.6 * half + _REACH_SECONDS)) ** 2) * 2.0)


def _shut(item: TimedPhone, times: np.ndarray) -> np.ndarray:
    """1 from a little before a phone to its end, falling smoothly to 0 within 50 ms on either side."""
    outside = np.maximum(np.maximum(item.start - _LEAD_SECONDS - times, times - item.end), 0.0)
    t = np.clip(1 - outside / 0.05, 0.0, 1.0)
    return t * t * (3 - 2 * t)
