"""Flicker with values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from recon.flicker import Flicker
from studio.errors import StudioError

SIZE = 64


def _noisy(level: float, spread: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, spread, (SIZE, SIZE, 1))
    return np.clip(np.round(level + noise), 0, 255).astype(np.uint8).repeat(3, axis=2)


def test_noise_of_the_source_is_its_flicker_and_a_still_render_has_none() -> None:
    """Differences of independent noise of deviation 2 have one of 2 √2."""
    flicker = Flicker()
    for frame in range(12):
        flicker.add(_noisy(120, 2.0, frame), np.full((SIZE, SIZE, 3), 90, np.uint8))
    figures = flicker.figures()["full"]
    assert figures["source"] == pytest.approx(2 * 2**0.5, rel=0.1)
    assert figures["render"] == 0.0


def test_what_moves_is_left_out_and_a_pulsing_render_is_not() -> None:
    """A bar that moves through the left of the source; the render of the rest pulses by 3 grey levels."""
    flicker, still = Flicker(), np.full((SIZE, SIZE, 3), 100, np.uint8)
    for frame in range(8):
        source = still.copy()
        source[:, 3 * frame : 3 * frame + 6] = 220
        flicker.add(source, still + np.uint8(3 * (frame % 2)))
    figures = flicker.figures()["full"]
    assert figures["source"] == 0.0
    assert figures["render"] == pytest.approx(3.0)
    assert 0 < int(figures["pixels"] or 0) < 3 * SIZE * SIZE // 2


def test_the_person_is_told_apart_and_cuts_are_no_change() -> None:
    """The render's right half jumps by 8 once, in the middle of the first six frames; the source jumps at the cut."""
    flicker, person = Flicker(), np.zeros((SIZE, SIZE), bool)
    person[:, : SIZE // 2] = True
    still = np.full((SIZE, SIZE, 3), 100, np.uint8)
    pulsing = still.copy()
    pulsing[:, SIZE // 2 :] += 8
    for frame in range(6):
        flicker.add(still, still if frame < 3 else pulsing, person)
    flicker.cut()
    for _ in range(5):
        flicker.add(still + np.uint8(50), still, person)
    figures = flicker.figures()
    assert figures["person"] == {"source": 0.0, "render": 0.0, "pixels": SIZE * SIZE // 2}
    assert figures["full"]["render"] == pytest.approx(8 / 2**0.5, abs=1e-3)


def test_what_turns_round_is_not_static() -> None:
    """An edge that swings to and fro stands still for one frame at each end."""
    flicker = Flicker()
    for frame in range(12):
        source = np.full((SIZE, SIZE, 3), 60, np.uint8)
        source[:, : 32 + (0, 0, 2, 2)[frame % 4]] = 200
        flicker.add(source, source)
    assert flicker.figures()["full"]["source"] == 0.0


def test_nothing_static_gives_no_figure_and_sizes_must_agree() -> None:
    flicker = Flicker()
    assert flicker.figures() == {}
    for frame in range(6):
        flicker.add(np.full((8, 8, 3), 30 * frame, np.uint8), np.zeros((8, 8, 3), np.uint8))
    assert flicker.figures()["full"] == {"source": None, "render": None, "pixels": 0}
    with pytest.raises(StudioError):
        flicker.add(np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8))
