"""What travels beside foreign formats, which have no place for it: ``tracks/`` and ``audio.wav`` as in a capture."""

from __future__ import annotations

from pathlib import Path

from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import MANIFEST
from studio.logs import say

FOLDER, AUDIO = "tracks", "audio.wav"


def tracks_beside(source: Path) -> dict[str, CodeTrack]:
    """The tracks in a source's folder "tracks"; damaged ones are told."""
    found = {}
    for manifest in sorted((source / FOLDER).glob(f"*/{MANIFEST}")):
        name = manifest.parent.name
        try:
            found[name] = CodeTrack.load(manifest.parent)
        except StudioError as error:
            say(f"warning: the track {name} is left out: {error}")
    return found


def audio_beside(source: Path) -> Path | None:
    """The sound in a source's folder, if there is one."""
    path = source / AUDIO
    return path if path.is_file() else None
