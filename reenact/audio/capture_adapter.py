"""The adapter of a capture: learned from its sound and one of its tracks."""

from __future__ import annotations

from pathlib import Path

from reenact.audio.adapter import Adapter, learn_adapter
from reenact.audio.extractor import SpeechExtractor
from reenact.audio.speaking import mono
from studio.captures import open_capture
from studio.codes import ARKIT52
from studio.errors import StudioError
from studio.media.audio import read_wav


def adapter_of(
    folder: Path, name: str | None = None, frames: range | None = None, features: Path | None = None
) -> Adapter:
    """Learn how the subject of a capture speaks.

    Args:
        folder: the capture.
        name: its track; not needed where there is one only.
        frames: which frames to learn from; all when not given.
        features: the user's own network of speech features, see ``reenact.audio.extractor``.

    Raises:
        StudioError: it has no sound, no such track, or too little speech.
    """
    capture = open_capture(folder)
    if capture.audio is None:
        raise StudioError(f"{folder} has no sound", expected="a capture with speech", next="use layer=network")
    made = sorted(path.name for path in (capture.folder / "tracks").glob("[!.]*"))
    if name is None and len(made) != 1:
        raise StudioError(f"{folder} has {len(made)} tracks", got=", ".join(made) or "none", next="name one: track=")
    track = capture.track(name or made[0])
    ARKIT52.require(track.codes.space, f"track {name or made[0]}")
    frames = frames or range(len(track))
    start, stop = frames.start / track.fps, frames.stop / track.fps
    extractor = SpeechExtractor(features) if features is not None else None
    samples = mono(read_wav(capture.audio).between(start, stop))
    return learn_adapter(samples, track.codes.expression[frames.start : frames.stop].numpy(), track.fps, extractor)
