"""From a recording to codes, by the layer that fits what is known: aligned, network or adapted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch

from capture.synthetic.phones import TimedPhone
from reenact.audio.adapter import Adapter
from reenact.audio.align import align
from reenact.audio.articulation import CLOSE, MOVEMENTS, PLAIN, Strength, codes_of, movements
from reenact.audio.features import HOP, RATE
from reenact.audio.listen import Heard, best_phones, hear
from reenact.audio.stream import Sampler
from reenact.audio.takes import loudness_of
from reenact.audio.textgrid import read_textgrid
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio

NETWORK_MADE = "speech network"  # provenance of layer 2
LAYERS = ("auto", "aligned", "network", "adapted")
_SHORTEST = 0.1  # seconds
BLOCK_SECONDS = 30  # of sound that are resampled at a time


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
    low, high = float(sound.samples.min(initial=0.0)), float(sound.samples.max(initial=0.0))
    size = BLOCK_SECONDS * sound.rate
    pieces = (Audio(sound.samples[k : k + size], sound.rate) for k in range(0, len(sound.samples), size))
    yield from heard_blocks(pieces, max(-low, high), sound.duration, channel)


def heard_blocks(
    pieces: Iterable[Audio],  # half minutes that follow each other
    peak: float,  # of the whole sound
    seconds: float,  # the same
    channel: int | None = None,
) -> Iterator[np.ndarray]:
    """``blocks`` of a sound that comes in pieces."""
    if seconds < _SHORTEST:
        raise StudioError("the sound is too short", got=f"{seconds:.2f} s", expected=f"at least {_SHORTEST} s")
    if not np.isfinite(peak):
        raise StudioError("the sound holds samples that are no numbers", next="export it again")
    before = np.zeros((0, 1), dtype=np.float32)
    for piece, after in pairwise(chain((_one_channel(item, channel) for item in pieces), [None])):
        assert piece is not None
        rate = piece.rate
        beyond = after.samples[:rate] if after else before[:0]
        joined = np.concatenate((before, piece.samples, beyond)) / max(peak, 1.0)
        ours = Audio(joined.astype(np.float32), rate).resampled(RATE).samples[:, 0]
        begin = len(before) * RATE // rate
        yield ours[begin : begin + -(-len(piece.samples) * RATE // rate)]
        before = piece.samples[len(piece.samples) - rate :]


def _one_channel(sound: Audio, channel: int | None) -> Audio:
    """The mean of a sound's channels, or one of them."""
    count = sound.samples.shape[1]
    if channel is not None and not 0 <= channel < count:
        raise StudioError("the sound has no such channel", got=channel, expected=f"0 to {count - 1}")
    kept = sound.samples.mean(1, keepdims=True) if channel is None else sound.samples[:, channel : channel + 1]
    return Audio(kept.astype(np.float32), sound.rate)


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
    count = frames_of(sound.duration, fps)
    if adapter is None:
        weights = np.zeros((count, len(ARKIT52)), dtype=np.float32)
        closure = np.zeros(count, dtype=np.float32)
        choices, place = [], 0
        for moved, choice in spoken(blocks(sound, channel), fps, count):
            here = slice(place, place + len(moved))
            weights[here], closure[here] = codes_of(moved, strength), moved[:, CLOSE]
            place += len(moved)
            choices.append(choice)
        return _track(weights, closure, best_phones(np.concatenate(choices)), fps, NETWORK_MADE)
    heard = _heard(blocks(sound, channel), adapter)
    moved = Sampler(fps).push(heard.moved, last=True)[:count]
    moved = np.concatenate((moved, np.repeat(moved[-1:], count - len(moved), axis=0)))
    phones = best_phones(heard.phones[:, 0])
    codes = adapter.codes(heard.hidden, heard.moved, np.arange(count) / fps)
    return _track(codes, moved[:, CLOSE], phones, fps, "speech network, adapted to the subject")


def spoken(
    sound: Iterable[np.ndarray],  # blocks [N] at 16 kHz
    fps: float,
    count: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Movements [F, MOVEMENTS] of ``count`` frames in all, and the best phones [T] at 50 Hz, piece by piece."""
    sampler, told, last = Sampler(fps), 0, np.zeros((1, len(MOVEMENTS)))
    for piece in hear(sound):
        moved = sampler.push(piece.moved)[: count - told]
        told, last = told + len(moved), moved[-1:] if len(moved) else last
        yield moved, piece.phones.argmax(1).astype(np.uint8)
    moved = sampler.push(np.zeros((0, len(MOVEMENTS))), last=True)[: count - told]
    last = moved[-1:] if len(moved) else last
    yield np.concatenate((moved, np.repeat(last, count - told - len(moved), axis=0))), np.zeros(0, np.uint8)


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
    track = track_of(weights, closure, fps, provenance)
    return replace(track, extras={**track.extras, **phone_extras(phones)})


def track_of(
    weights: np.ndarray,  # [T, 52]
    closure: np.ndarray,  # [T]
    fps: float,
    provenance: str,
) -> CodeTrack:
    """The track of these weights, with the closures as an extra."""
    codes = Codes.neutral(ARKIT52, (len(weights),))
    codes.expression[:] = torch.from_numpy(weights)
    valid = torch.ones(len(weights), dtype=torch.bool)
    return CodeTrack(codes, fps, valid, {"expression": provenance}, {"closure": closure.astype(np.float32)})


def phone_extras(phones: Sequence[TimedPhone]) -> dict[str, np.ndarray]:
    """Timed phones as extras of a track."""
    return {
        "phones/start": np.array([item.start for item in phones]),
        "phones/end": np.array([item.end for item in phones]),
        "phones/name": np.array([item.name for item in phones], dtype="<U8"),
    }
