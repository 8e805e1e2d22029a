"""Sound alone to phones and movements: the shipped network, on sound of any length, whole or as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from capture.synthetic.phones import TimedPhone
from reenact.audio.articulation import CLOSE, JAW, MOVEMENTS
from reenact.audio.features import BANDS, FRAMES_PER_SECOND, HOP, MARGIN, RATE, SIZE, Features
from reenact.audio.network import DELAY, OUTPUTS_PER_SECOND, STRIDE, SpeechNetwork, State, shipped_network
from reenact.audio.phones import BILABIALS, NAMES, SILENCE, filled

_BLOCK = 30 * RATE  # samples that are heard at a time
_IS_BILABIAL = np.array([name in BILABIALS for name in NAMES])
_CERTAIN = (0.03, 0.1)  # probabilities of P, B or M at which lips begin to close, and are closed
_SILENT = -7.0 / 3.0  # loudness, as a feature, below which nothing is said: 30 dB below the speaker's peaks
_AROUND = 2 * STRIDE * DELAY  # features around a moment that must all be quiet for it to be silent: 100 ms either way
_TRUSTED = 12  # outputs after which the network, which lacks what came before, is believed in full
LATENCY = MARGIN / RATE + (STRIDE - 1) / FRAMES_PER_SECOND + DELAY / OUTPUTS_PER_SECOND  # seconds of sound needed after


@dataclass(frozen=True)
class Heard:
    """What was heard; output k is about the moment k / 50 s.

    Args:
        phones: [T, NAMES] probabilities.
        moved: [T, MOVEMENTS] movements, 0..1.
        hidden: [T, width] what the network knows; input of a subject's adapter.
    """

    phones: np.ndarray
    moved: np.ndarray
    hidden: np.ndarray

    @staticmethod
    def joined(pieces: Iterable[Heard]) -> Heard:
        """Pieces that follow each other."""
        parts = list(pieces)
        return Heard(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("phones", "moved", "hidden"))
        )

    @property
    def times(self) -> np.ndarray:
        """Seconds [T], for what was heard from the beginning on."""
        return np.arange(len(self.phones)) / OUTPUTS_PER_SECOND


@dataclass
class Listener:
    """Hears sound piece by piece; pieces of any size give the same as the whole, ``LATENCY`` after they were said."""

    network: SpeechNetwork = field(default_factory=shipped_network)
    _features: Features = field(default_factory=Features)
    _waiting: np.ndarray = field(default_factory=lambda: np.zeros((0, SIZE), dtype=np.float32))
    _state: State | None = None
    _loud: np.ndarray = field(default_factory=lambda: np.zeros(_AROUND, dtype=bool))
    _told: int = 0
    _early: int = DELAY  # outputs about the time before the beginning, still to be dropped

    def push(
        self,
        samples: np.ndarray,  # [N] at 16 kHz, -1..1
    ) -> Heard:
        """What can be told by now."""
        features = np.concatenate((self._waiting, self._features.push(samples)))
        usable = len(features) - len(features) % STRIDE
        self._waiting = features[usable:]
        with torch.inference_mode():
            inputs = torch.from_numpy(features[None, :usable])
            if not usable:
                inputs = torch.zeros(1, 0, SIZE)
                width = self.network.config.width
                return Heard(np.zeros((0, len(NAMES))), np.zeros((0, len(MOVEMENTS))), np.zeros((0, width), np.float32))
            logits, moved, hidden, self._state = self.network(inputs, self._state)
        phones, moves = logits[0].softmax(-1).numpy(), moved[0].numpy().clip(0.0, 1.0)
        moves *= self._belief(features[:usable], len(moves))[:, None]
        drop = min(self._early, len(phones))
        self._early -= drop
        return Heard(phones[drop:], settled(phones[drop:], moves[drop:]), hidden[0, drop:].numpy())

    def _belief(self, features: np.ndarray, count: int) -> np.ndarray:
        """How far [count] movements are believed: not where all around is quiet, and at first only by and by."""
        loud = np.concatenate((self._loud, features[:, BANDS] > _SILENT))
        self._loud = loud[len(loud) - _AROUND :]
        near = np.lib.stride_tricks.sliding_window_view(loud, _AROUND + 1)[1::STRIDE].any(1)
        self._told += count
        age = np.arange(self._told - count, self._told) - DELAY
        return near * np.clip(age / _TRUSTED, 0.0, 1.0)

    def flush(self) -> Heard:
        """The rest: the look-ahead is filled with silence."""
        return self.push(np.zeros(round(LATENCY * RATE) + HOP))


def hear(blocks: Iterable[np.ndarray], network: SpeechNetwork | None = None) -> Iterable[Heard]:
    """What is heard in blocks [N] of sound at 16 kHz that follow each other, in bounded memory."""
    listener = Listener(network or shipped_network())
    for block in blocks:
        for start in range(0, len(block), _BLOCK):
            yield listener.push(block[start : start + _BLOCK])
    yield listener.flush()


def hear_all(samples: np.ndarray, network: SpeechNetwork | None = None) -> Heard:  # [N] at 16 kHz
    """What is heard in a sound: an output for every 20 ms begun."""
    heard = Heard.joined(hear([samples], network))
    count = -(-len(samples) // (RATE // OUTPUTS_PER_SECOND))
    return Heard(heard.phones[:count], heard.moved[:count], heard.hidden[:count])


def settled(
    phones: np.ndarray,  # [T, NAMES]
    moved: np.ndarray,  # [T, MOVEMENTS]
) -> np.ndarray:
    """Movements that say what the phones say: lips meet where P, B or M is heard, a silent mouth is still."""
    low, high = _CERTAIN
    share = np.clip((phones[:, _IS_BILABIAL].sum(1) - low) / (high - low), 0.0, 1.0)
    result = moved * np.clip(3.0 * (1.0 - phones[:, NAMES.index(SILENCE)]), 0.0, 1.0)[:, None]
    result[:, CLOSE] = np.maximum(result[:, CLOSE], share * share * (3 - 2 * share))
    result[:, JAW] = np.minimum(result[:, JAW], 1.0 - 0.9 * result[:, CLOSE])
    return result


def best_phones(
    choice: np.ndarray,  # [T] index of the most probable phone
) -> list[TimedPhone]:
    """The phones that were heard (one output alone is none: 40 ms at least)."""
    changes = np.flatnonzero(np.diff(choice)) + 1
    edges = np.concatenate(([0], changes, [len(choice)]))
    spans = [(NAMES[choice[a]], a, b) for a, b in pairwise(edges) if b - a > 1]
    seconds = len(choice) / OUTPUTS_PER_SECOND
    found = [TimedPhone(name, a / OUTPUTS_PER_SECOND, b / OUTPUTS_PER_SECOND) for name, a, b in spans]
    return filled(found, seconds)
