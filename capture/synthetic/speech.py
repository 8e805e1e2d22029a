"""A small formant synthesiser: timed phones in, sound out (after Klatt 1980).

Pulses of the vocal folds and breath go through a cascade of resonators whose frequencies follow the phones; friction
goes through one resonator of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from capture.synthetic.phones import PHONES, TimedPhone
from studio.media.audio import Audio

RATE = 24000
_STEP = 120  # samples between changes of the filters: 5 ms
_BANDWIDTHS = (70.0, 100.0, 150.0, 250.0)
_FOURTH_FORMANT = 3500.0
_LOUDNESS = 0.6


def synthesise(
    phones: Sequence[TimedPhone],
    seconds: float,
    *,
    pitch: float = 120.0,
    tract: float = 1.0,
    seed: int = 0,
) -> Audio:
    """Speak.

    Args:
        phones: what, and when.
        seconds: length of the sound; silent where no phone is.
        pitch: mean frequency of the voice in Hz.
        tract: scale of all formants; above 1 for a shorter throat.
        seed: of breath and friction.
    """
    steps = int(np.ceil(seconds * RATE / _STEP))
    controls = _controls(phones, steps)
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, 0.25, steps * _STEP)
    voiced = _folds(controls["voice"], pitch, rng) + np.repeat(controls["breath"], _STEP) * noise * 0.3
    for formant in range(4):
        frequency = controls[f"F{formant + 1}"] * tract if formant < 3 else np.full(steps, _FOURTH_FORMANT * tract)
        voiced = _resonate(voiced, frequency, _BANDWIDTHS[formant])
    voiced = lfilter([1.0, -0.96], [1.0], voiced)  # what the lips radiate
    friction = _resonate(noise * np.repeat(controls["hiss"], _STEP), controls["hiss_hz"], 1400.0)
    sound = voiced / max(np.abs(voiced).max(), 1e-9) + 0.35 * friction / max(np.abs(friction).max(), 1e-9)
    sound = sound[: round(seconds * RATE)] * _LOUDNESS / max(np.abs(sound).max(), 1e-9)
    return Audio(sound.astype(np.float32)[:, None], RATE)


def _controls(phones: Sequence[TimedPhone], steps: int) -> dict[str, np.ndarray]:
    """Targets of all controls for each step, smoothed as articulators move."""
    rest = PHONES["SIL"]
    tracks = {f"F{k + 1}": np.full(steps, rest.formants[k]) for k in range(3)}
    tracks |= {"voice": np.zeros(steps), "breath": np.zeros(steps), "hiss": np.zeros(steps)}
    tracks["hiss_hz"] = np.full(steps, rest.hiss_hz)
    for item in phones:
        phone = item.phone
        first, last = round(item.start * RATE / _STEP), round(item.end * RATE / _STEP)
        middle = first + (last - first) // 2
        for k in range(3):
            tracks[f"F{k + 1}"][first:last] = phone.formants[k]
            if phone.glide:
                tracks[f"F{k + 1}"][middle:last] = PHONES[phone.glide].formants[k]
        # A stop is shut for two thirds of its time; what it lets out comes in the burst after that.
        release = first + (2 * (last - first)) // 3 if phone.stop else first
        tracks["voice"][first:last] = phone.voice
        tracks["breath"][release:last] = phone.breath
        tracks["hiss"][release:last] = phone.hiss
        tracks["hiss_hz"][first:last] = phone.hiss_hz
    widths = {"F1": 4.0, "F2": 5.0, "F3": 5.0, "voice": 1.5, "breath": 0.8, "hiss": 0.8, "hiss_hz": 1.0}
    return {name: gaussian_filter1d(track, widths[name]) for name, track in tracks.items()}


def _folds(strength: np.ndarray, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """Pulses of the vocal folds (differentiated Rosenberg pulse) with a falling, slightly unsteady pitch."""
    steps = len(strength)
    contour = 1.08 - 0.22 * np.arange(steps) / max(steps, 1)
    wobble = gaussian_filter1d(rng.normal(size=steps), 12.0) * 0.25
    frequency = np.repeat(pitch * (contour + wobble), _STEP)
    phase = np.mod(np.cumsum(frequency) / RATE, 1.0)
    opening = np.where(phase < 0.45, np.sin(np.pi * phase / 0.45), 0.0)
    closing = np.where((phase >= 0.45) & (phase < 0.54), -4.0 * np.sin(np.pi * (phase - 0.45) / 0.09), 0.0)
    return (0.4 * opening + closing) * np.repeat(strength, _STEP)


def _resonate(signal: np.ndarray, frequency: np.ndarray, bandwidth: float) -> np.ndarray:
    """A second-order resonator of unit gain at zero frequency that follows ``frequency`` [steps] in Hz."""
    result, state = np.empty_like(signal), np.zeros(2)
    radius = np.exp(-np.pi * bandwidth / RATE)
    for step, hertz in enumerate(frequency):
        a1, a2 = -2.0 * radius * np.cos(2 * np.pi * hertz / RATE), radius**2
        part = slice(step * _STEP, (step + 1) * _STEP)
        result[part], state = lfilter([1.0 + a1 + a2], [1.0, a1, a2], signal[part], zi=state)
    return result
