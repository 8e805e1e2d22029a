"""Writing video with sound in sync, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from studio.errors import StudioError
from studio.media.audio import Audio
from studio.media.video_codecs import CODECS, CONTAINERS, CodecName, Quality, codec_for, require_timecode

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".webm": "webm", ".mkv": "matroska"}
# One rate that every player knows and whose AAC frames (1024 samples, 21 ms) are shorter than a video frame.
AUDIO_RATE = 48_000
_AAC_FRAME = 1024


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
    """A video file that grows frame by frame and appears under its name when it is complete.

    Frames come at a constant rate, converted with the BT.709 matrix to limited range and tagged so. The sound
    starts with frame 0; it is cut, or filled with silence, to the length of the pictures. When the ``with`` block
    fails or is interrupted, nothing is left behind and a file that was there before is untouched.

    Args:
        path: the file; its ending chooses the container (see ``video_codecs.CONTAINERS``) and its folder is made. An
            existing file is replaced at the very end.
        fps: frames per second, constant; see ``exact_fps``.
        size: (width, height) in pixels.
        audio: the sound, its time 0 at the start of frame 0.
        quality: "normal" (yuv420p, plays everywhere; an odd width or height is padded by repeating the last column or
            row) or "near_lossless" (yuv444p, colours within about 2 levels, for measurements).
        metadata: text by key; mp4 keeps title, comment, description, copyright and a few more.
        codec: the container's usual one where not given.
        alpha: frames bring their alpha (straight, not premultiplied); prores and vp9 keep it.
        timecode: of the first frame, HH:MM:SS:FF (; before FF for drop frames); kept by .mov, .mp4 and .mkv.

    Raises:
        StudioError: no such container or codec, the codec has no alpha, an impossible size or timecode.
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
        codec: CodecName | None = None,
        alpha: bool = False,
        timecode: str | None = None,
    ) -> None:
        self.codec, self._alpha = codec_for(path, codec, alpha), alpha
        if timecode is not None:
            require_timecode(timecode)
        if min(size) < 2:
            raise StudioError(f"cannot write the video {path}", got=f"size {size}", expected="at least 2 x 2 pixels")
        self.path, self.fps, self.size, self.frames = path, exact_fps(fps), size, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        ending = path.suffix.lower()
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{ending}")
        options = {"movflags": "+faststart"} if ending in (".mp4", ".mov") else {}
        self._container = av.open(str(self._temporary), "w", format=_FORMATS[ending], options=options)
        self._container.metadata.update({**(metadata or {}), **({"timecode": timecode} if timecode else {})})
        self._reformatter = VideoReformatter()
        self._video = self._add_video(quality)
        heard = audio is not None and len(audio.samples)
        self._sound = _SoundStream(self._container, audio, CONTAINERS[ending][1]) if audio and heard else None

    def _add_video(self, quality: Quality) -> Any:
        codec = CODECS[self.codec]
        if quality not in codec.pixels:
            raise StudioError("no such quality of this codec", got=f"{quality} {self.codec}", expected="codec=h264")
        pixel_format, options = codec.pixels[quality]
        if self._alpha and codec.alpha is not None:
            pixel_format, options = codec.alpha, dict(codec.alpha_options)
        stream: Any = self._container.add_stream(codec.encoder, rate=self.fps, options=options)
        step = 1 if "444" in pixel_format else 2
        stream.width, stream.height = (-(-extent // step) * step for extent in self.size)
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = 1 / self.fps
        context = stream.codec_context
        if codec.tag and self.path.suffix.lower() in (".mp4", ".mov"):
            context.codec_tag = codec.tag
        if self.codec == "vp9" and self._alpha:
            stream.metadata["alpha_mode"] = "1"
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def write(
        self,
        frame: np.ndarray,  # [H, W, 3] uint8 sRGB, or [H, W, 4] with alpha
    ) -> None:
        """Append one frame (and the sound that belongs to it). Raises StudioError when its shape is another."""
        width, height = self.size
        channels = 4 if self._alpha else 3
        if frame.shape != (height, width, channels) or frame.dtype != np.uint8:
            raise StudioError(
                f"a frame does not fit the video {self.path.name}",
                got=f"{frame.dtype} {frame.shape}",
                expected=f"uint8 {(height, width, channels)}",
            )
        missing = (self._video.height - height, self._video.width - width)
        if any(missing):
            frame = np.pad(frame, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgba" if self._alpha else "rgb24"),
            format=self._video.pix_fmt,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
        )
        picture.color_primaries, picture.color_trc = ColorPrimaries.BT709, ColorTrc.BT709  # what ProRes goes by
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
    """The sound, encoded piece by piece beside the pictures so that the file is interleaved."""

    def __init__(self, container: Any, audio: Audio, codec: str) -> None:
        self._container = container
        self._samples = audio.resampled(AUDIO_RATE).samples[:, :2]
        self._layout = "stereo" if self._samples.shape[1] == 2 else "mono"
        self._stream: Any = container.add_stream(codec, rate=AUDIO_RATE, layout=self._layout)
        if codec != "pcm_s16le":
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
        frame = _sound_frame(piece, self._stream.codec_context.name, self._layout)
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, self._written, Fraction(1, AUDIO_RATE)
        self._container.mux(self._stream.encode(frame))
        self._written += count


def _sound_frame(
    piece: np.ndarray,  # [N, C] float32
    codec: str,
    layout: str,
) -> Any:
    """Samples in the form that an encoder takes."""
    if codec == "aac":
        return av.AudioFrame.from_ndarray(np.ascontiguousarray(piece.T), format="fltp", layout=layout)
    if codec == "libopus":
        return av.AudioFrame.from_ndarray(np.ascontiguousarray(piece.reshape(1, -1)), format="flt", layout=layout)
    whole = np.rint(piece.clip(-1, 1) * 32767).astype(np.int16)
    return av.AudioFrame.from_ndarray(np.ascontiguousarray(whole.reshape(1, -1)), format="s16", layout=layout)
