"""A live driver: order, dropped pictures, learning beside the stream, and failures that are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import reenact.live as live_module
from capture.landmarker import POINTS, Face
from reenact.live import LiveFace, LiveState, to_avatar
from reenact.retarget import retarget
from studio.code_range import measure_range
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.heads import load_head

SIZE = 64


def _face(jaw: float) -> Face:
    scores = np.zeros(52, np.float32)
    scores[ARKIT52.index("jawOpen")] = jaw
    return Face(np.zeros((POINTS, 3), np.float32), scores)


class _Follower:
    """Finds a face whose jaw is as open as the picture is bright; none in black ones."""

    def __init__(self, bundle: object = None) -> None:
        self.closed = False

    def __call__(self, picture: np.ndarray) -> Face | None:
        return _face(float(picture[0, 0, 0]) / 255) if picture.any() else None

    def close(self) -> None:
        self.closed = True


def _pictures(count: int, black: int = -1, pause: float = 0.004) -> Iterator[tuple[int, np.ndarray]]:
    for number in range(count):
        time.sleep(pause)
        yield number, np.full((SIZE, SIZE, 3), 0 if number == black else number + 1, np.uint8)


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch) -> LiveFace:
    monkeypatch.setattr(live_module, "FaceFollower", _Follower)
    return LiveFace(load_head("procedural"), fps=25.0, first=100.0)


def test_states_come_in_order_with_their_delay(face: LiveFace) -> None:
    states = list(face.states(_pictures(30, black=7)))
    numbers = [state.number for state in states]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 29  # the newest is never the one that is left out
    assert 7 not in numbers
    assert (face.lost, len(states) + face.dropped) == (1, 29)
    assert all(0 <= state.seconds < 1 for state in states)
    jaw = [float(state.codes.expression[ARKIT52.index("jawOpen")]) for state in states]
    assert jaw == pytest.approx([(number + 1) / 255 for number in numbers])
    assert not any(state.settled for state in states)


def test_a_slow_listener_sees_the_newest(face: LiveFace) -> None:
    states = []
    for state in face.states(_pictures(40)):
        states.append(state)
        time.sleep(0.03)
    assert face.dropped > 10
    assert states[-1].number == 39


def test_who_stops_listening_stops_the_stream(face: LiveFace) -> None:
    began = time.monotonic()
    for _ in face.states(_pictures(100_000)):
        break
    assert time.monotonic() - began < 5


def test_a_failing_camera_is_told(face: LiveFace) -> None:
    def broken() -> Iterator[tuple[int, np.ndarray]]:
        yield from _pictures(3)
        raise StudioError("the camera is gone")

    with pytest.raises(StudioError, match="the camera is gone"):
        list(face.states(broken()))


def test_learning_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "FaceFollower", _Follower)
    face = LiveFace(load_head("procedural"), fps=25.0, first=0.0)

    def fails(self: LiveFace, faces: list[Face], size: tuple[int, int]) -> Any:
        raise StudioError("no person")

    monkeypatch.setattr(LiveFace, "_person", fails)
    with pytest.raises(StudioError, match="no person"):
        list(face.states(_pictures(20)))


def test_a_single_state_is_retargeted_as_in_its_clip() -> None:
    frames = 200
    time_ = torch.arange(frames) / 25.0
    codes = Codes.neutral(batch=(frames,)).with_channels(
        jawOpen=0.2 + 0.2 * torch.sin(3 * time_), mouthSmileLeft=torch.full((frames,), 0.4)
    )
    clip = CodeTrack(codes, 25.0, torch.ones(frames, dtype=torch.bool))
    driver = measure_range(clip)
    avatar = measure_range(replace(clip, codes=codes.with_channels(mouthSmileLeft=0.0)))
    whole = retarget(clip, avatar).codes
    one = to_avatar(LiveState(0, codes[50], 0.01, True), driver, avatar)
    assert torch.allclose(one.expression, whole.expression[50], atol=1e-3)
    assert float(one.expression[ARKIT52.index("mouthSmileLeft")]) < 0.01
