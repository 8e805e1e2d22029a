"""A stored track drives: a track folder, or a capture with a track, as a whole or a named split of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.drivers import Driving
from reenact.timeline import cut
from studio.captures import Capture, open_capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import content_hash, read_manifest
from studio.media.audio import read_wav


@dataclass(frozen=True)
class TrackDriver:
    """Codes from disk, as they are.

    Args:
        source: a track folder, or a capture folder (whose sound is used too).
        name: which track of a capture; not needed where there is one only.
        split: which part of a capture, such as "all" or "test"; its frames must follow each other.
    """

    source: Path
    name: str | None = None
    split: str = "all"
    relative: ClassVar[bool] = False

    def drive(self) -> Driving:
        """Read the track. Raises StudioError when there is none, or the split has gaps."""
        if read_manifest(self.source, kind=None).kind == "capture":
            return self._from_capture(open_capture(self.source))
        return Driving(CodeTrack.load(self.source), parents={self.source.name: content_hash(self.source)})

    def _from_capture(self, capture: Capture) -> Driving:
        made = sorted(path.name for path in (capture.folder / "tracks").glob("[!.]*"))
        if self.name is None and len(made) > 1:
            raise StudioError(f"{capture.folder} has several tracks", got=", ".join(made), next="name one of them")
        name = self.name or (made[0] if made else "default")
        track = capture.track(name)
        timesteps = capture.split(self.split).timesteps
        start, stop = min(timesteps), max(timesteps) + 1
        if sorted(timesteps) != list(range(start, stop)):
            raise StudioError(
                f"split {self.split} of {capture.folder} is no clip",
                got=f"{len(timesteps)} frames with gaps",
                expected="frames that follow each other",
            )
        audio = read_wav(capture.audio).between(start / track.fps, stop / track.fps) if capture.audio else None
        folder = capture.folder / "tracks" / name
        return Driving(cut(track, start, stop), audio, {f"{capture.folder.name}/{name}": content_hash(folder)})


DRIVER = TrackDriver
