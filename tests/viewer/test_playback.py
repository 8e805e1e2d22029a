"""Playing a track: which frame is on when, and a thread that shows it."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.playback import Clock, Player

CLOCK = Clock(frames=100, fps=25.0)


@pytest.mark.parametrize(
    ("seconds", "frame"),
    [(0.0, 0), (0.039, 0), (0.04, 1), (1.0, 25), (3.999, 99), (4.0, 0), (4.04, 1), (40.0, 0)],
)
def test_frames_of_a_looping_track(seconds: float, frame: int) -> None:
    assert CLOCK.played(10.0).frame_at(10.0 + seconds) == frame


def test_without_loop_it_ends_on_the_last_frame() -> None:
    clock = CLOCK.with_looping(False, 0.0).played(0.0)
    assert not clock.has_ended(3.99)
    assert clock.has_ended(4.0)
    assert clock.frame_at(100.0) == 99
    again = clock.paused(100.0).played(200.0)
    assert again.frame_at(200.0) == 0


def test_pausing_stays_and_playing_goes_on_from_there() -> None:
    paused = CLOCK.played(0.0).paused(1.01)
    assert paused.frame_at(1.01) == paused.frame_at(99.0) == 25
    assert paused.played(50.0).frame_at(50.4) == 35


def test_seeking_while_playing_goes_on_from_there() -> None:
    clock = CLOCK.played(0.0).sought(50, 1.0)
    assert clock.frame_at(1.0) == 50
    assert clock.frame_at(1.4) == 60
    assert CLOCK.sought(500, 0.0).frame_at(0.0) == 99
    assert CLOCK.sought(-1, 0.0).frame_at(0.0) == 0


def test_speed_changes_without_a_jump() -> None:
    slow = CLOCK.played(0.0).with_speed(0.25, 2.0)
    assert slow.position_at(2.0) == pytest.approx(50.0)
    assert slow.position_at(4.0) == pytest.approx(62.5)
    assert slow.with_speed(2.0, 4.0).position_at(4.5) == pytest.approx(87.5)


@given(
    now=st.floats(0.0, 1e4),
    speed=st.sampled_from((0.1, 0.25, 0.5, 1.0, 2.0)),
    fps=st.sampled_from((24.0, 25.0, 30000 / 1001, 60.0)),
)
def test_the_next_frame_comes_when_it_is_due(now: float, speed: float, fps: float) -> None:
    clock = Clock(frames=37, fps=fps).with_speed(speed, 0.0).played(0.0)
    wait = clock.seconds_to_next_frame(now)
    assert 0 < wait <= 1 / (fps * speed) + 1e-9
    assert clock.frame_at(now + wait + 1e-6) == (clock.frame_at(now) + 1) % 37


class Screen:
    """Remembers the frames shown and when playing ended."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.ended = threading.Event()


def test_the_player_shows_frames_in_time_and_says_when_it_ends() -> None:
    screen = Screen()
    player = Player(Clock(frames=10, fps=50.0, is_looping=False), screen.frames.append, screen.ended.set)
    started = time.monotonic()
    player.play()
    assert screen.ended.wait(5.0)
    assert time.monotonic() - started > 0.18
    assert screen.frames[-1] == 9
    assert screen.frames == sorted(screen.frames)
    assert not player.clock.is_playing
    player.close()


def test_a_slow_screen_skips_frames_instead_of_falling_behind() -> None:
    screen = Screen()

    def show(frame: int) -> None:
        screen.frames.append(frame)
        time.sleep(0.05)

    player = Player(Clock(frames=100, fps=100.0, is_looping=False), show, screen.ended.set)
    player.play()
    assert screen.ended.wait(5.0)
    assert len(screen.frames) < 40
    player.close()


def test_seeking_shows_the_frame_at_once_and_closing_ends_the_thread() -> None:
    screen = Screen()
    player = Player(CLOCK, screen.frames.append, screen.ended.set)
    player.seek(42)
    assert screen.frames == [42]
    assert player.frame == 42
    player.close()
    assert not player._thread.is_alive()
