"""Ingest of a clip: what the capture holds, and clips that cannot become one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from capture.landmarks import Landmarks
from capture.video import IngestConfig, ingest_video
from studio.captures import Capture, open_capture
from studio.errors import StudioError
from studio.media.audio import read_wav
from studio.media.images import read_image, write_image
from studio.media.video_reader import read_frames
from studio.media.video_writer import VideoWriter

CLIP = "data/talking_heads/demo2_video.mp4"


@pytest.fixture(scope="module")
def capture(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Capture:
    """Forty frames of a man before a static background, at 128²."""
    out = tmp_path_factory.mktemp("captures") / "man"
    return open_capture(ingest_video(shared / CLIP, out, IngestConfig(size=128, frames=40)))


def test_the_capture_is_whole(capture: Capture) -> None:
    assert len(capture) == 40
    assert capture.fps == 25
    assert (capture.cameras.width, capture.cameras.height) == (128, 128)
    assert capture.split("train").timesteps == tuple(range(32))
    assert capture.split("test").timesteps == tuple(range(32, 40))
    sound = capture.audio
    assert sound is not None
    assert read_wav(sound).duration == pytest.approx(1.6, abs=1e-3)
    assert capture.background() is not None
    assert len(Landmarks.load(capture.folder / "landmarks.npz")) == 40


def test_head_and_shoulders_stay_inside(capture: Capture) -> None:
    points = Landmarks.load(capture.folder / "landmarks.npz").points[..., :2]
    face = np.linalg.norm(points[:, 10] - points[:, 152], axis=-1)
    assert (points[..., 0].min(axis=1) > 0.3 * face).all()
    assert (128 - points[..., 0].max(axis=1) > 0.3 * face).all()
    assert (128 - points[:, 152, 1] > 0.5 * face).all()


def test_the_camera_looks_at_a_head_at_a_sensible_distance(capture: Capture) -> None:
    focal = float(capture.cameras.Ks[0, 0, 0])
    points = Landmarks.load(capture.folder / "landmarks.npz").interocular()
    distance = focal * 0.092 / float(np.median(points))  # outer corners of adult eyes are about 92 mm apart
    assert 0.3 < distance < 4.0
    torch.testing.assert_close(capture.cameras.centers, torch.zeros(1, 3))


def test_mattes_and_background_explain_the_images(capture: Capture) -> None:
    frame = capture.frame(20)
    assert frame.alpha is not None
    points = Landmarks.load(capture.folder / "landmarks.npz").points[20, :, :2]
    inside = np.zeros((128, 128), np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    assert (frame.alpha[inside > 0] > 250).mean() > 0.98
    assert (frame.alpha[:40, :15] < 5).all()
    assert (frame.alpha[:40, -15:] < 5).all()
    background = capture.background()
    assert background is not None
    outside = frame.alpha == 0
    seen = read_image(capture.folder / "background" / "0_seen.png", gray=True) > 0
    difference = np.abs(frame.image.astype(int) - background)[outside & seen]
    assert difference.mean() < 4


def test_a_silent_clip_is_taken_with_a_warning(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "silent.mp4"
    with VideoWriter(clip, 25, (270, 480)) as video:
        for frame in read_frames(shared / CLIP, stop=12):
            video.write(cv2.resize(frame, (270, 480), interpolation=cv2.INTER_AREA))
    capture = open_capture(ingest_video(clip, tmp_path / "out", IngestConfig(size=96)))
    assert capture.audio is None
    assert "no sound" in capsys.readouterr().err


def blank(path: Path, count: int) -> Path:
    with VideoWriter(path, 25, (64, 64)) as video:
        for _ in range(count):
            video.write(np.full((64, 64, 3), 80, np.uint8))
    return path


def test_faults_are_named_and_leave_nothing_behind(shared: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    write_image(photo, np.zeros((64, 64, 3), np.uint8))
    empty = tmp_path / "empty.mp4"
    empty.touch()
    out = tmp_path / "captures" / "one"
    for source, said in (
        (tmp_path / "missing.mp4", "no such video"),
        (empty, "empty file"),
        (photo, "still image"),
        (blank(tmp_path / "short.mp4", 3), "too short"),
        (blank(tmp_path / "blank.mp4", 12), "no face"),
    ):
        with pytest.raises(StudioError, match=said) as raised:
            ingest_video(source, out, IngestConfig(size=64))
        assert "\n" not in str(raised.value)
        assert not out.parent.exists() or not list(out.parent.iterdir())


def test_an_existing_capture_is_not_overwritten(capture: Capture, shared: Path) -> None:
    before = (capture.folder / "manifest.json").read_bytes()
    with pytest.raises(StudioError, match="exists already"):
        ingest_video(shared / CLIP, capture.folder, IngestConfig(size=64, frames=12))
    assert (capture.folder / "manifest.json").read_bytes() == before
