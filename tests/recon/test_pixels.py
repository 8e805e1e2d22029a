"""The pixel stream: what it holds is bounded, what it draws follows from seed and step, colours are the person's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.pixels import PixelStream
from studio.cameras import Camera
from studio.captures import Capture
from tests.recon.ball import SIZE, write_ball_capture


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    return write_ball_capture(tmp_path_factory.mktemp("ball") / "capture")


def _stream(capture: Capture, max_bytes: int = 1 << 30, foreground: float = 0.9, seed: int = 0) -> PixelStream:
    options = {"renew_every": 2, "foreground": foreground, "with_depth": False, "seed": seed}
    return PixelStream(capture, tuple(range(8)), (0, 1, 2), max_bytes=max_bytes, **options)  # type: ignore[arg-type]


def test_few_timesteps_are_held_and_all_take_their_turn(capture: Capture) -> None:
    one = 3 * SIZE * SIZE * 4
    stream, seen = _stream(capture, max_bytes=3 * 2 * one), set()
    assert 2 <= stream.places <= 4
    for step in range(40):
        drawn = stream.draw(step, 64, 2)
        assert len(stream._held) <= stream.places
        seen |= set(drawn.timesteps.tolist())
    assert seen == set(range(8))
    assert stream.reads < 3 * (stream.places + 40 // 2 + 2)  # a timestep is read when it comes in, and not again


def test_the_same_step_draws_the_same_pixels(capture: Capture) -> None:
    first, second, other = _stream(capture), _stream(capture), _stream(capture, seed=1)
    for step in (0, 1):
        first.draw(step, 10, 2)
    drawn, again = first.draw(7, 100, 2), second.draw(7, 100, 2)  # another history
    assert torch.equal(drawn.places, again.places)
    assert torch.equal(drawn.rgb, again.rgb)
    assert not torch.equal(drawn.places, other.draw(7, 100, 2).places)


def test_pixels_are_what_the_photos_show_of_the_person(capture: Capture) -> None:
    drawn = _stream(capture, foreground=0.0).draw(0, 500, 3)
    assert bool((drawn.moments.diff() >= 0).all())
    for index in range(0, 500, 25):
        t, c = int(drawn.timesteps[drawn.moments[index]]), int(drawn.cameras[index])
        row, column = drawn.places[index].tolist()
        frame, behind = capture.frame(t, c), capture.background(c)
        assert frame.alpha is not None
        assert behind is not None
        alpha = frame.alpha[row, column] / 255
        assert float(drawn.alpha[index]) == pytest.approx(alpha)
        over = drawn.rgb[index].numpy() * 255 + (1 - alpha) * behind[row, column]
        assert np.abs(over - frame.image[row, column]).max() <= 1.5


def test_most_pixels_are_on_the_person(capture: Capture) -> None:
    share = [float((_stream(capture, foreground=f).draw(0, 2000, 2).alpha > 0.5).float().mean()) for f in (0.0, 1.0)]
    assert share[1] > max(0.75, 1.5 * share[0])


def test_some_pixels_are_drawn_where_they_tell_most(capture: Capture) -> None:
    def telling(timestep: int, camera: Camera) -> np.ndarray:
        mask = np.zeros((camera.height, camera.width), bool)
        mask[SIZE // 2 - 3 : SIZE // 2 + 3, SIZE // 2 - 3 : SIZE // 2 + 3] = True
        return mask

    options = {"max_bytes": 1 << 30, "renew_every": 2, "foreground": 0.9, "with_depth": False, "seed": 0}
    stream = PixelStream(capture, (0, 1), (0, 1), emphasis=0.4, telling=telling, **options)  # type: ignore[arg-type]
    places = stream.draw(0, 1000, 2).places
    middle = ((places >= SIZE // 2 - 3) & (places < SIZE // 2 + 3)).all(1)
    assert 0.4 <= float(middle.float().mean()) < 0.5
