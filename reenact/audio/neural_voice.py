"""A small neural voice to train on: the package ``hibari-tts`` (Apache-2.0), whose one voice is made many.

Pitch and length of the vocal tract are changed apart, in its spectra before they become sound. When each phone is
said is found with pocketsphinx. Nothing but training needs it.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from typing import Any

import numpy as np

from reenact.audio.align import PhoneAligner, has_pocketsphinx
from reenact.audio.espeak import Spoken
from reenact.audio.features import RATE
from reenact.audio.phones import SILENCE
from studio.errors import StudioError
from studio.media.audio import Audio

_QUIET = 0.3  # seconds of silence before and after: where a recording would begin and end
_HURRIED = 0.035  # seconds: a phone as short as the aligner's shortest
_MISFIT = 0.2  # share of hurried phones from which the alignment is not believed


def has_hibari() -> bool:
    """Whether the voice, and what times its phones, are installed."""
    return importlib.util.find_spec("hibari") is not None and has_pocketsphinx()


def say(
    text: str,
    rate: float,
    pitch: float,  # factor
    tract: float,  # factor of its length
    seed: int,
) -> Spoken | None:
    """A sentence by the voice; None where its words are in no dictionary or sound and words do not fit."""
    words = re.findall(r"[a-z']+", text.lower())
    if not words or not all(_aligner().knows(word) for word in words):
        return None
    sound = Audio(_sound(text, rate, pitch, tract, seed)[:, None], _voice().sample_rate).resampled(RATE)
    samples = np.pad(sound.samples[:, 0], round(_QUIET * RATE))
    try:
        phones = _aligner().align(samples, words)
    except StudioError:
        return None
    said = [item for item in phones if item.name != SILENCE]
    if sum(item.end - item.start < _HURRIED for item in said) > _MISFIT * len(said):
        return None
    return Spoken(Audio(samples[:, None], RATE), tuple(phones))


def _sound(text: str, rate: float, pitch: float, tract: float, seed: int) -> np.ndarray:
    from hibari import dsp

    voice, rng, pieces = _voice(), np.random.default_rng(seed), []
    for phonemes in voice.phonemize(text):
        ids = np.array([voice.ids(phonemes)], dtype=np.int64)
        inputs = {"ids": ids, "speed": np.array([rate], dtype=np.float32)}
        *parts, f0 = (item[0] for item in voice.sess.run(None, inputs))
        bins = np.arange(len(parts[0])) * tract
        source = np.minimum(np.rint(bins).astype(int), len(bins) - 1)
        pieces.append(dsp.synth(*(np.ascontiguousarray(part[source]) for part in parts), f0 * np.float32(pitch), rng))
    return np.concatenate(pieces)


@lru_cache
def _voice() -> Any:
    from hibari import Hibari

    return Hibari()


@lru_cache
def _aligner() -> PhoneAligner:
    return PhoneAligner()
