"""Another video drives: its speaker is tracked, and his or her codes and voice are used."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.drivers import Driving
from studio.captures import open_capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import content_hash
from studio.media.audio import read_wav
from studio.media.video_reader import read_timecode

_SIZE = 256  # pixels of the driver's images: only the motion is taken from them


@dataclass(frozen=True)
class VideoDriver:
    """A clip of a talking person.

    Args:
        source: the video.
        head: the head model it is tracked with; see ``studio.heads.load_head``.
        face: whose motion, where several persons are seen: 0 the leftmost, 1 the next …; the most prominent when not
            given. He or she is followed by position and features, also after having been away.
        frames: at most so many frames from the beginning; all when not given.
        keep: a capture folder in which the tracked clip is kept and, when it is there already, found again.
    """

    source: Path
    head: str = "auto"
    face: int | None = None
    frames: int | None = None
    keep: Path | None = None
    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        """Track the clip (or read the kept track).

        Raises:
            StudioError: no such video, no face in it, or ``keep`` holds another clip.
        """
        if not self.source.is_file():
            raise StudioError(f"no such video: {self.source}", expected="a video file", next="check the path")
        home = nullcontext() if self.keep else tempfile.TemporaryDirectory(prefix="driver-")
        with home as temporary:
            folder = self.keep or Path(str(temporary)) / "capture"
            track = CodeTrack.load(self._tracked(folder))
            sound = folder / "audio.wav"
            audio = read_wav(sound).between(0.0, len(track) / track.fps) if sound.exists() else None
        parents = {self.source.name: content_hash(self.source)}
        return Driving(track, audio, parents, timecode=read_timecode(self.source))

    def _tracked(self, folder: Path) -> Path:
        """The track folder of the clip's capture, both made where they are missing."""
        from capture.tracking import TrackConfig, track_capture
        from capture.video import IngestConfig, ingest_video
        from studio.heads import load_head

        if not folder.exists():
            ingest_video(self.source, folder, IngestConfig(size=_SIZE, frames=self.frames, face=self.face))
        capture = open_capture(folder)
        if capture.manifest.parents.get(self.source.name) != content_hash(self.source):
            raise StudioError(
                f"{folder} holds another clip",
                got=", ".join(capture.manifest.parents),
                expected=self.source.name,
                next="choose another folder to keep it in",
            )
        kept = capture.manifest.body["source"].get("face")
        if kept != self.face:
            raise StudioError(
                f"{folder} holds another face of the clip",
                got=f"face={kept}",
                expected=f"face={self.face}",
                next="choose another folder to keep it in",
            )
        config = TrackConfig()
        track = folder / "tracks" / config.name
        return track if track.exists() else track_capture(capture, load_head(self.head), config)


DRIVER = VideoDriver
