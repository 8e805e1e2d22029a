"""Reading video: timing, rotation, sound in sync, and files that are not what they should be."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from studio.errors import StudioError
from studio.media.audio import Audio, write_wav
from studio.media.images import write_image
from studio.media.video_reader import probe, read_audio, read_frames
from studio.media.video_writer import VideoWriter

RATE = 48_000


def numbered(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames whose grey level tells their number; the top left quarter is white, so that a rotation shows."""
    frames = [np.full((height, width, 3), 10 + 6 * index, dtype=np.uint8) for index in range(count)]
    for frame in frames:
        frame[: height // 2, : width // 2] = 255
    return frames


def numbers(frames: list[np.ndarray]) -> list[int]:
    return [round((float(frame[-8:, -8:].mean()) - 10) / 6) for frame in frames]


def write(path: Path, frames: list[np.ndarray], audio: Audio | None = None) -> Path:
    with VideoWriter(path, 25, (frames[0].shape[1], frames[0].shape[0]), audio=audio, quality="near_lossless") as video:
        for frame in frames:
            video.write(frame)
    return path


def write_timed(path: Path, frames: list[np.ndarray], milliseconds: list[int]) -> Path:
    """A Matroska file whose pictures have given times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.options = {"crf": "4", "tune": "zerolatency"}
        for image, time in zip(frames, milliseconds, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_frames_come_back_in_order_with_their_size_and_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", numbered(12))
    info = probe(path)
    assert (info.width, info.height, info.fps, info.frames) == (64, 48, 25, 12)
    assert not info.has_audio
    assert not info.variable_rate
    assert info.duration == pytest.approx(0.48)
    assert numbers(list(read_frames(path))) == list(range(12))
    assert numbers(list(read_frames(path, start=3, stop=6))) == [3, 4, 5]


def test_variable_rate_is_resampled_by_the_nearest_timestamp(tmp_path: Path) -> None:
    # 25 fps with a gap of three frames, and one picture that comes 8 ms late
    path = write_timed(tmp_path / "variable.mkv", numbered(7), [0, 40, 80, 250, 288, 320, 360])
    info = probe(path)
    assert info.variable_rate
    assert (info.fps, info.frames) == (25, 10)
    # 120 and 160 ms are nearer to 80 than to 250, 200 and 240 ms are not
    assert numbers(list(read_frames(path))) == [0, 1, 2, 2, 2, 3, 3, 4, 5, 6]


def test_another_rate_keeps_the_duration(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", numbered(20))
    assert probe(path, 50).frames == 40
    assert numbers(list(read_frames(path, fps=12.5))) == list(range(0, 20, 2))


@pytest.mark.parametrize(
    ("matrix", "white"), [((0, 1, -1, 0), (0, -1)), ((-1, 0, 0, -1), (-1, -1)), ((0, -1, 1, 0), (-1, 0))]
)
def test_the_rotation_flag_is_applied(tmp_path: Path, matrix: tuple[int, ...], white: tuple[int, int]) -> None:
    """ISO 14496-12, tkhd: the matrix a b u c d v x y w maps (p, q) to (a p + c q, b p + d q)."""
    path = write(tmp_path / "clip.mp4", numbered(3))
    data = bytearray(path.read_bytes())
    at = data.index((1 << 16).to_bytes(4, "big") + bytes(12) + (1 << 16).to_bytes(4, "big"), data.index(b"tkhd"))
    a, b, c, d = (int(value * 65536).to_bytes(4, "big", signed=True) for value in matrix)
    data[at : at + 20] = a + b + bytes(4) + c + d
    path.write_bytes(data)
    frame = next(read_frames(path))
    sideways = matrix[0] == 0
    assert frame.shape == ((64, 48, 3) if sideways else (48, 64, 3))
    assert (probe(path).height, probe(path).width) == frame.shape[:2]
    corners = {(y, x): float(frame[4 * y if y else 4, 4 * x if x else 4].mean()) for y in (0, -1) for x in (0, -1)}
    assert max(corners, key=lambda corner: corners[corner]) == white


def test_sound_starts_with_the_first_picture(tmp_path: Path) -> None:
    samples = np.zeros((RATE, 2), dtype=np.float32)
    samples[RATE // 2] = 0.9
    path = write(tmp_path / "clap.mp4", numbered(25), Audio(samples, RATE))
    sound = read_audio(path)
    assert sound is not None
    assert sound.rate == RATE
    assert abs(int(np.abs(sound.samples[:, 0]).argmax()) - RATE // 2) < RATE // 1000
    mono = read_audio(path, mono=True)
    assert mono is not None
    assert mono.samples.shape[1] == 1


def test_late_sound_is_preceded_by_silence(shared: Path) -> None:
    """The recording's sound begins 2.43 s after its first picture."""
    sound = read_audio(shared / "data/talking_heads/face_noface.mov")
    assert sound is not None
    loud = np.flatnonzero(np.abs(sound.samples).max(axis=1) > 1e-4)
    assert 2.42 < loud[0] / sound.rate < 2.6


def test_a_clip_without_sound_has_none(tmp_path: Path) -> None:
    assert read_audio(write(tmp_path / "clip.mp4", numbered(3))) is None


def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8)
    path = write_timed(tmp_path / "whole.mkv", list(noise), [40 * index for index in range(30)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = list(read_frames(cut))
    assert 8 <= len(frames) < 25
    assert "cut.mkv" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "image", "sound", "headless"])
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a video at all\n" * 50)
    elif kind == "image":
        path = tmp_path / "photo.png"
        write_image(path, numbered(1)[0])
    elif kind == "sound":
        path = tmp_path / "sound.wav"
        write_wav(path, Audio(np.zeros((RATE, 1), dtype=np.float32), RATE))
    elif kind == "headless":
        data = write(tmp_path / "whole.mp4", numbered(12)).read_bytes()
        path.write_bytes(data[: len(data) // 3])
    with pytest.raises(StudioError) as raised:
        probe(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
