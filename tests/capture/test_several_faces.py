"""Several persons in one clip: who is followed, and that nothing of one gets to the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.face_search import form_of, search_faces
from capture.landmarker import POINTS, Face
from capture.landmarks import Landmarks, find_landmarks
from studio.codes import ARKIT_CHANNELS
from studio.errors import StudioError
from studio.media.video_reader import read_frames

_JAW = ARKIT_CHANNELS.index("jawOpen")


def _person(seed: int) -> np.ndarray:
    """Points [478, 3] of a made-up face, 100 pixels wide, about the origin."""
    rng = np.random.default_rng(seed)
    points = np.random.default_rng(0).uniform(-50, 50, (POINTS, 3))
    points[[33, 263, 152, 10]] = [[-45, -20, 0], [45, -20, 0], [0, 50, 0], [0, -50, 0]]
    return points + rng.normal(0, 5, points.shape) * [1, 1, 0.2]


class _Seen:
    """A landmarker that finds persons where a script puts them: by frame, (seed, x) each."""

    def __init__(self, script: list[list[tuple[int, float]]]) -> None:
        self._script = script

    def detect(self, image: np.ndarray) -> list[Face]:
        if image.shape[1] < 400:  # a part of the picture
            return []
        noise = np.random.default_rng(int(image[0, 0, 0]))
        faces = [
            Face(
                (_person(seed) + np.array([x, 60, 0]) + noise.normal(0, 0.5, (POINTS, 3))).astype(np.float32),
                np.zeros(52, np.float32),
            )
            for seed, x in self._script[int(image[0, 0, 0])]
        ]
        return [faces[k] for k in noise.permutation(len(faces))]


def _centers(script: list[list[tuple[int, float]]], person: int | None) -> np.ndarray | None:
    frames = (np.full((120, 400, 3), number, np.uint8) for number in range(len(script)))
    path = search_faces(frames, 1, _Seen(script), person)  # type: ignore[arg-type]
    return None if path is None else np.array([path.at(number)[0][0] for number in range(len(script))])


def _near(found: np.ndarray | None, wanted: list[float]) -> bool:
    return found is not None and bool(np.abs(found - wanted).max() < 15)


def test_forms_tell_persons_apart_whatever_place_size_and_tilt() -> None:
    face = Face(_person(1).astype(np.float32), np.zeros(52, np.float32))
    c, s = np.cos(0.4), np.sin(0.4)
    turned = Face((2 * face.points @ [[c, -s, 0], [s, c, 0], [0, 0, 1]] + 70).astype(np.float32), face.scores)
    other = Face(_person(2).astype(np.float32), face.scores)
    same = np.linalg.norm(form_of(face) - form_of(turned))
    assert same < 1e-5 < 0.3 < np.linalg.norm(form_of(face) - form_of(other))


def test_persons_are_counted_from_the_left() -> None:
    script = [[(1, 300.0 + k), (2, 100.0)] for k in range(8)]
    assert _near(_centers(script, 0), [100.0] * 8)
    assert _near(_centers(script, 1), [300.0 + k for k in range(8)])
    assert _centers(script, 2) is None


def test_somebody_who_leaves_and_returns_is_the_same_person() -> None:
    script = [[(1, 300.0), (2, 100.0)] if k not in range(4, 9) else [(1, 300.0)] for k in range(14)]
    assert _near(_centers(script, 0), [100.0] * 14)
    assert _near(_centers(script, 1), [300.0] * 14)


def test_persons_who_change_places_at_a_cut_are_told_by_their_faces() -> None:
    script = [[(1, 300.0), (2, 100.0)]] * 8 + [[(1, 100.0), (2, 300.0)]] * 5
    assert _near(_centers(script, 0), [100.0] * 8 + [300.0] * 5)
    assert _near(_centers(script, 1), [300.0] * 8 + [100.0] * 5)


def test_persons_who_pass_each_other_stay_who_they_are() -> None:
    places = np.linspace(100, 300, 21)
    script = [[(1, x), (2, 400 - x)] if abs(x - 200) > 30 else [(1, x)] for x in places]  # one hides the other
    found = _centers(script, 0)
    assert found is not None
    other = _centers(script, 1)
    assert other is not None
    first, last = (found, other) if found[0] < other[0] else (other, found)
    assert np.abs(first - places).max() < 15
    assert np.abs((last - (400 - places))[[0, 1, -2, -1]]).max() < 15


@pytest.fixture(scope="module")
def pair(shared: Path) -> dict[str, list[np.ndarray]]:
    """Two real people, each alone and side by side, 12 frames."""
    folder = shared / "data/talking_heads"
    alone = {
        name: [
            cv2.resize(frame, (288, 512), interpolation=cv2.INTER_AREA)
            for frame in read_frames(folder / f"{name}_video.mp4", stop=12)
        ]
        for name in ("demo1", "demo2")
    }
    both = [np.concatenate(frames, axis=1) for frames in zip(alone["demo1"], alone["demo2"], strict=True)]
    return {**alone, "both": both}


def _follow(frames: list[np.ndarray], person: int | None = None) -> Landmarks:
    def again() -> Iterator[np.ndarray]:
        return iter(frames)

    return find_landmarks(again, len(frames), 25.0, named="clip", person=person)


def test_each_of_two_people_side_by_side_moves_as_alone(pair: dict[str, list[np.ndarray]]) -> None:
    for person, name in enumerate(("demo1", "demo2")):
        alone, found = _follow(pair[name]), _follow(pair["both"], person)
        assert found.valid.all()
        shift = np.array([288.0 * person, 0.0])
        error = np.linalg.norm(found.points[..., :2] - shift - alone.points[..., :2], axis=-1)
        assert np.median(error / alone.interocular()[:, None]) < 0.03
        assert np.abs(found.scores[:, _JAW] - alone.scores[:, _JAW]).max() < 0.1
    with pytest.raises(StudioError, match="fewer persons"):
        _follow(pair["both"], 2)
