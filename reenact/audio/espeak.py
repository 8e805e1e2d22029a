"""Speech with phone times from espeak-ng, which the user installs: it is GPL-3 and no part of this project.

It runs in a process of its own (``espeak_process.py``). Found as the system's library, or in the pip package
``espeakng-loader``.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from capture.synthetic.phones import TimedPhone
from reenact.audio.phones import SILENCE, filled, from_ipa, spread
from studio.errors import StudioError
from studio.media.audio import Audio

_PAUSE = 0.04  # seconds from which an event without a sound is a pause
_SCRIPT = Path(__file__).with_name("espeak_process.py")


@dataclass(frozen=True)
class Spoken:
    """Speech of known content.

    Args:
        audio: the sound, one channel.
        phones: what is said and when, from 0 to the end, silences named.
    """

    audio: Audio
    phones: tuple[TimedPhone, ...]


def find_espeak() -> tuple[str, ...] | None:
    """Library and, where it is not the system's, data folder of an installed espeak-ng; None for none."""
    if importlib.util.find_spec("espeakng_loader"):
        import espeakng_loader  # type: ignore[import-not-found, unused-ignore]

        return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    library = ctypes.util.find_library("espeak-ng")
    return (library,) if library else None


class Espeak:
    """A running espeak-ng; use as a context. Raises StudioError when none is installed or it does not start."""

    def __init__(self) -> None:
        found = find_espeak()
        if found is None:
            raise StudioError(
                "espeak-ng is not installed",
                expected="the espeak-ng library",
                next="pip install espeakng-loader, or install espeak-ng with the system's package manager",
            )
        command = [sys.executable, "-I", str(_SCRIPT), *found]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Espeak:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def speak(self, text: str, voice: str = "en-us", rate: int = 160, pitch: int = 50) -> Spoken:
        """Say a text.

        Args:
            text: what to say.
            voice: language of espeak-ng ("en-us", "de", "fr-fr"), with a variant after "+" ("en-us+f2").
            rate: words in a minute.
            pitch: 0..99.

        Raises:
            StudioError: no such voice, nothing to say, or espeak-ng fails.
        """
        request = {"text": " ".join(text.split()), "voice": voice, "rate": rate, "pitch": pitch}
        header, sound = self._ask(request)
        if "error" in header:
            raise StudioError(
                "espeak-ng has no such voice",
                got=voice,
                expected="a name that `espeak-ng --voices` lists, such as en-us",
            )
        samples = np.frombuffer(sound, "<i2").astype(np.float32)[:, None] / 32768.0
        audio = Audio(samples, header["rate"])
        phones = _phones(header["phonemes"], header["rate"], audio.duration)
        if all(item.name == SILENCE for item in phones):
            raise StudioError("nothing in the text can be spoken", got=repr(text[:40]), expected="words")
        return Spoken(audio, tuple(phones))

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in
        assert pipe_out
        try:
            pipe_in.write(json.dumps(request).encode() + b"\n")
            pipe_in.flush()
            header = json.loads(pipe_out.readline() or b"null")
        except OSError:
            header = None
        if header is None:
            raise StudioError("espeak-ng stopped working", got=f"voice {request['voice']}", next="try its own command")
        return header, pipe_out.read(2 * header.get("samples", 0))


def _phones(phonemes: list[tuple[str, int]], rate: int, seconds: float) -> list[TimedPhone]:
    """Timed phones of espeak-ng's events: each sound lasts until the next event."""
    ends = [sample / rate for _, sample in phonemes[1:]] + [seconds]
    found: list[TimedPhone] = []
    for (ipa, sample), end in zip(phonemes, ends, strict=True):
        names = () if ipa.startswith("(") else from_ipa(ipa)  # "(en)" tells of a change of language
        if not names and found and (ipa or end - sample / rate < _PAUSE):  # a tone or such belongs to the sound before
            found[-1] = TimedPhone(found[-1].name, found[-1].start, end)
        found += spread(names, sample / rate, end)
    return filled(found, seconds)
