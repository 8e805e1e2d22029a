"""From a recording to codes, by the layer that fits what is known: aligned, network or adapted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from capture.synthetic.phones import TimedPhone
from reenact.audio.adapter import Adapter
from reenact.audio.align import align
from reenact.audio.articulation import CLOSE, PLAIN, Strength, codes_of, movements
from reenact.audio.features import HOP, RATE
from reenact.audio.listen import Heard, best_phones, hear
from reenact.audio.stream import Sampler
from reenact.audio.takes import loudness_of
from reenact.audio.textgrid import read_textgrid
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio

LAYERS = ("auto", "aligned", "network", "adapted")
_SHORTEST = 0.1  # seconds
_BLOCK_SECONDS = 30  # of sound that are resampled at a time


@dataclass(frozen=True)
class Speech:
    """What is known of a recording besides its sound.

    Args:
        transcript: what is said, if known.
        textgrid: timed phones, if there are any.
        language: of the transcript, as espeak-ng names it.
        aligner: of the transcript; see ``reenact.audio.align``.
        adapter: the subject's own mouth, if learned.
    """

    transcript: str | None = None
    textgrid: Path | None = None
    language: str = "en-us"
    aligner: str = "auto"
    adapter: Adapter | None = None


def mono(sound: Audio, channel: int | None = None) -> np.ndarray:
    """A recording as the network wants it: samples [N] at 16 kHz; see ``blocks``."""
    return np.concatenate(list(blocks(sound, channel)))


def blocks(sound: Audio, channel: int | None = None) -> Iterator[np.ndarray]:
    """A recording as the network wants it, half a minute at a time: samples [N] at 16 kHz.

    The mean of its channels, or one of them. Each block is resampled with what is beside it, so that none has an edge.

    Raises:
        StudioError: no such channel, shorter than 0.1 s, or numbers that are none.
    """
    count = sound.samples.shape[1]
    if channel is not None and not 0 <= channel < count:
        raise StudioError("the sound has no such channel", got=channel, expected=f"0 to {count - 1}")
    if sound.duration < _SHORTEST:
        raise StudioError("the sound is too short", got=f"{sound.duration:.2f} s", expected=f"at least {_SHORTEST} s")
    low, high = float(sound.samples.min()), float(sound.samples.max())
    if not np.isfinite(low + high):
        raise StudioError("the sound holds samples that are no numbers", next="export it again")
    level = max(-low, high, 1.0)
    for start in range(0, len(sound.samples), _BLOCK_SECONDS * sound.rate):
        stop = min(start + _BLOCK_SECONDS * sound.rate, len(sound.samples))
        before = sound.rate if start else 0
        piece = sound.samples[start - before : stop + sound.rate] / level
        piece = piece.mean(1, keepdims=True) if channel is None else piece[:, channel : channel + 1]
        ours = Audio(np.ascontiguousarray(piece, dtype=np.float32), sound.rate).resampled(RATE).samples[:, 0]
        begin = RATE if start else 0
        yield ours[begin : begin + -(-(stop - start) * RATE // sound.rate)]


def speak_codes(
    sound: Audio,
    speech: Speech,
    fps: float,
    strength: Strength = PLAIN,
    layer: str = "auto",
    channel: int | None = None,  # the speaker's; the mean of all by default
) -> CodeTrack:
    """The track of a recording: mouth and jaw; all else at rest.

    ``extras``: ``closure`` [T], how far lips must touch; ``phones/start``, ``phones/end`` and ``phones/name``.

    Raises:
        StudioError: the layer lacks what it needs.
    """
    layer = _chosen(layer, speech)
    if layer == "aligned":
        samples = mono(sound, channel)
        phones, how = aligned_phones(samples, speech)
        return phone_track(phones, sound.duration, fps, strength, f"aligned speech ({how})", samples)
    adapter = speech.adapter if layer == "adapted" else None
    heard = _heard(blocks(sound, channel), adapter)
    count = frames_of(sound.duration, fps)
    moved = Sampler(fps).push(heard.moved, last=True)[:count]
    moved = np.concatenate((moved, np.repeat(moved[-1:], count - len(moved), axis=0)))
    phones = best_phones(heard.phones[:, 0])
    if adapter is None:
        return _track(codes_of(moved, strength), moved[:, CLOSE], phones, fps, "speech network")
    codes = adapter.codes(heard.hidden, heard.moved, np.arange(count) / fps)
    return _track(codes, moved[:, CLOSE], phones, fps, "speech network, adapted to the subject")


def _heard(pieces_of_sound: Iterable[np.ndarray], adapter: Adapter | None) -> Heard:
    """What is heard, in little memory: of phones the best, of hidden features what the adapter uses."""
    pieces, own = [], adapter.extractor if adapter else None
    if own is not None and adapter is not None:
        sounds = list(pieces_of_sound)
        told = [adapter.reduced(part) for part in own.hear(sounds)]
        heard = _heard(sounds, None)
        return replace(heard, hidden=np.concatenate(told)[: len(heard.moved)])
    for piece in hear(pieces_of_sound):
        hidden = adapter.reduced(piece.hidden) if adapter else piece.hidden[:, :0]
        pieces.append(Heard(piece.phones.argmax(1)[:, None].astype(np.uint8), piece.moved.astype(np.float32), hidden))
    return Heard.joined(pieces)


def _chosen(layer: str, speech: Speech) -> str:
    if layer not in LAYERS:
        raise StudioError("unknown layer of the audio driver", got=layer, expected=" | ".join(LAYERS))
    told = speech.transcript is not None or speech.textgrid is not None
    if layer == "auto":
        return "adapted" if speech.adapter else "aligned" if told else "network"
    if layer == "aligned" and not told:
        raise StudioError("nothing to align", expected="a transcript or a TextGrid", next="give one, or layer=network")
    if layer == "adapted" and speech.adapter is None:
        raise StudioError(
            "no adapter", expected="a capture with sound and a track", next="give capture=, or layer=network"
        )
    return layer


def aligned_phones(samples: np.ndarray, speech: Speech) -> tuple[list[TimedPhone], str]:
    """Timed phones of a recording, and where they come from."""
    if speech.textgrid is not None:
        return read_textgrid(speech.textgrid), "TextGrid"
    assert speech.transcript is not None
    return align(samples, speech.transcript, speech.language, speech.aligner)


def frames_of(seconds: float, fps: float) -> int:
    """How many frames cover a time."""
    if not fps > 0:
        raise StudioError("not a frame rate", got=fps, expected="frames per second above 0")
    return max(1, int(np.ceil(seconds * fps - 1e-6)))


def phone_track(
    phones: Sequence[TimedPhone],
    seconds: float,
    fps: float,
    strength: Strength,
    provenance: str,
    samples: np.ndarray | None = None,  # [N] at 16 kHz, whose loudness the mouth follows
) -> CodeTrack:
    """The track of timed phones, by the rules of ``reenact.audio.articulation``."""
    times = np.arange(frames_of(seconds, fps)) / fps
    loudness = None
    if samples is not None:
        level = loudness_of(samples, -(-len(samples) // HOP))
        loudness = np.interp(times, np.arange(len(level)) * HOP / RATE, level)
    moved = movements(phones, times, loudness)
    return _track(codes_of(moved, strength), moved[:, CLOSE], phones, fps, provenance)


def _track(
    weights: np.ndarray,  # [T, 52]
    closure: np.ndarray,  # [T]
    phones: Sequence[TimedPhone],
    fps: float,
    provenance: str,
) -> CodeTrack:
    codes = Codes.neutral(ARKIT52, (len(weights),))
    codes.expression[:] = torch.from_numpy(weights)
    extras = {
        "closure": closure.astype(np.float32),
        "phones/start": np.array([item.start for item in phones]),
        "phones/end": np.array([item.end for item in phones]),
        "phones/name": np.array([item.name for item in phones], dtype="<U8"),
    }
    valid = torch.ones(len(weights), dtype=torch.bool)
    return CodeTrack(codes, fps, valid, {"expression": provenance}, extras)
