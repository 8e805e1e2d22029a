"""What happens to speech between a mouth and a file: done to clean speech at random, so that the network knows it."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve, firwin2, istft, lfilter, resample_poly, stft

from reenact.audio.features import RATE


def degrade(
    samples: np.ndarray,  # [N] at 16 kHz
    rng: np.random.Generator,
    babble: np.ndarray | None = None,  # [N] other speech
) -> np.ndarray:
    """The same speech through a random room, microphone, background, codec and gain; nothing moves in time."""
    sound = samples.astype(np.float64)
    sound = _equalised(sound, rng) if rng.random() < 0.8 else sound
    sound = _reverberant(sound, rng) if rng.random() < 0.5 else sound
    sound = _noisy(sound, rng, babble) if rng.random() < 0.75 else sound
    chance = rng.random()
    if chance < 0.12:
        sound = _telephone(sound, rng)
    elif chance < 0.35:
        sound = _lossy(sound, rng)
    level = np.abs(sound).max() + 1e-9
    sound *= 10 ** (rng.uniform(-30, 0) / 20) / level
    if rng.random() < 0.08:
        limit = np.abs(sound).max() * rng.uniform(0.2, 0.8)
        sound = np.clip(sound, -limit, limit)
    return np.rint(np.clip(sound, -1.0, 1.0) * 32767) / 32768


def stretched(
    samples: np.ndarray,  # [N]
    factor: float,  # above 1: longer and lower
) -> np.ndarray:
    """Tract, pitch and rate changed together, as a tape that runs at another speed."""
    return resample_poly(samples, round(factor * 100), 100)


def _equalised(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    places = np.array([0, 150, 400, 900, 1800, 3200, 5200, 8000]) / 8000
    gains = np.cumsum(rng.normal(0, 2.5, len(places)))
    return lfilter(_linear_phase(places, 10 ** ((gains - gains.mean()) / 20)), [1.0], np.pad(sound, (0, 32)))[32:]


def _linear_phase(places: np.ndarray, gains: np.ndarray) -> np.ndarray:
    return firwin2(65, places, gains)


def _reverberant(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exponentially decaying noise after the direct sound."""
    seconds = rng.uniform(0.12, 0.7)
    times = np.arange(int(seconds * RATE)) / RATE
    tail = rng.normal(size=len(times)) * np.exp(-6.9 * times / seconds)
    tail[: int(rng.uniform(0.002, 0.015) * RATE)] = 0.0
    tail *= 10 ** (rng.uniform(-14, 0) / 20) / (np.sqrt((tail**2).sum()) + 1e-9)
    tail[0] = 1.0
    return fftconvolve(sound, tail)[: len(sound)]


def _noisy(sound: np.ndarray, rng: np.random.Generator, babble: np.ndarray | None) -> np.ndarray:
    if babble is not None and rng.random() < 0.25:
        noise, quietest = babble[: len(sound)], 12.0
    else:
        spectrum = np.fft.rfft(rng.normal(size=len(sound)))
        hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
        noise = np.fft.irfft(spectrum / np.maximum(hertz, 30.0) ** rng.uniform(0.0, 1.2), len(sound))
        quietest = 4.0
    if rng.random() < 0.15:
        noise = noise + noise.std() * np.sin(2 * np.pi * rng.choice([50, 60, 100, 120]) * np.arange(len(sound)) / RATE)
    ratio = 10 ** (-rng.uniform(quietest, 40) / 20)
    loud = np.sqrt(np.mean(sound[np.abs(sound) > 0.02 * np.abs(sound).max()] ** 2)) if sound.any() else 1.0
    return sound + noise * ratio * loud / (noise.std() + 1e-12)


def _telephone(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """8 kHz, without lows, eight bits by the µ-law."""
    low = rng.uniform(100, 300)
    narrow = lfilter(
        _linear_phase(
            np.array([0, low / 8000, low / 6000, 3300 / 8000, 3900 / 8000, 1]), np.array([0, 0.1, 1, 1, 0, 0])
        ),
        [1.0],
        np.pad(sound, (0, 32)),
    )[32:]
    level = np.abs(narrow).max() + 1e-9
    pressed = np.sign(narrow) * np.log1p(255 * np.abs(narrow) / level) / np.log(256)
    coarse = np.rint(pressed * 127) / 127
    return np.sign(coarse) * (256 ** np.abs(coarse) - 1) / 255 * level


def _lossy(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a codec of few bits leaves: the strong parts of each spectrum, coarsely."""
    _, _, spectrum = stft(sound, RATE, nperseg=512)
    strength = np.abs(spectrum)
    near = np.maximum.reduce([np.roll(strength, shift, axis=0) for shift in (-8, -4, 0, 4, 8)])
    spectrum[strength < near * 10 ** (-rng.uniform(8, 24) / 20)] = 0.0
    highest = int(rng.uniform(0.45, 1.0) * spectrum.shape[0])
    spectrum[highest:] = 0.0
    return istft(spectrum, RATE, nperseg=512)[1][: len(sound)]
