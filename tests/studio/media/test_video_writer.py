"""Video files: sync of sound and pictures, colours, rates, and what is left after a failure."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from studio.errors import StudioError
from studio.media.audio import Audio
from studio.media.video_reader import probe, read_audio, read_frames
from studio.media.video_writer import VideoWriter, exact_fps


def _clap(fps: Fraction, rate: int, seconds: float, times: list[float]) -> tuple[list[np.ndarray], Audio]:
    """Grey frames with a white flash, and silence with a click, at the given times."""
    frames = [np.full((64, 96, 3), 60, np.uint8) for _ in range(int(seconds * fps))]
    samples = np.zeros((int(seconds * rate), 1), np.float32)
    for time in times:
        frames[int(time * fps)][:] = 255
        start = int(time * rate)
        samples[start : start + rate // 200] = 0.8 * np.sin(np.arange(rate // 200) * 0.9)[:, None]
    return frames, Audio(samples, rate)


def _decode(path: Path) -> tuple[list[float], list[np.ndarray], np.ndarray, int]:
    """Presentation times and frames, sound samples on the time line of the file [N], and their rate."""
    with av.open(str(path)) as container:
        pictures = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return [t for t, _ in pictures], [p for _, p in pictures], np.zeros(0), 0
        rate = container.streams.audio[0].rate
        line = np.zeros(int((pictures[-1][0] + 2) * rate))
        for frame in container.decode(audio=0):
            start, values = round(float(frame.time) * rate), frame.to_ndarray()[0]
            line[max(start, 0) : start + len(values)] = values[max(-start, 0) :]
    return [t for t, _ in pictures], [p for _, p in pictures], line, rate


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(30)])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_claps_stay_in_sync_over_the_clip(tmp_path: Path, fps: Fraction, rate: int) -> None:
    times = [0.5, 5.0, 11.3]
    frames, audio = _clap(fps, rate, 12.0, times)
    with VideoWriter(tmp_path / "clap.mp4", float(fps), (96, 64), audio=audio) as writer:
        for frame in frames:
            writer.write(frame)
    shown, pictures, line, rate_out = _decode(tmp_path / "clap.mp4")
    assert len(pictures) == len(frames)
    np.testing.assert_allclose(shown, np.arange(len(frames)) / float(fps), atol=1e-4)
    for time in times:
        near = slice(int((time - 0.3) * rate_out), int((time + 0.3) * rate_out))
        click = near.start + int(np.argmax(np.abs(line[near]) > 0.2))
        flash = next(t for t, p in zip(shown, pictures) if p.mean() > 200 and abs(t - time) < 0.3)
        assert abs(click / rate_out - flash) <= 1 / float(fps)
        assert abs(click / rate_out - time) < 0.004


def _duration(path: Path, kind: str) -> float:
    with av.open(str(path)) as container:
        stream = container.streams.get({kind: 0})[0]
        return float(stream.duration * stream.time_base)


@pytest.mark.parametrize("length", [0.3, 5.0])
def test_sound_lasts_as_long_as_the_pictures(tmp_path: Path, length: float) -> None:
    frames, audio = _clap(Fraction(25), 16_000, length, [0.1])
    with VideoWriter(tmp_path / "a.mp4", 25, (96, 64), audio=audio) as writer:
        for _ in range(50):
            writer.write(frames[0])
    assert _duration(tmp_path / "a.mp4", "video") == pytest.approx(2.0, abs=1e-3)
    assert _duration(tmp_path / "a.mp4", "audio") == pytest.approx(2.0, abs=0.03)


@pytest.mark.parametrize(("quality", "worst", "mean"), [("near_lossless", 3, 1.0), ("normal", 9, 1.8)])
def test_colours_come_back(tmp_path: Path, quality: str, worst: float, mean: float) -> None:
    swatches = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    frame = np.kron(swatches, np.ones((16, 16, 1), np.uint8))
    with VideoWriter(tmp_path / "c.mp4", 25, (128, 96), quality=quality) as writer:
        for _ in range(3):
            writer.write(frame)
    with av.open(str(tmp_path / "c.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (int(context.colorspace), int(context.color_range)) == (1, 1)
        assert (int(context.color_primaries), int(context.color_trc)) == (1, 1)
    _, pictures, _, _ = _decode(tmp_path / "c.mp4")
    inner = np.s_[8::16, 8::16]
    error = np.abs(pictures[-1][inner].astype(int) - frame[inner])
    assert error.max() <= worst
    assert error.mean() <= mean


def test_greys_keep_their_level(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    with VideoWriter(tmp_path / "g.mp4", 25, (256, 64), quality="near_lossless") as writer:
        writer.write(ramp)
    _, pictures, _, _ = _decode(tmp_path / "g.mp4")
    assert np.abs(pictures[0].astype(int) - ramp).max() <= 2


def test_odd_sizes_are_padded_with_their_own_edge(tmp_path: Path) -> None:
    frame = np.full((63, 65, 3), 200, np.uint8)
    for quality, size in (("normal", (64, 66)), ("near_lossless", (63, 65))):
        with VideoWriter(tmp_path / f"{quality}.mp4", 25, (65, 63), quality=quality) as writer:
            writer.write(frame)
        picture = _decode(tmp_path / f"{quality}.mp4")[1][0]
        assert picture.shape[:2] == size
        assert np.abs(picture.astype(int) - 200).max() <= 2


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: type[BaseException]) -> None:
    (tmp_path / "v.mp4").write_bytes(b"earlier")

    def write_and_fail() -> None:
        with VideoWriter(tmp_path / "v.mp4", 25, (64, 64)) as writer:
            writer.write(np.zeros((64, 64, 3), np.uint8))
            raise failure

    with pytest.raises(failure):
        write_and_fail()
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    assert (tmp_path / "v.mp4").read_bytes() == b"earlier"


def test_bad_input_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=r"expected \.mp4"):
        VideoWriter(tmp_path / "v.avi", 25, (64, 64))
    with pytest.raises(StudioError, match="at least 2 x 2"):
        VideoWriter(tmp_path / "v.mp4", 25, (1, 64))
    with (
        pytest.raises(StudioError, match=r"expected uint8 \(32, 64, 3\)"),
        VideoWriter(tmp_path / "v.mp4", 25, (64, 32)) as writer,
    ):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(StudioError, match="no frames"), VideoWriter(tmp_path / "v.mp4", 25, (64, 32)):
        pass
    assert not list(tmp_path.iterdir())


def test_metadata_is_kept(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 25, (64, 64), metadata={"comment": "synthetic media"}) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.metadata["comment"] == "synthetic media"


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        (25, Fraction(25)),
        (29.97, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (59.94006, Fraction(60000, 1001)),
        (24.3, Fraction(243, 10)),
        (30.0, Fraction(30)),
    ],
)
def test_frame_rates_are_exact(given: float, exact: Fraction) -> None:
    assert exact_fps(given) == exact


def test_no_frame_rate_is_refused() -> None:
    with pytest.raises(StudioError, match="not a frame rate"):
        exact_fps(0.0)


@pytest.mark.parametrize(("fps", "rate"), [(Fraction(25), 16_000), (Fraction(30000, 1001), 44_100)])
def test_claps_survive_three_generations(tmp_path: Path, fps: Fraction, rate: int) -> None:
    """A clip that is read and written again three times, as a driver's sound is, does not drift."""
    frames, audio = _clap(fps, rate, 6.0, [1.0, 5.0])
    for generation in range(3):
        path = tmp_path / f"{generation}.mp4"
        with VideoWriter(path, fps, (96, 64), audio=audio) as writer:
            for frame in frames:
                writer.write(frame)
        assert probe(path).fps == fps
        frames = list(read_frames(path))
        sound = read_audio(path)
        assert sound is not None
        audio = sound
    bright = [index for index, frame in enumerate(frames) if frame.mean() > 200]
    assert [index / fps for index in bright] == [int(time * fps) / fps for time in (1.0, 5.0)]
    for time in (1.0, 5.0):
        part = audio.between(time - 0.3, time + 0.3).samples
        click = time - 0.3 + float(np.argmax(np.abs(part[:, 0]) > 0.2)) / audio.rate
        assert abs(click - time) < 0.01
