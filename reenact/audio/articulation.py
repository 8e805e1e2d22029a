"""Timed phones to the movements of jaw, lips and tongue: dominance functions and the rules of JALI.

Neighbouring sounds share the mouth by dominance (Cohen and Massaro, "Modeling coarticulation in synthetic visual
speech", 1993), jaw and lips apart (Edwards et al., "JALI: an animator-centric viseme model", 2016): tongue sounds leave
the jaw and the lips to the vowels, sibilants keep the jaw up, rounding begins early, and what must touch touches,
whatever an average would say. The tables may be edited: the network learns what they say, and codes are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from capture.synthetic.articulation import channels
from capture.synthetic.phones import TimedPhone
from reenact.audio.phones import BILABIALS, SILENCE, VISEME_OF
from studio.codes import ARKIT52

# What moves, 0..1 each: jaw down, lips together, lower lip at the teeth, lips forward, lips open as a funnel, corners
# apart, upper lip up, lower lip down, tongue tip out.
MOVEMENTS = ("jaw", "close", "tuck", "pucker", "funnel", "stretch", "upper", "lower", "tongue")
JAW, CLOSE, TUCK = MOVEMENTS.index("jaw"), MOVEMENTS.index("close"), MOVEMENTS.index("tuck")
_LIPS = [MOVEMENTS.index(name) for name in ("pucker", "funnel", "stretch", "upper", "lower", "tongue")]
_ROUND = [MOVEMENTS.index(name) for name in ("pucker", "funnel")]

# Goals of each viseme in the order of MOVEMENTS, then of phones that differ from their viseme.
_GOALS: Mapping[str, Sequence[float]] = MappingProxyType(
    {
        "sil": (0, 0, 0, 0, 0, 0, 0, 0, 0),
        "PP": (0.04, 1, 0, 0, 0, 0, 0, 0, 0),
        "FF": (0.08, 0, 1, 0, 0, 0.05, 0.25, 0, 0),
        "TH": (0.16, 0, 0, 0, 0, 0.05, 0.05, 0.25, 0.5),
        "DD": (0.17, 0, 0, 0, 0, 0.08, 0.08, 0.18, 0.1),
        "SS": (0.08, 0, 0, 0, 0, 0.3, 0.18, 0.3, 0),
        "CH": (0.12, 0, 0, 0.35, 0.6, 0, 0.1, 0.15, 0),
        "kk": (0.22, 0, 0, 0, 0, 0.08, 0.05, 0.12, 0),
        "RR": (0.17, 0, 0, 0.35, 0.3, 0, 0, 0.1, 0),
        "aa": (0.58, 0, 0, 0, 0, 0.08, 0.1, 0.22, 0),
        "E": (0.38, 0, 0, 0, 0, 0.28, 0.08, 0.22, 0),
        "I": (0.17, 0, 0, 0, 0, 0.42, 0.06, 0.18, 0),
        "O": (0.42, 0, 0, 0.4, 0.5, 0, 0, 0.1, 0),
        "U": (0.14, 0, 0, 0.75, 0.35, 0, 0, 0.05, 0),
        "AH": (0.34, 0, 0, 0, 0, 0.06, 0.05, 0.16, 0),
        "AE": (0.52, 0, 0, 0, 0, 0.2, 0.1, 0.25, 0),
        "IH": (0.22, 0, 0, 0, 0, 0.28, 0.05, 0.18, 0),
        "UH": (0.2, 0, 0, 0.45, 0.3, 0, 0, 0.08, 0),
        "W": (0.08, 0, 0, 0.9, 0.3, 0, 0, 0, 0),
        "HH": (0.22, 0, 0, 0, 0, 0, 0, 0.08, 0),
    }
)
_DIPHTHONGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"AY": ("AA", "IH"), "AW": ("AA", "UH"), "OY": ("AO", "IH"), "OW": ("AO", "UH"), "EY": ("EH", "IH")}
)
# How strongly sounds claim the jaw and the lips; vowels claim 1.
_JAW_CLAIM: Mapping[str, float] = MappingProxyType(
    {"PP": 0.8, "FF": 0.8, "TH": 0.5, "DD": 0.3, "SS": 1.2, "CH": 1.0, "kk": 0.25, "RR": 0.5}
)
_LIP_CLAIM: Mapping[str, float] = MappingProxyType(
    {"PP": 0.3, "FF": 0.6, "TH": 0.3, "DD": 0.15, "SS": 0.6, "CH": 1.4, "kk": 0.12, "RR": 0.9, "O": 1.2, "U": 1.3}
)
_TAKES_VOWEL_LIPS = frozenset({"HH"})

_LEAD = 0.03  # seconds that the mouth is ahead of the sound
_REACH = 0.10  # seconds beyond its own time over which a sound is felt
_ROUND_EARLY = 0.08  # further seconds before, for rounding
_REST = 0.05  # claim of the mouth at rest, always
_LONG_PAUSE = 0.35  # seconds from which a silence closes the mouth fully
_CONTACT = 0.06  # seconds that a closure lasts at least
_RAMP = 0.05  # seconds in which lips meet and part

# What each movement is in ARKit channels.
CHANNELS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "jaw": {"jawOpen": 1.0},
        "close": {"mouthPressBoth": 0.4, "mouthRollLower": 0.22, "mouthRollUpper": 0.18},
        "tuck": {"mouthRollLower": 0.5, "mouthShrugLower": 0.15},
        "pucker": {"mouthPucker": 1.0},
        "funnel": {"mouthFunnel": 1.0},
        "stretch": {"mouthStretchBoth": 0.6, "mouthSmileBoth": 0.35},
        "upper": {"mouthUpperUpBoth": 1.0},
        "lower": {"mouthLowerDownBoth": 1.0},
        "tongue": {"tongueOut": 0.7},
    }
)
# What keeps lips apart, and so gives way to a closure; and how much of it a lip at the teeth leaves.
_OPENING = tuple(
    ARKIT52.index(name)
    for name in (
        *("jawOpen", "mouthFunnel", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft"),
        *("mouthUpperUpRight", "mouthStretchLeft", "mouthStretchRight"),
    )
)
_JAW_OF_TUCK = 0.35


@dataclass(frozen=True)
class Strength:
    """How far the mouth goes.

    Args:
        jaw: gain of the jaw's opening.
        lips: gain of the lips' shapes. Neither changes whether lips meet.
    """

    jaw: float = 1.0
    lips: float = 1.0


PLAIN = Strength()


def movements(
    phones: Sequence[TimedPhone],  # in the order of time
    times: np.ndarray,  # [T] seconds, rising
    loudness: np.ndarray | None = None,  # [T] in decibels; None leaves amplitudes as they are
) -> np.ndarray:
    """Goals [T, MOVEMENTS] of a speaking mouth; rest where nothing is said."""
    parts = _split(phones)
    result = np.zeros((len(times), len(MOVEMENTS)))
    ends = np.array([item.end for item in parts])
    for begin in range(0, len(times), 1000):  # bounded memory; sounds farther than their reach have no influence
        block = np.asarray(times[begin : begin + 1000]) + _LEAD
        first = int(np.searchsorted(ends, block[0] - 1.0))
        near = [item for item in parts[first:] if item.start < block[-1] + 1.0]
        result[begin : begin + 1000] = _block(near, block)
    if loudness is not None:
        gain = _loudness_gain(phones, times, loudness)
        result[:, JAW] *= gain
        result[:, _LIPS] *= np.sqrt(gain)[:, None]
    return np.clip(result, 0.0, 1.0)


def codes_of(
    moved: np.ndarray,  # [T, MOVEMENTS]
    strength: Strength = PLAIN,
) -> np.ndarray:
    """ARKit weights [T, 52] of movements. Where ``close`` is 1, all that opens the lips is 0."""
    gains = np.array([strength.jaw, 1.0, 1.0, *[strength.lips] * len(_LIPS)])
    weights = (moved * gains) @ np.stack([channels(CHANNELS[name]) for name in MOVEMENTS])
    weights[:, _OPENING] *= (1.0 - moved[:, CLOSE])[:, None]
    weights[:, ARKIT52.index("jawOpen")] *= 1.0 - (1.0 - _JAW_OF_TUCK) * moved[:, TUCK]
    return np.clip(weights, 0.0, 1.0)


def contact(
    spans: Sequence[tuple[float, float]],  # seconds in which something touches
    times: np.ndarray,  # [T]
) -> np.ndarray:
    """1 while the spans last (60 ms at least), falling smoothly to 0 within 50 ms on either side: [T]."""
    result = np.zeros(len(times))
    for start, end in spans:
        short = max(_CONTACT - (end - start), 0.0) / 2
        low, high = np.searchsorted(times, (start - short - _RAMP, end + short + _RAMP))
        near = times[low:high]
        outside = np.maximum(np.maximum(start - short - near, near - end - short), 0.0)
        share = np.clip(1.0 - outside / _RAMP, 0.0, 1.0)
        result[low:high] = np.maximum(result[low:high], share * share * (3 - 2 * share))
    return result


def goal(name: str) -> np.ndarray:
    """What a phone would do if it had the mouth for itself: [MOVEMENTS]."""
    return np.array(_GOALS[name] if name in _GOALS else _GOALS[VISEME_OF[name]], dtype=float)


def _split(phones: Sequence[TimedPhone]) -> list[TimedPhone]:
    """Phones with diphthongs as the two sounds they are."""
    parts: list[TimedPhone] = []
    for item in phones:
        if item.name in _DIPHTHONGS:
            turn = item.start + 0.55 * (item.end - item.start)
            first, second = _DIPHTHONGS[item.name]
            parts += [TimedPhone(first, item.start, turn), TimedPhone(second, turn, item.end)]
        else:
            parts.append(item)
    return parts


def _block(
    phones: Sequence[TimedPhone],
    moments: np.ndarray,  # [T]
) -> np.ndarray:
    result = np.zeros((len(moments), len(MOVEMENTS)))
    if not phones:
        return result
    goals = np.stack([goal(item.name) for item in phones])  # [P, MOVEMENTS]
    jaw = np.stack([_claim(item, moments, _JAW_CLAIM) for item in phones], axis=1)  # [T, P]
    lips = np.stack([_claim(item, moments, _LIP_CLAIM) for item in phones], axis=1)
    rounding = np.stack([_claim(item, moments, _LIP_CLAIM, _ROUND_EARLY) for item in phones], axis=1)
    result[:, JAW] = jaw @ goals[:, JAW] / (jaw.sum(1) + _REST)
    result[:, _LIPS] = lips @ goals[:, _LIPS] / (lips.sum(1, keepdims=True) + _REST)
    result[:, _ROUND] = rounding @ goals[:, _ROUND] / (rounding.sum(1, keepdims=True) + _REST)
    for index in (CLOSE, TUCK):
        spans = [(item.start, item.end + _LEAD) for item, one in zip(phones, goals) if one[index]]
        result[:, index] = contact(spans, moments)
    return result


def _claim(item: TimedPhone, times: np.ndarray, claims: Mapping[str, float], early: float = 0.0) -> np.ndarray:
    """Influence [T] of a phone: full in its middle, zero from its reach on."""
    viseme = VISEME_OF[item.name]
    strength = 0.1 if item.name in _TAKES_VOWEL_LIPS else claims.get(viseme, 1.0)
    if item.name == SILENCE:
        strength = 1.2 * min(1.0, (item.end - item.start) / _LONG_PAUSE) ** 2
    middle, half = 0.5 * (item.start + item.end), 0.5 * (item.end - item.start)
    before = half + _REACH + (early if viseme in ("O", "U", "CH") else 0.0)
    distance = times - middle
    share = np.clip(np.where(distance < 0, -distance / before, distance / (half + _REACH)), 0.0, 1.0)
    if item.name == SILENCE:  # a pause is rest from end to end, not in its middle only
        share = np.clip((np.abs(distance) - half + 0.05) / (_REACH + 0.05), 0.0, 1.0)
    return strength * np.cos(0.5 * np.pi * share) ** 2


def _loudness_gain(phones: Sequence[TimedPhone], times: np.ndarray, loudness: np.ndarray) -> np.ndarray:
    """How much farther [T] the mouth opens where the voice is louder than its vowels usually are (JALI)."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    width = max(round(0.15 / step), 1)
    smooth = np.convolve(np.pad(loudness, width, mode="edge"), np.ones(width) / width, mode="same")[width:-width]
    voiced = np.zeros(len(times), dtype=bool)
    for item in phones:
        if item.name[0] in "AEIOU":
            voiced[slice(*np.searchsorted(times, (item.start, item.end)))] = True
    usual = float(np.median(smooth[voiced])) if voiced.any() else 0.0
    return np.clip(1.0 + 0.045 * (smooth - usual), 0.65, 1.35)


def bilabial_spans(phones: Sequence[TimedPhone]) -> list[tuple[float, float]]:
    """When P, B or M is said."""
    return [(item.start, item.end) for item in phones if item.name in BILABIALS]
