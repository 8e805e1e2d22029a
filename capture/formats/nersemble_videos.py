"""What NeRSemble v2 and its benchmark share: a sequence folder of videos with the person's calibration beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from capture.formats.footage import Clip, common_length
from capture.formats.nersemble_rig import Rig, read_rig
from studio.errors import StudioError


@dataclass(frozen=True)
class VideoSequence:
    """The videos of a sequence.

    Args:
        person: the person's folder.
        calibration: camera_params.json.
        rig: the cameras that have a video.
        videos: serial -> video.
        frames: that all have.
        fps: frames per second.
        size: (width, height).
    """

    person: Path
    calibration: Path
    rig: Rig
    videos: Mapping[str, Path]
    frames: int
    fps: float
    size: tuple[int, int]

    def clips(self, mattes: Path | None = None) -> list[Clip]:
        """The videos in the rig's order, with those of the same name in a folder of mattes."""
        return [
            Clip(self.videos[serial], None if mattes is None else mattes / self.videos[serial].name)
            for serial in self.rig.serials
        ]


def is_video_sequence(source: Path) -> bool:
    """Whether it is a folder <person>/sequences/<sequence> with videos and a calibration."""
    calibration = source.parent.parent / "calibration" / "camera_params.json"
    return calibration.is_file() and any((source / "images").glob("cam_*.mp4"))


def read_video_sequence(source: Path) -> VideoSequence:
    """The videos and cameras of a sequence. Raises StudioError when there are none or they do not fit together."""
    videos = {path.stem.removeprefix("cam_"): path for path in sorted((source / "images").glob("cam_*.mp4"))}
    if not videos:
        raise StudioError(f"no videos of NeRSemble in {source}", expected="images/cam_<serial>.mp4")
    person = source.parent.parent
    calibration = person / "calibration" / "camera_params.json"
    frames, fps, size = common_length(list(videos.values()))
    rig = read_rig(calibration, size).chosen(sorted(videos))
    return VideoSequence(person, calibration, rig, videos, frames, fps, size)
