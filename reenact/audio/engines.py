"""Speech synthesisers as a source of sound whose phones and times are known; the network is trained on them.

All are found at run time: espeak-ng, flite and festival are used as programs where they are installed, a neural voice
as a package (``reenact.audio.neural_voice``), and there is the formant synthesiser of ``capture.synthetic``. Nothing
but training needs them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from capture.synthetic.phones import TimedPhone, schedule, usual_seconds
from capture.synthetic.speech import synthesise
from reenact.audio.corpus import pinyin, prose, sentence, syllables
from reenact.audio.espeak import Espeak, Spoken, find_espeak
from reenact.audio.neural_voice import has_hibari, say
from reenact.audio.phones import NAMES, SILENCE, filled, from_arpabet
from studio.errors import StudioError
from studio.media.audio import read_wav

_ENGLISH = ("en-us", "en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029")
_PINYIN = "cmn-latn-pinyin"
_OTHER = (_PINYIN, _PINYIN, _PINYIN, "de", "fr-fr", "es", "it", "pt-br", "nl", "pl", "sv", "tr", "fi", "id")
_VARIANTS = ("", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "klatt", "klatt2", "klatt3")
_FLITE = ("slt", "rms", "awb", "kal16", "slt", "rms", "awb")
_FESTIVAL = ("kal_diphone", "ked_diphone", "ked_diphone", "kal_diphone", "cmu_us_slt_arctic_hts")
# The speakers that both festival and flite have.
_SHARED = ("kal_diphone", "cmu_us_slt_arctic_hts", "kal16", "slt")
ENGINES = ("espeak", "flite", "festival", "hibari", "formant")


@dataclass(frozen=True)
class Voice:
    """One way of speaking, drawn at random; ``rate`` and ``pitch`` are factors."""

    engine: str
    name: str
    rate: float
    pitch: float
    foreign: bool = False


def installed() -> tuple[str, ...]:
    """The engines of this machine."""
    found: dict[str, object] = {name: shutil.which(name) for name in ("flite", "festival")}
    found |= {"espeak": find_espeak(), "hibari": has_hibari()}
    return tuple(name for name in ENGINES if name == "formant" or found.get(name))


def draw_voice(engine: str, rng: np.random.Generator) -> Voice:
    """A voice of an engine."""
    rate, pitch = float(rng.uniform(0.8, 1.3)), float(rng.uniform(0.7, 1.5))
    if engine == "espeak":
        foreign = rng.random() < 0.3
        variant = rng.choice(_VARIANTS)
        name = f"{rng.choice(_OTHER if foreign else _ENGLISH)}{'+' if variant else ''}{variant}"
        return Voice(engine, name, rate, pitch, bool(foreign))
    if engine == "flite":
        return Voice(engine, str(rng.choice(_FLITE)), rate, pitch)
    if engine == "festival":
        return Voice(engine, str(rng.choice(_festival_voices())), rate, pitch)
    if engine == "hibari":  # a low voice has a long tract
        pitch = float(2 ** rng.uniform(-1.0, 0.4))
        return Voice(engine, f"heart+{pitch**-0.3 * rng.uniform(0.92, 1.08):.2f}", rate, pitch)
    return Voice(engine, "formant", rate, pitch)


def is_shared(voice: Voice) -> bool:
    """Whether another engine has the same speaker."""
    return voice.name in _SHARED


def speak(voice: Voice, count: int, rng: np.random.Generator) -> list[Spoken]:
    """``count`` random sentences by one voice. Raises StudioError when its program fails."""
    if voice.engine == "formant":
        return [_formant(voice, rng) for _ in range(count)]
    if voice.engine == "hibari":
        return [_hibari(voice, rng) for _ in range(count)]
    write = pinyin if voice.name.startswith(_PINYIN) else syllables if voice.foreign else sentence
    texts = [write(rng) for _ in range(count)]
    if voice.engine == "espeak":
        with Espeak() as espeak:
            rate, pitch = round(165 * voice.rate), round(np.clip(50 + 40 * np.log2(voice.pitch), 5, 95))
            return [espeak.speak(text, voice.name, rate, pitch) for text in texts]
    with tempfile.TemporaryDirectory(prefix="speech-") as folder:
        if voice.engine == "flite":
            return [_flite(voice, text, Path(folder)) for text in texts]
        return _festival(voice, texts, Path(folder))


def _flite(voice: Voice, text: str, folder: Path) -> Spoken:
    out = folder / "out.wav"
    command = ["flite", "-voice", voice.name, "--setf", f"duration_stretch={1 / voice.rate:.3f}", "-psdur"]
    if voice.name == "kal16":
        command += ["--setf", f"int_f0_target_mean={105 * voice.pitch:.1f}"]
    said = _run([*command, "-t", text, "-o", str(out)])
    audio, phones, start = read_wav(out), [], 0.0
    for label, end in re.findall(r"([^\s:]+):([\d.]+)", said):
        phones.append(TimedPhone(from_arpabet(label) or SILENCE, start, float(end)))
        start = float(end)
    return Spoken(audio, tuple(filled(phones, audio.duration)))


def _festival(voice: Voice, texts: Sequence[str], folder: Path) -> list[Spoken]:
    script = [f"(voice_{voice.name})", f"(Parameter.set 'Duration_Stretch {1 / voice.rate:.3f})"]
    for index, text in enumerate(texts):
        words = text.replace('"', "")
        script.append(f'(set! u (utt.synth (Utterance Text "{words}")))')
        script.append(f'(utt.save.wave u "{folder}/{index}.wav" \'riff)(utt.save.segs u "{folder}/{index}.segs")')
    (folder / "speak.scm").write_text("\n".join(script))
    _run(["festival", "-b", str(folder / "speak.scm")])
    return [_festival_result(folder / f"{index}.wav") for index in range(len(texts))]


def _festival_result(path: Path) -> Spoken:
    """A sound of festival's with its segments: lines of end time, a number, and the label."""
    audio, phones, start = read_wav(path), [], 0.0
    for line in path.with_suffix(".segs").read_text().splitlines():
        parts = line.split()
        if len(parts) < 3:  # the header's "#"
            continue
        end = float(parts[0])
        phones.append(TimedPhone(from_arpabet(parts[2]) or SILENCE, start, end))
        start = end
    return Spoken(audio, tuple(filled(phones, audio.duration)))


def _hibari(voice: Voice, rng: np.random.Generator) -> Spoken:
    tract = float(voice.name.split("+")[1])
    while True:
        said = say(prose(rng), voice.rate, voice.pitch, tract, int(rng.integers(1 << 30)))
        if said is not None:
            return said


def _formant(voice: Voice, rng: np.random.Generator) -> Spoken:
    vowels = [name for name in NAMES if name[0] in "AEIOU"]
    consonants = [name for name in NAMES[1:] if name not in vowels]
    pairs = (f"{rng.choice(consonants)} {rng.choice(vowels)}" for _ in range(rng.integers(6, 20)))
    text = " ".join(["SIL", *pairs, "SIL"])
    seconds = usual_seconds(text) / voice.rate
    phones: list[TimedPhone] = schedule(text, 0.0, seconds)
    tract, seed = float(rng.uniform(0.85, 1.2)), int(rng.integers(1 << 30))
    audio = synthesise(phones, seconds, pitch=140 * voice.pitch, tract=tract, seed=seed)
    return Spoken(audio, tuple(filled(phones, seconds)))


@lru_cache
def _festival_voices() -> tuple[str, ...]:
    listed = _run(["festival", "-b", "(print (voice.list))"])
    return tuple(name for name in _FESTIVAL if re.search(rf"\b{name}\b", listed))


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise StudioError(f"{command[0]} failed", got=done.stderr.strip()[-200:] or f"exit code {done.returncode}")
    return done.stdout
