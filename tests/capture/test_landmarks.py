"""Landmarks of real faces: symmetry, who is followed, and clips without a usable face."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.landmarker import MIRROR, Landmarker, square_crop
from capture.landmarks import Landmarks, find_landmarks
from studio.errors import StudioError
from studio.media.video_reader import read_frames


@pytest.fixture(scope="module")
def man(shared: Path) -> list[np.ndarray]:
    """Twelve frames of a man, 288 x 512."""
    frames = read_frames(shared / "data/talking_heads/demo2_video.mp4", stop=12)
    return [cv2.resize(frame, (288, 512), interpolation=cv2.INTER_AREA) for frame in frames]


def follow(frames: list[np.ndarray], fps: float = 25.0) -> Landmarks:
    return find_landmarks(lambda: iter(frames), len(frames), fps, named="clip")


def test_mirroring_twice_changes_nothing() -> None:
    assert (MIRROR[MIRROR] == np.arange(478)).all()
    assert MIRROR[33] == 263  # outer corners of the eyes
    assert MIRROR[468] == 473  # irises


def test_a_mirrored_face_has_mirrored_points(shared: Path, man: list[np.ndarray]) -> None:
    with closing(Landmarker()) as landmarker:
        center, size = np.array([145.0, 125.0]), 80.0
        plain = landmarker.refine(man[0], center, size)
        mirrored = landmarker.refine(np.ascontiguousarray(man[0][:, ::-1]), center * [-1, 1] + [288, 0], size)
    assert plain is not None
    assert mirrored is not None
    back = mirrored.points[MIRROR, :2] * [-1, 1] + [288, 0]
    assert np.abs(back - plain.points[:, :2]).mean() < 0.01 * plain.size


def test_the_mean_of_more_views_scatters_less(shared: Path, man: list[np.ndarray]) -> None:
    """The same face, looked for from slightly different guesses."""
    guesses = [(np.array([145.0, 125.0]) + shift, 80.0 + shift) for shift in (-4, -2, 0, 2, 4)]
    with closing(Landmarker()) as landmarker:
        scatter = {}
        for views in (1, 4):
            faces = [landmarker.refine(man[0], *guess, views) for guess in guesses]
            points = np.stack([face.points[:, :2] for face in faces if face is not None])
            assert len(points) == len(guesses)
            scatter[views] = points.std(axis=0).mean()
    assert scatter[4] < 0.75 * scatter[1]


def test_the_window_of_a_crop_may_leave_the_image() -> None:
    image = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    window, scale, corner = square_crop(image, np.array([2.0, 20.0]), 30, 64)
    assert window.shape == (30, 30, 3)
    assert scale == 1.0
    x, y = (int(value) for value in -corner)
    assert (window[y + 10, x + 10] == image[10, 10]).all() if y >= 0 else x >= 0
    far, _, _ = square_crop(image, np.array([500.0, 500.0]), 30, 16)
    assert far.shape == (16, 16, 3)


def test_every_frame_of_a_talking_man_is_found(man: list[np.ndarray]) -> None:
    found = follow(man)
    assert found.valid.all()
    assert found.points.shape == (12, 478, 3)
    assert found.scores.shape == (12, 52)
    assert 0 <= found.scores.min() <= found.scores.max() <= 1
    nose, chin, forehead = found.points[:, 1], found.points[:, 152], found.points[:, 10]
    assert (forehead[:, 1] < nose[:, 1]).all()
    assert (nose[:, 1] < chin[:, 1]).all()


def test_landmarks_move_with_the_window(man: list[np.ndarray]) -> None:
    found = follow(man[:4])
    moved = found.in_window(np.array([10.0, 20.0]), 2.0)
    np.testing.assert_allclose(moved.points[..., :2], (found.points[..., :2] - [10, 20]) * 2, rtol=1e-5)
    np.testing.assert_allclose(moved.interocular(), 2 * found.interocular(), rtol=1e-5)


def test_the_larger_of_two_people_is_followed(man: list[np.ndarray], capsys: pytest.CaptureFixture[str]) -> None:
    pairs = []
    for frame in man:
        small = np.zeros((512, 230, 3), np.uint8)
        small[50:460] = cv2.resize(frame, (230, 410), interpolation=cv2.INTER_AREA)
        pairs.append(np.concatenate((small, frame), axis=1))
    found = follow(pairs)
    assert "several faces" in capsys.readouterr().err
    assert (found.points[:, 1, 0] > 230).all()


def test_a_face_that_leaves_is_marked(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def frames() -> Iterator[np.ndarray]:
        return read_frames(shared / "data/talking_heads/face_noface.mov", start=40, stop=75)

    found = find_landmarks(frames, 35, 24.0, named="clip")
    assert found.valid[:15].all()
    assert not found.valid[-10:].any()
    assert "no face in" in capsys.readouterr().err


def test_a_clip_without_a_face_is_refused(shared: Path) -> None:
    frames = [np.full((120, 160, 3), 90, np.uint8)] * 12
    with pytest.raises(StudioError, match="no face in clip"):
        follow(frames)


def test_too_small_a_face_is_refused(man: list[np.ndarray]) -> None:
    tiny = [cv2.resize(frame, (126, 224), interpolation=cv2.INTER_AREA) for frame in man[:5]]
    with pytest.raises(StudioError, match="too small"):
        follow(tiny)


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kept = Landmarks(
        random.random((3, 478, 3), np.float32), random.random((3, 52), np.float32), np.array([1, 0, 1]) > 0
    )
    kept.save(tmp_path / "landmarks.npz")
    back = Landmarks.load(tmp_path / "landmarks.npz")
    np.testing.assert_array_equal(back.points, kept.points)
    np.testing.assert_array_equal(back.valid, kept.valid)
    (tmp_path / "landmarks.npz").write_bytes(b"no archive")
    with pytest.raises(StudioError, match="cannot read the landmarks"):
        Landmarks.load(tmp_path / "landmarks.npz")
