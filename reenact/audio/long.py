"""Hours of speech: from a file to a track folder by layer 2, in memory that does not grow with the length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from reenact.audio.articulation import CLOSE, PLAIN, Strength, codes_of
from reenact.audio.listen import best_phones
from reenact.audio.speaking import BLOCK_SECONDS, NETWORK_MADE, frames_of, heard_blocks, phone_extras, spoken, track_of
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import content_hash
from studio.media.video_reader import read_audio_blocks
from studio.track_pieces import write_track


def speak_file(
    source: Path,
    out: Path,
    fps: float = 30.0,
    strength: Strength = PLAIN,
    channel: int | None = None,  # the speaker's; the mean of all by default
) -> int:
    """Write the track of a sound file of any length, the same that ``speak_codes`` makes; returns its frames.

    Raises:
        StudioError: the sound cannot be used, or the folder exists and is not empty.
    """
    peak, seconds = 0.0, 0.0
    for block in read_audio_blocks(source, BLOCK_SECONDS):
        peak = max(peak, float(np.abs(block.samples).max())) if np.isfinite(block.samples).all() else np.inf
        seconds += block.duration
    if not seconds:
        raise StudioError(f"{source} holds no sound", expected="a recording of speech")
    choices: list[np.ndarray] = []

    def pieces() -> Iterator[CodeTrack]:
        heard = heard_blocks(read_audio_blocks(source, BLOCK_SECONDS), peak, seconds, channel)
        for moved, choice in spoken(heard, fps, frames_of(seconds, fps)):
            choices.append(choice)
            yield track_of(codes_of(moved, strength), moved[:, CLOSE], fps, NETWORK_MADE)

    def phones() -> Mapping[str, np.ndarray]:
        return phone_extras(best_phones(np.concatenate(choices)))

    return write_track(out, pieces(), extras=phones, parents={source.name: content_hash(source)})
