"""Reading video: any container, upright frames at a constant rate, sound in sync (PyAV, imageio's video plugin)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation

from studio.errors import StudioError
from studio.logs import say
from studio.media.audio import Audio

_COMMON_RATES = tuple(Fraction(rate) for rate in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120)) + tuple(
    Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 120)
)
_STILL_FORMATS = ("image2", "_pipe")  # FFmpeg's readers of single pictures
_UNSPECIFIED, _HD_LINES = 2, 720  # players take untagged video of this height for BT.709
_SHORT_READ = 0.5  # seconds of promised but missing picture that are worth a warning
_SOUND_GAP = 0.05  # seconds; smaller deviations of audio timestamps are rounding


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds, as it is shown: after rotation, at a constant rate.

    Args:
        path: the file.
        width: pixels, after rotation.
        height: pixels, after rotation.
        fps: frames per second that ``read_frames`` yields.
        frames: how many it yields.
        duration: seconds.
        rotation: degrees by which the stored pictures are turned counter-clockwise to be upright.
        has_audio: whether there is a sound track.
        variable_rate: whether the file's own timestamps are not evenly spaced.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frames: int
    duration: float
    rotation: int
    has_audio: bool
    variable_rate: bool


def probe(path: Path, fps: float | Fraction | None = None) -> VideoInfo:
    """Look into a video file without decoding more than one frame.

    Args:
        path: the file.
        fps: the constant rate to read at; the file's own (the most common one, for a variable rate) when not given.

    Raises:
        StudioError: missing, empty, damaged, a still image, or without pictures.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        base = float(stream.time_base or Fraction(1, 90_000))
        first = _first_frame(container, stream, path)
        rotation = first.rotation % 360
        width, height = (first.height, first.width) if rotation % 180 else (first.width, first.height)
        _rewind(container, path)
        times = _packet_times(container, stream) * base
        declared = stream.duration * base if stream.duration else (container.duration or 0) / av.time_base
        own = _frame_rate(times, stream)
        rate = own if fps is None else Fraction(fps).limit_denominator(1001)
        if rate <= 0:
            raise StudioError("not a frame rate", got=fps, expected="frames per second above 0")
        duration = float(times[-1] - times[0]) + float(1 / own)
        if declared > duration + _SHORT_READ:
            say(f"warning: {path.name} ends early: {duration:.2f} s of {declared:.2f} s are there")
        steps = np.diff(times)
        uneven = bool(len(steps) and np.abs(steps - 1 / float(own)).max() > 0.3 / float(own))
        frames = max(round(duration * rate), 1)
        return VideoInfo(
            path, width, height, rate, frames, frames / float(rate), rotation, bool(container.streams.audio), uneven
        )


def read_frames(
    path: Path, *, fps: float | Fraction | None = None, start: int = 0, stop: int | None = None
) -> Iterator[np.ndarray]:
    """Yield upright frames, uint8 [H, W, 3] sRGB, evenly spaced in time from the first picture of the file.

    Frame k is the picture whose timestamp is nearest to k / fps, so variable rates, gaps and repeated timestamps keep
    their timing. A damaged or truncated file yields what can be read and says so.

    Args:
        path: the file.
        fps: as for ``probe``.
        start: index of the first frame to yield.
        stop: index after the last one; all by default.

    Raises:
        StudioError: as ``probe``; or not one frame could be decoded.
    """
    info = probe(path, fps)
    last = info.frames if stop is None else min(stop, info.frames)
    produced = 0
    for index, frame in enumerate(_evenly_spaced(info)):
        if index >= last:
            return
        produced = index + 1
        if index >= start:
            yield _upright(frame, info.rotation)
    if produced < last:
        say(f"warning: {path.name} is damaged: {produced} of {last} frames could be read")


def read_audio(path: Path, *, mono: bool = False) -> Audio | None:
    """The sound of a video or sound file, its time 0 at the first picture (or the first sample without pictures).

    The difference between the start times of sound and picture is filled with silence or cut off; gaps become silence.

    Returns:
        Sound of one or two channels at the file's own rate, or None where there is no sound track.

    Raises:
        StudioError: missing, empty or damaged file.
    """
    pieces = list(_sound_pieces(path, mono=mono))
    if not pieces:
        return None
    rate, channels = pieces[0].rate, len(pieces[0].samples)
    length = max(round(piece.begins * rate) + piece.samples.shape[1] for piece in pieces)
    sound = np.zeros((max(length, 0), channels), dtype=np.float32)
    for piece in pieces:
        offset = round(piece.begins * rate)
        kept = piece.samples[:, max(-offset, 0) :].T
        sound[max(offset, 0) : max(offset, 0) + len(kept)] = kept
    return Audio(sound, rate)


def read_audio_blocks(path: Path, seconds: float) -> Iterator[Audio]:
    """The sound of ``read_audio`` in blocks that follow each other, each but the last as long; in little memory.

    Raises:
        StudioError: missing, empty or damaged file.
    """
    waiting: list[np.ndarray] = []
    held = told = rate = 0  # samples waiting, and samples of all until now
    for piece in _sound_pieces(path):
        rate = piece.rate
        size, offset = round(seconds * rate), round(piece.begins * rate)
        gap = np.zeros((max(offset - told, 0), len(piece.samples)), dtype=np.float32)
        new = np.concatenate((gap, piece.samples[:, max(told - offset, 0) :].T))
        waiting.append(new)
        held, told = held + len(new), told + len(new)
        while held >= size:
            whole = np.concatenate(waiting)
            yield Audio(np.ascontiguousarray(whole[:size]), rate)
            waiting, held = [whole[size:]], held - size
    if held:
        yield Audio(np.concatenate(waiting), rate)


@dataclass(frozen=True)
class _SoundPiece:
    begins: float  # seconds after the first picture
    samples: np.ndarray  # [channels, N]
    rate: int


def _sound_pieces(path: Path, *, mono: bool = False) -> Iterator[_SoundPiece]:
    """What the file holds of sound, piece by piece as it was packed; none without a sound track."""
    with _opened(path, pictures=False) as container:
        if not container.streams.audio:
            return
        origin = _picture_start(container) if container.streams.video else None
        _rewind(container, path)
        stream = container.streams.audio[0]
        rate = stream.rate or 48_000
        layout = "mono" if mono or stream.channels == 1 else "stereo"
        resampler = av.AudioResampler("fltp", layout, rate)
        expected: float | None = None
        for frame in _decoded(container, stream, path):
            time = float(frame.pts * frame.time_base) if frame.pts is not None else None
            if origin is None:
                origin = time or 0.0
            samples = np.concatenate([piece.to_ndarray() for piece in resampler.resample(frame)], axis=1)
            begins = (expected or 0.0) if time is None else time - origin
            begins = expected if expected is not None and abs(begins - expected) < _SOUND_GAP else begins
            yield _SoundPiece(begins, samples, rate)
            expected = begins + samples.shape[1] / rate


@contextmanager
def _opened(path: Path, *, pictures: bool = True) -> Iterator[av.container.InputContainer]:
    if not path.is_file():
        raise StudioError(f"no such video: {path}", expected="a video file", next="check the path")
    if path.stat().st_size == 0:
        raise StudioError(f"empty file: {path}", got="0 bytes", expected="a video file", next="copy or record it again")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        raise StudioError(
            f"cannot read {path} as a video", got=error, expected="mp4, mov, mkv, webm, avi …", next="convert it to mp4"
        ) from error
    with container:
        if pictures and container.format.name.endswith(_STILL_FORMATS):
            raise StudioError(f"{path} is a still image", expected="a video with a moving face", next="choose a video")
        if pictures and not container.streams.video:
            raise StudioError(f"{path} holds no pictures", got="sound only", expected="a video", next="choose a video")
        yield container


def _rewind(container: av.container.InputContainer, path: Path) -> None:
    try:
        container.seek(0)
    except av.error.FFmpegError as error:  # an index that leads nowhere
        raise StudioError(
            f"the index of {path} is damaged", got=error, expected="a video", next="copy or record it again"
        ) from error


def _first_frame(container: av.container.InputContainer, stream: av.VideoStream, path: Path) -> av.VideoFrame:
    try:
        return next(iter(container.decode(stream)))
    except (av.error.FFmpegError, StopIteration) as error:
        raise StudioError(
            f"no picture of {path} can be decoded", got=error or "no frames", expected="a whole video"
        ) from error


def _packet_times(container: av.container.InputContainer, stream: av.VideoStream) -> np.ndarray:
    """Sorted presentation times [N] of all packets in units of the stream's time base; N >= 1."""
    times: list[int] = []
    with suppress(av.error.FFmpegError):  # what follows the end of a truncated file is not there
        for packet in container.demux(stream):
            if packet.pts is not None and not packet.is_discard:
                times.append(packet.pts)  # noqa: PERF401 - keeps what came before an error
    return np.unique(np.array(times or [0], dtype=np.int64))


def _frame_rate(times: np.ndarray, stream: av.VideoStream) -> Fraction:
    """The usual rate nearest to the most common step, so that a few irregular frames do not count."""
    if len(times) < 2:
        return Fraction(stream.average_rate or 25)
    step = float(np.median(np.diff(times)))
    average = stream.average_rate
    if average and abs(float(average) * step - 1) < 2e-3:
        return Fraction(average)
    nearest = min(_COMMON_RATES, key=lambda rate: abs(float(rate) * step - 1))
    return nearest if abs(float(nearest) * step - 1) < 0.02 else Fraction(1 / step).limit_denominator(1001)


def _picture_start(container: av.container.InputContainer) -> float | None:
    """Time in seconds of the first picture that is shown."""
    stream = container.streams.video[0]
    try:
        frame = next(iter(container.decode(stream)))
    except (av.error.FFmpegError, StopIteration):
        return None
    return float(frame.pts * stream.time_base) if frame.pts is not None and stream.time_base else None


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream, path: Path
) -> Iterator[Any]:
    """Decode as far as the file allows: a bad packet is skipped, the end of a truncated file is an end."""
    try:
        for packet in container.demux(stream):
            with suppress(av.error.InvalidDataError, av.error.EOFError):
                yield from packet.decode()
    except av.error.FFmpegError as error:
        say(f"warning: {path.name} cannot be read to its end ({error})")


def _evenly_spaced(info: VideoInfo) -> Iterator[av.VideoFrame]:
    """Pictures at k / fps by nearest timestamp; each is kept until a nearer one comes."""
    with _opened(info.path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        origin, previous, shown, produced = None, None, 0.0, 0
        for number, frame in enumerate(_decoded(container, stream, info.path)):
            stamp = frame.pts * frame.time_base if frame.pts is not None else number / info.fps
            origin = stamp if origin is None else origin
            time = float(stamp - origin)
            while previous is not None and produced / info.fps < 0.5 * (shown + time):
                yield previous
                produced += 1
            previous, shown = frame, time
        end = shown + 0.75 / float(info.fps)  # the last picture lasts one frame
        while previous is not None and (produced == 0 or produced / info.fps < end):
            yield previous
            produced += 1


def _upright(frame: av.VideoFrame, rotation: int) -> np.ndarray:
    untagged = frame.colorspace == _UNSPECIFIED and min(frame.width, frame.height) >= _HD_LINES
    image = frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU709 if untagged else None,
        interpolation=Interpolation.BICUBIC,
    ).to_ndarray()
    return np.ascontiguousarray(np.rot90(image, rotation // 90)) if rotation else image


def read_timecode(path: Path) -> str | None:
    """The timecode of a video's first frame, HH:MM:SS:FF, or None where it has none."""
    with av.open(str(path)) as container:
        entries = [container.metadata, *(stream.metadata for stream in container.streams)]
    return next((entry[name] for entry in entries for name in ("timecode", "TIMECODE") if name in entry), None)
