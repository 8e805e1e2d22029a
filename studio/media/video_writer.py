"""Writing video: H.264 mp4 with sound in sync, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from studio.errors import StudioError
from studio.media.audio import Audio

Quality = Literal["normal", "near_lossless", "benchmark"]

# One rate that every player knows and whose AAC frames (1024 samples, 21 ms) are shorter than a video frame.
AUDIO_RATE = 48_000
_AAC_FRAME = 1024
# Subsampled chroma plays everywhere; full chroma keeps every pixel's colour for measurements.
_ENCODING: Mapping[Quality, tuple[str, dict[str, str]]] = {
    "normal": ("yuv420p", {"crf": "17", "preset": "fast"}),
    "near_lossless": ("yuv444p", {"crf": "4", "preset": "fast"}),
    "benchmark": ("yuv420p", {"crf": "14", "preset": "medium"}),  # as NeRSemble's server wants it
}


def exact_fps(fps: float | Fraction) -> Fraction:
    """A frame rate as an exact fraction: 29.97 and 23.976 become 30000/1001 and 24000/1001.

    Raises:
        StudioError: not a positive number.
    """
    if not 0 < fps < 10_000:
        raise StudioError("not a frame rate", got=fps, expected="frames per second above 0")
    if isinstance(fps, Fraction):
        return fps
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if abs(fps - ntsc) < 5e-3 and abs(fps - round(fps)) > 5e-3:
        return ntsc
    return Fraction(fps).limit_denominator(1000)


class VideoWriter:
    """An mp4 file that grows frame by frame and appears under its name when it is complete.

    Frames are H.264 at a constant rate, converted with the BT.709 matrix to limited range and tagged so. The sound
    (AAC) starts with frame 0; it is cut, or filled with silence, to the length of the pictures. When the ``with`` block
    fails or is interrupted, nothing is left behind and a file that was there before is untouched.

    Args:
        path: the file, ending in .mp4; its folder is made. An existing file is replaced at the very end.
        fps: frames per second, constant; see ``exact_fps``.
        size: (width, height) in pixels.
        audio: the sound, its time 0 at the start of frame 0.
        quality: "normal" (yuv420p, plays everywhere; an odd width or height is padded by repeating the last column or
            row) or "near_lossless" (yuv444p, colours within about 2 levels, for measurements).
        metadata: text by key; mp4 keeps title, comment, description, copyright and a few more.

    Raises:
        StudioError: the path is not an .mp4, or the size is impossible.
        OSError: the disk is full or the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        fps: float | Fraction,
        size: tuple[int, int],
        *,
        audio: Audio | None = None,
        quality: Quality = "normal",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if path.suffix.lower() != ".mp4":
            raise StudioError(f"cannot write the video {path}", got=path.suffix or "no suffix", expected=".mp4")
        if min(size) < 2:
            raise StudioError(f"cannot write the video {path}", got=f"size {size}", expected="at least 2 x 2 pixels")
        self.path, self.fps, self.size, self.frames = path, exact_fps(fps), size, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial.mp4")
        self._container = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "+faststart"})
        self._container.metadata.update(metadata or {})
        self._reformatter = VideoReformatter()
        self._video = self._add_video(quality)
        self._sound = _SoundStream(self._container, audio) if audio is not None and len(audio.samples) else None

    def _add_video(self, quality: Quality) -> Any:
        pixel_format, options = _ENCODING[quality]
        stream = self._container.add_stream("libx264", rate=self.fps, options=options)
        step = 1 if pixel_format == "yuv444p" else 2
        stream.width, stream.height = (-(-extent // step) * step for extent in self.size)
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = 1 / self.fps
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def write(
        self,
        frame: np.ndarray,  # [H, W, 3] uint8 sRGB
    ) -> None:
        """Append one frame (and the sound that belongs to it). Raises StudioError when its shape is another."""
        width, height = self.size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise StudioError(
                f"a frame does not fit the video {self.path.name}",
                got=f"{frame.dtype} {frame.shape}",
                expected=f"uint8 {(height, width, 3)}",
            )
        missing = (self._video.height - height, self._video.width - width)
        if any(missing):
            frame = np.pad(frame, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            format=self._video.pix_fmt,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
        )
        picture.pts, picture.time_base = self.frames, 1 / self.fps
        self._container.mux(self._video.encode(picture))
        self.frames += 1
        if self._sound:
            self._sound.write_until(self.frames / self.fps)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
            self._container.close()
            if error is None:
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        if not self.frames:
            raise StudioError(f"the video {self.path} has no frames", expected="at least one frame")
        self._container.mux(self._video.encode(None))
        if self._sound:
            self._sound.finish(self.frames / self.fps)


class _SoundStream:
    """The AAC stream of an mp4, encoded piece by piece beside the pictures so that the file is interleaved."""

    def __init__(self, container: Any, audio: Audio) -> None:
        self._container = container
        self._samples = audio.resampled(AUDIO_RATE).samples[:, :2]
        self._layout = "stereo" if self._samples.shape[1] == 2 else "mono"
        self._stream = container.add_stream("aac", rate=AUDIO_RATE, layout=self._layout)
        self._stream.bit_rate = 96_000 * self._samples.shape[1]
        self._written = 0

    def write_until(self, seconds: Fraction) -> None:
        """Encode the whole AAC frames before ``seconds``."""
        while self._written + _AAC_FRAME <= seconds * AUDIO_RATE:
            self._write(_AAC_FRAME)

    def finish(self, seconds: Fraction) -> None:
        """Encode the rest up to ``seconds``."""
        rest = round(seconds * AUDIO_RATE) - self._written
        if rest > 0:
            self._write(rest)
        self._container.mux(self._stream.encode(None))

    def _write(self, count: int) -> None:
        piece = self._samples[self._written : self._written + count]
        piece = np.pad(piece, ((0, count - len(piece)), (0, 0)))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece.T), format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, self._written, Fraction(1, AUDIO_RATE)
        self._container.mux(self._stream.encode(frame))
        self._written += count
