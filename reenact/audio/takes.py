"""Training material: takes of synthesised speech as features, phones and movements, each in several degraded views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capture.synthetic.phones import TimedPhone
from reenact.audio.articulation import movements
from reenact.audio.augment import degrade, stretched
from reenact.audio.engines import Voice, draw_voice, installed, speak
from reenact.audio.features import HOP, RATE, features_of
from reenact.audio.phones import NAMES, SILENCE, filled
from reenact.audio.recordings import RecordedSpeech, collections_of
from studio.errors import StudioError

# Shares of the engines, as far as they are installed.
_SHARES = {"espeak": 0.2, "flite": 0.3, "festival": 0.12, "hibari": 0.35, "formant": 0.03}
_TAKE = 18.0  # seconds from which a take of recordings is long enough


@dataclass(frozen=True)
class Take:
    """Some seconds of one voice.

    Args:
        features: [F, SIZE] at 100 Hz, float16.
        phones: [F] class, index into ``reenact.audio.phones.NAMES``.
        moved: [F, MOVEMENTS] float16.
        voice: who speaks.
    """

    features: np.ndarray
    phones: np.ndarray
    moved: np.ndarray
    voice: Voice


def make_takes(count: int, views: int, seed: int) -> Iterator[Take]:
    """Takes of random voices, each in several degraded views.

    Args:
        count: how many, before views.
        views: how many degraded versions of each.
        seed: of all that is random.

    Raises:
        StudioError: no engine but our own is installed.
    """
    engines = installed()
    if engines == ("formant",):
        raise StudioError("no speech synthesiser is installed", expected="espeak-ng, flite or festival")
    shares = np.array([_SHARES[name] for name in engines])
    rng = np.random.default_rng(seed)
    babble: np.ndarray | None = None
    for _ in range(count):
        voice = draw_voice(str(rng.choice(engines, p=shares / shares.sum())), rng)
        samples, phones = spoken_take(voice, rng)
        for _ in range(views):
            yield _view(samples, phones, voice, rng, babble)
        babble = samples


def recorded_takes(root: Path, minutes: float, views: int, seed: int) -> Iterator[Take]:
    """Takes of recorded voices, each in several degraded views; recordings of one collection follow each other.

    Args:
        root: folder in which the packages are installed or unpacked, see ``reenact.audio.recordings``.
        minutes: at most, of each collection in another language than English; of English all.
        views: how many degraded versions of each.
        seed: of all that is random.
    """
    rng = np.random.default_rng(seed)
    with RecordedSpeech() as speech:
        for speaker, items in collections_of(root).items():
            voice = Voice("recorded", speaker, 1.0, 1.0, foreign=not items[0].language.startswith("en"))
            left = 60.0 * minutes if voice.foreign else np.inf
            pieces: list[np.ndarray] = []
            phones: list[TimedPhone] = []
            now = 0.0
            for index in rng.permutation(len(items)):
                read = speech.read(items[index])
                if read is None:
                    continue
                sound, said = read
                pause = float(rng.choice([0.0, 0.1, 0.3, 1.0]))
                pieces += [sound, np.zeros(round(pause * RATE), np.float32)]
                phones += [TimedPhone(item.name, now + item.start, now + item.end) for item in said]
                now = sum(map(len, pieces)) / RATE
                if now > _TAKE or now > left:
                    samples = np.concatenate(pieces)
                    for _ in range(views):
                        yield _view(samples, filled(phones, now), voice, rng, None)
                    left -= now
                    pieces, phones, now = [], [], 0.0
                if left <= 0:
                    break


def spoken_take(voice: Voice, rng: np.random.Generator) -> tuple[np.ndarray, list[TimedPhone]]:
    """Some sentences by a voice with pauses between them: samples [N] at 16 kHz, and phones."""
    pieces, phones, now = [], [], 0.0
    for spoken in speak(voice, int(rng.integers(3, 6)), rng):
        sound = spoken.audio.resampled(RATE).samples[:, 0]
        pieces += [sound, np.zeros(int(rng.choice([0.0, 0.2, 0.6, 1.5]) * RATE), np.float32)]
        phones += [TimedPhone(item.name, now + item.start, now + item.end) for item in spoken.phones]
        now += (len(pieces[-1]) + len(sound)) / RATE
    return np.concatenate(pieces), filled(phones, now)


def _view(
    samples: np.ndarray,  # [N]
    phones: list[TimedPhone],
    voice: Voice,
    rng: np.random.Generator,
    babble: np.ndarray | None,
) -> Take:
    factor = round(float(rng.uniform(0.84, 1.2)), 2)
    sound = stretched(samples, factor).copy()
    phones = [TimedPhone(item.name, item.start * factor, item.end * factor) for item in phones]
    phones = _muted(sound, phones, rng) if rng.random() < 0.3 else phones
    times = np.arange(-(-len(sound) // HOP)) * HOP / RATE
    loudness = loudness_of(sound, len(times))
    noise = np.resize(stretched(babble, 1.1), len(sound)) if babble is not None else None
    features = features_of(degrade(sound, rng, noise))[: len(times)]
    classes = classes_of(phones, times)
    return Take(features.astype(np.float16), classes, movements(phones, times, loudness).astype(np.float16), voice)


def _muted(sound: np.ndarray, phones: list[TimedPhone], rng: np.random.Generator) -> list[TimedPhone]:
    """Some of the sound cut out, in place; nothing is said there any more."""
    seconds = len(sound) / RATE
    for _ in range(int(rng.integers(1, 3))):
        start = float(rng.uniform(0, seconds))
        end = start + float(rng.uniform(0.3, 1.2))
        sound[round(start * RATE) : round(end * RATE)] = 0.0
        kept = [TimedPhone(item.name, item.start, min(item.end, start)) for item in phones if item.start < start]
        kept += [TimedPhone(item.name, max(item.start, end), item.end) for item in phones if item.end > end]
        phones = filled(kept, seconds)
    return phones


def loudness_of(samples: np.ndarray, frames: int) -> np.ndarray:
    """Level [frames] in decibels over 40 ms, at 100 Hz."""
    power = np.concatenate(([0.0], np.cumsum(np.asarray(samples, dtype=np.float64) ** 2)))
    centre = np.arange(frames) * HOP
    low, high = np.clip(centre - 2 * HOP, 0, len(samples)), np.clip(centre + 2 * HOP, 0, len(samples))
    return 10 * np.log10((power[high] - power[low]) / np.maximum(high - low, 1) + 1e-9)


def classes_of(phones: list[TimedPhone], times: np.ndarray) -> np.ndarray:
    """The phone [T] at each moment as an index into ``NAMES``."""
    result = np.full(len(times), NAMES.index(SILENCE), dtype=np.uint8)
    for item in phones:
        result[slice(*np.searchsorted(times, (item.start, item.end)))] = NAMES.index(item.name)
    return result
