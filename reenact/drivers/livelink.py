"""A Live Link Face recording drives: the CSV file that the app writes, with the sound beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.drivers import Driving
from reenact.livelink_csv import read_livelink_csv
from studio.folders import content_hash
from studio.media.audio import read_wav


@dataclass(frozen=True)
class LiveLinkDriver:
    """Recorded ARKit channels.

    Args:
        source: the CSV file.
        audio: a wav file that begins with the first row, if any.
    """

    source: Path
    audio: Path | None = None
    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        """Read the recording. Raises StudioError when a file is missing or damaged."""
        track = read_livelink_csv(self.source)
        audio = read_wav(self.audio) if self.audio else None
        return Driving(track, audio, {self.source.name: content_hash(self.source)})


DRIVER = LiveLinkDriver
