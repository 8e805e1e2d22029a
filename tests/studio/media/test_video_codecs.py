"""Every codec in every container: pictures, alpha, tags and timecode come back when they are decoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from studio.errors import StudioError
from studio.media.audio import Audio
from studio.media.video_codecs import CONTAINERS, CodecName, codec_for
from studio.media.video_reader import read_timecode
from studio.media.video_writer import VideoWriter

WIDTH, HEIGHT, FRAMES = 96, 64, 5
BT709 = 1
ALL = [(ending, codec) for ending, (codecs, _) in CONTAINERS.items() for codec in codecs]
NAMES = {"h264": "h264", "h265": "hevc", "av1": "av1", "prores": "prores", "vp9": "vp9"}


def _picture(index: int, alpha: bool) -> np.ndarray:
    """Soft colours that wander; with alpha a soft disc."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    colors = np.stack((40 + 1.5 * x, 200 - 2 * y, 90 + 0.5 * x + 12 * index), axis=-1)
    if not alpha:
        return colors.clip(0, 255).astype(np.uint8)
    cover = 255 * np.clip(1.6 - np.hypot(x - 48, y - 32) / 20, 0, 1)
    return np.concatenate((colors, cover[..., None]), axis=-1).clip(0, 255).astype(np.uint8)


def _write(path: Path, codec: CodecName | None, alpha: bool = False, **more: Any) -> None:
    sound = Audio(0.3 * np.sin(np.arange(3200)[:, None] * 0.2).astype(np.float32), 16_000)
    with VideoWriter(path, 25, (WIDTH, HEIGHT), audio=sound, codec=codec, alpha=alpha, **more) as writer:
        for index in range(FRAMES):
            writer.write(_picture(index, alpha))


@pytest.mark.parametrize(("ending", "codec"), ALL)
def test_pictures_and_tags_come_back(tmp_path: Path, ending: str, codec: CodecName) -> None:
    path = tmp_path / f"a{ending}"
    _write(path, codec)
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert video.codec_context.name in (NAMES[codec], "libdav1d", "av1")
        assert video.average_rate == Fraction(25)
        context: Any = video.codec_context
        frames = list(container.decode(video=0))
        tags = (int(context.colorspace), int(context.color_primaries), int(context.color_trc))
        assert tags == (BT709, BT709, BT709)
        assert int(frames[0].color_range) == 1  # limited
        assert sound.codec_context.name in ("aac", "opus", "pcm_s16le", "libopus")
    assert len(frames) == FRAMES
    for index, frame in enumerate(frames):
        shown = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
        assert np.abs(shown.astype(int) - _picture(index, False)).mean() < 3.5
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("ending", "codec"), [(".mov", "prores"), (".webm", "vp9"), (".mkv", "prores")])
def test_alpha_comes_back(tmp_path: Path, ending: str, codec: CodecName) -> None:
    path = tmp_path / f"a{ending}"
    _write(path, None if ending != ".mkv" else codec, alpha=True)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if codec == "vp9":  # FFmpeg's own decoder leaves the alpha out
            assert {name.lower(): text for name, text in stream.metadata.items()}["alpha_mode"] == "1"
            decoder: Any = av.CodecContext.create("libvpx-vp9", "r")
            frames = [f for packet in container.demux(stream) for f in decoder.decode(packet if packet.size else None)]
        else:
            frames = list(container.decode(video=0))
    assert len(frames) == FRAMES
    for index, frame in enumerate(frames):
        assert frame.format.name.startswith("yuva")
        shown = frame.reformat(format="rgba", src_colorspace="ITU709").to_ndarray().astype(int)
        truth = _picture(index, True)
        assert np.abs(shown[..., 3] - truth[..., 3]).mean() < 2
        assert np.abs(shown[..., :3] - truth[..., :3])[truth[..., 3] > 200].mean() < 4


@pytest.mark.parametrize("ending", [".mov", ".mp4", ".mkv"])
def test_timecode_comes_back(tmp_path: Path, ending: str) -> None:
    _write(tmp_path / f"a{ending}", None, timecode="01:02:03:04")
    with av.open(str(tmp_path / f"a{ending}")) as container:
        found = [container.metadata, *(stream.metadata for stream in container.streams)]
        assert "01:02:03:04" in [entry.get("timecode") or entry.get("TIMECODE") for entry in found]


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=r"\.mp4 does not hold this codec; got prores; expected h264 \| h265 \| av1"):
        codec_for(tmp_path / "a.mp4", "prores", False)
    with pytest.raises(StudioError, match=r"h264 in \.mp4 cannot hold alpha"):
        codec_for(tmp_path / "a.mp4", None, True)
    with pytest.raises(StudioError, match=r"cannot write the video .*a\.avi; got \.avi"):
        codec_for(tmp_path / "a.avi", None, False)
    with pytest.raises(StudioError, match="not a timecode; got 1:2:3"):
        VideoWriter(tmp_path / "a.mov", 25, (8, 8), timecode="1:2:3")
    assert codec_for(tmp_path / "a.mkv", None, True) == "prores"
    assert not list(tmp_path.iterdir())


def test_a_video_without_timecode_has_none(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", None)
    _write(tmp_path / "b.mov", None, timecode="10:00:00:24")
    assert read_timecode(tmp_path / "a.mp4") is None
    assert read_timecode(tmp_path / "b.mov") == "10:00:00:24"
