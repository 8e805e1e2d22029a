"""Streams: their pace, what is left out, and a face that is lost."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

from capture.live import from_camera, paced
from studio.errors import StudioError
from studio.media.video_writer import VideoWriter

FPS, FRAMES = 20.0, 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second; every picture a little lighter."""
    path = tmp_path_factory.mktemp("clips") / "ramp.mp4"
    with VideoWriter(path, FPS, (64, 48)) as writer:
        for number in range(FRAMES):
            writer.write(np.full((48, 64, 3), 40 + 8 * number, np.uint8))
    return path


def test_pictures_come_when_they_were_filmed(clip: Path) -> None:
    times = [time.monotonic() for _ in paced(clip, FPS)]
    assert 0.9 * (FRAMES - 1) / FPS < times[-1] - times[0] < 1.6 * FRAMES / FPS


def test_whoever_is_slow_misses_pictures_but_not_their_numbers(clip: Path) -> None:
    """On a clock of its own: a reader that takes five frames' time for each picture gets every fifth."""
    passed, seen = [0.0], []
    for number, frame in paced(clip, FPS, clock=lambda: passed[0]):
        seen.append(number)
        assert abs(float(frame.mean()) - (40 + 8 * number)) < 4, "another picture than its number says"
        passed[0] += 5 / FPS + 1e-3
    assert seen == [0, 5, 10, 15]


def test_a_stream_may_be_slower_than_its_file_and_end_early(clip: Path) -> None:
    clock = itertools.count(0.0, 0.01)
    numbers = [number for number, _ in paced(clip, 10.0, stop=0.6, clock=lambda: next(clock))]
    assert numbers == [0, 1, 2, 3, 4, 5]


def test_no_video_and_no_camera_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no such video"):
        next(paced(tmp_path / "none.mp4", 8.0))
    with pytest.raises(StudioError, match="no camera 97"):
        next(from_camera(97, 8.0))
