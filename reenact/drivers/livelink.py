"""Live Link Face drives: a CSV file that the app wrote, recorded packets, or the app itself over the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.curves import read_curves
from reenact.curves.livelink_udp import PORT, LinkReceiver
from reenact.drivers import Driving
from studio.folders import content_hash
from studio.media.audio import read_wav


@dataclass(frozen=True)
class LiveLinkDriver:
    """ARKit channels from the app.

    Args:
        source: a CSV file, a recording of packets, or "udp": listen for the app.
        audio: a wav file that begins with the first row, if any.
        port: UDP port to listen on.
        seconds: how long to listen, counted from the first packet.
    """

    source: Path
    audio: Path | None = None
    port: int = PORT
    seconds: float = 10.0
    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        """Read the recording, or record. Raises StudioError when a file is damaged, or nothing arrives."""
        audio = read_wav(self.audio) if self.audio else None
        if str(self.source) == "udp":
            with LinkReceiver(self.port) as receiver:
                track = receiver.record(self.seconds, patience=max(30.0, self.seconds))
            return Driving(track, audio, {f"udp:{self.port}": track.hash})
        return Driving(read_curves(self.source), audio, {self.source.name: content_hash(self.source)})


DRIVER = LiveLinkDriver
