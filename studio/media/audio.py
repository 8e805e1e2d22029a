"""Sound: float samples in memory, PCM wav files on disk."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from studio.errors import StudioError


@dataclass(frozen=True)
class Audio:
    """A piece of sound.

    Args:
        samples: [N, channels] float32, -1..1.
        rate: samples per second.
    """

    samples: np.ndarray
    rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32 or self.rate <= 0:
            raise StudioError(
                "samples of a sound have the wrong form",
                got=f"{self.samples.dtype} {self.samples.shape} at {self.rate} Hz",
                expected="float32 [samples, channels] at a positive rate",
            )

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate

    def resampled(self, rate: int) -> Audio:
        """The same sound at another rate (polyphase filter); sample 0 stays at time 0."""
        if rate == self.rate or not len(self.samples):
            return Audio(self.samples, rate)
        from scipy.signal import resample_poly  # takes a second to load

        ratio = Fraction(rate, self.rate)
        samples = resample_poly(self.samples, ratio.numerator, ratio.denominator, axis=0)
        return Audio(samples.astype(np.float32), rate)

    def between(self, start: float, end: float) -> Audio:
        """The sound from ``start`` to ``end`` seconds, silent where the recording has nothing."""
        first, last = round(start * self.rate), round(end * self.rate)
        samples = np.zeros((last - first, self.samples.shape[1]), dtype=np.float32)
        low, high = max(first, 0), min(last, len(self.samples))
        if high > low:
            samples[low - first : high - first] = self.samples[low:high]
        return Audio(samples, self.rate)


def read_wav(path: Path) -> Audio:
    """Read a wav file (PCM of 8 to 32 bits, or float).

    Raises:
        StudioError: no such file, or not a whole wav file.
    """
    from scipy.io import wavfile  # takes a while to load

    if not path.is_file():
        raise StudioError(f"no such sound file: {path}", expected="a wav file", next="check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of metadata that scipy does not know
            rate, data = wavfile.read(path)
    except (ValueError, EOFError, OSError) as error:
        raise StudioError(
            f"cannot read the sound {path}", got=error, expected="a wav file", next="convert it, or leave the sound out"
        ) from error
    samples = data if data.ndim == 2 else data[:, None]
    if samples.dtype == np.uint8:
        return Audio((samples.astype(np.float32) - 128.0) / 128.0, rate)
    if samples.dtype.kind == "i":  # scipy left-aligns 24 bits in 32
        return Audio((samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32), rate)
    return Audio(samples.astype(np.float32), rate)


def write_wav(path: Path, audio: Audio) -> None:
    """Write a wav file of 16-bit PCM, whole or not at all; values outside -1..1 are clipped."""
    from scipy.io import wavfile

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        wavfile.write(temporary, audio.rate, np.clip(np.rint(audio.samples * 32768.0), -32768, 32767).astype(np.int16))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
