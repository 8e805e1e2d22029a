"""How a track is rendered: size, background, camera, and what its pictures are stored as."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from reenact.camera_paths import CameraPathConfig
from studio.errors import StudioError
from studio.media.passes import Pass
from studio.media.video_codecs import CONTAINERS, CodecName, Quality, codec_for, is_video, require_timecode

# Endings of files that are not written; any other name without a video's ending is that of a folder.
_VIDEOS = {".avi", ".flv", ".gif", ".m4v", ".mpeg", ".mpg", ".mxf", ".ogv", ".ts", ".wmv"}
_OTHERS = _VIDEOS | {".apng", ".bmp", ".exr", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class RenderConfig:
    """How a track is rendered.

    Args:
        size: (width, height) in pixels; the avatar's own where not given.
        fps: frames per second; the driver's own where not given.
        background: "avatar", a colour or an image file; see ``reenact/backgrounds.py``.
        camera: where it is seen from.
        quality: "normal" or "near_lossless", of a video.
        alpha: images keep their alpha and have no background; so do videos whose codec can.
        codec: of a video; its container's usual one where not given.
        timecode: of the first frame of a video, HH:MM:SS:FF; the driver's own where not given.
        images: of a folder: "png" (8 bits, sRGB, straight alpha) or "exr" (floats, linear light, premultiplied).
        watermark: text that every picture shows in its lower left corner; none by default.
        passes: further images of a folder, each in a folder of its own: "depth" and "alpha".
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    background: str = "avatar"
    camera: CameraPathConfig = field(default_factory=CameraPathConfig)
    quality: Quality = "normal"
    alpha: bool = False
    codec: CodecName | None = None
    timecode: str | None = None
    images: Literal["png", "exr"] = "png"
    passes: tuple[Pass, ...] = ()
    watermark: str = ""

    def __post_init__(self) -> None:
        if self.size is not None and not 2 <= min(self.size) <= max(self.size) <= 8192:
            raise StudioError("impossible image size", got=self.size, expected="2 to 8192 pixels on each side")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise StudioError("not a frame rate", got=self.fps, expected="frames per second above 0, 1000 at most")
        if self.timecode is not None:
            require_timecode(self.timecode)

    def require_fit(self, out: Path) -> None:
        """Raise StudioError when what is asked for cannot be stored under this name."""
        folder = "out=<name without ending>"
        if not is_video(out):
            if out.suffix.lower() in _OTHERS:
                expected = f"{' | '.join(CONTAINERS)} | a name without ending (a folder of images)"
                raise StudioError(f"cannot write {out.name}", got=out.suffix, expected=expected)
            if self.codec is not None:
                raise StudioError("a folder of images has no codec", got=f"codec={self.codec}", expected="out=….mp4")
            return
        codec_for(out, self.codec, self.alpha)
        if self.passes:
            raise StudioError("passes need a folder of images", got=out.name, expected=folder)
        if self.images == "exr":
            raise StudioError("EXR images need a folder", got=out.name, expected=folder)

    def within(self, base: Path) -> RenderConfig:
        """The same with files that lie relative to a folder."""
        behind, keys = base / Path(self.background).expanduser(), self.camera.keys
        return replace(
            self,
            background=str(behind) if behind.is_file() else self.background,
            camera=replace(self.camera, keys=base / keys.expanduser()) if keys else self.camera,
        )
