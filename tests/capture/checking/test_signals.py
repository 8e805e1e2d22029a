"""Shifts of motion, widths of edges, ends of files and lags of sound, on signals with known answers."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from capture.checking.look import Look, MatteLook, edge_width, fine_detail, is_cut_off
from capture.checks.framing import is_cut
from capture.checks.synchrony import band_signals, best_shift, frame_agreement, lost_frames, shift_curve
from capture.sound_sync import RATE, estimate, loudness
from studio.media.audio import Audio


def wandering(count, rng, width=3.0):
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(rng.normal(size=count), width)


@pytest.mark.parametrize("lag", [-5, -1, 0, 2, 7])
def test_the_shift_of_a_camera(lag):
    rng = np.random.default_rng(lag + 10)
    truth = np.stack([wandering(90, rng, 1.5) for _ in range(6)], -1)
    signals = np.stack([truth[10:70] + 0.02 * rng.normal(size=(60, 6)) for _ in range(4)])
    signals[2] = truth[10 - lag : 70 - lag]
    follows = np.r_[False, np.ones(59, bool)]
    assert best_shift(shift_curve(signals, 2, 10, follows), 0.3, 0.06) == lag
    assert best_shift(shift_curve(signals, 0, 10, follows), 0.3, 0.06) == 0


@pytest.mark.parametrize(("lag", "at"), [(2, 24), (3, 35), (-2, 30)])
def test_frames_lost_on_the_way(lag, at):
    rng = np.random.default_rng(at)
    truth = np.stack([wandering(90, rng, 0.8) for _ in range(6)], -1)
    signals = np.stack([truth[10:70] + 0.02 * rng.normal(size=(60, 6)) for _ in range(4)])
    follows = np.r_[False, np.ones(59, bool)]
    assert lost_frames(frame_agreement(signals, 1, 12, follows)) is None
    signals[1, at:] = truth[10 + at + lag : 70 + lag]
    before, after, found = lost_frames(frame_agreement(signals, 1, 12, follows))
    assert (before, after) == (0, -lag)
    assert abs(found - at) <= 3
    assert lost_frames(frame_agreement(signals, 0, 12, follows)) is None


def test_nothing_that_agrees_has_no_shift():
    rng = np.random.default_rng(0)
    curve = shift_curve(rng.normal(size=(3, 60, 4)), 0, 10, np.r_[False, np.ones(59, bool)])
    assert best_shift(curve, 0.5, 0.06) is None


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_edges_are_as_wide_as_they_were_blurred(sigma):
    y, x = np.mgrid[:256, :256]
    disc = (((x - 128) ** 2 + (y - 120) ** 2 < 70**2) * 140 + 60).astype(np.float32)
    big = cv2.GaussianBlur(disc, (0, 0), sigma)
    assert edge_width(np.rint(big).astype(np.uint8)) == pytest.approx(sigma, rel=0.2, abs=0.3)


def test_a_flat_picture_has_no_edges():
    assert np.isnan(edge_width(np.full((64, 64), 90, np.uint8)))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_files_that_end_early(suffix):
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    data = cv2.imencode(suffix, picture)[1].tobytes()
    assert not is_cut_off(data)
    assert is_cut_off(data[: len(data) // 2])
    assert is_cut_off(b"")


def spoken(mouth, rng):
    """Noise as loud as the mouth is open."""
    count = round(len(mouth) / RATE * 16000)
    level = np.interp(np.arange(count) / 16000, np.arange(len(mouth)) / RATE, mouth)
    return Audio((0.3 * level**2 * rng.normal(size=count)).astype(np.float32)[:, None], 16000)


@pytest.mark.parametrize("late", [0.0, 0.2, -0.31])
def test_the_lag_of_sound(late):
    rng = np.random.default_rng(3)
    mouth = np.clip(wandering(1000, rng, 8.0) * 4, 0, None)
    sound = spoken(mouth, rng)
    level = loudness(sound.between(-late, sound.duration - late))
    found = estimate(mouth, [level, level + 0.1 * rng.normal(size=len(level))])
    assert found.seconds == pytest.approx(late, abs=0.03)
    assert estimate(mouth, [level]).seconds is None  # one estimator alone is never enough


def test_unrelated_sound_and_short_clips_have_no_lag():
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mouth, other, third = (wandering(900, rng, 8.0) for _ in range(3))
        found.append(estimate(mouth, [other, third]).seconds)
    assert sum(seconds is not None for seconds in found) <= 1
    assert estimate(mouth[:300], [other[:300]]) is None
    assert estimate(mouth, [np.zeros(900)]) is None


def test_motion_takes_detail_in_its_own_direction() -> None:
    sharp = np.random.default_rng(0).integers(0, 255, (96, 96)).astype(np.uint8)
    sharp = cv2.GaussianBlur(sharp, (0, 0), 1.2)
    for index, kernel in enumerate((np.ones((1, 11)) / 11, np.eye(11) / 11, np.ones((11, 1)) / 11)):
        left = fine_detail(cv2.filter2D(sharp, -1, kernel)) / fine_detail(sharp)
        assert left.argmin() == index
        assert left.min() < 0.8
        assert left.max() > left.min() + 0.15
    assert np.isnan(fine_detail(np.full((64, 64), 90, np.uint8))).all()


def test_the_motion_of_bands_tells_cameras_that_look_from_elsewhere_in_time() -> None:
    """Rows move for a moment, each at another height: seen larger, shifted and brighter, it is the same motion."""
    rng = np.random.default_rng(3)
    count, height = 60, 48
    pulses = (rng.random((count, 6)) < 0.2) * rng.uniform(1, 4, (count, 6)) + 0.2
    rows = np.zeros((count, 2, height))
    rows[:, 0, 6:42] = np.repeat(pulses, 6, axis=1)
    rows[:, 1, 16:40] = 2.0 * np.repeat(pulses, 4, axis=1)
    rows[0] = np.nan
    follows = np.r_[False, np.ones(count - 1, bool)]
    bands = band_signals(SimpleNamespace(row_motion=rows))
    assert bands.shape == (2, count, 6)
    assert np.isnan(bands[:, 0]).all()
    curve = shift_curve(bands, 1, 8, follows)
    assert curve[8] > 0.9
    assert np.abs(np.delete(curve, 8)).max() < 0.5
    rows[30:-2, 1] = rows[32:, 1].copy()
    rows[-2:, 1] = 0.2
    late = lost_frames(frame_agreement(band_signals(SimpleNamespace(row_motion=rows)), 1, 8, follows))
    assert late is not None
    assert late[:2] == (0, -2)


def test_a_head_that_leaves_the_picture_without_a_face_is_told_by_the_mouths_height() -> None:
    sides = np.zeros((2, 64), np.float32)
    sides[0, 20:] = 1.0  # shoulders and the side of the head
    matte = MatteLook(0.3, 0.0, 0.0, 0.0, sides)
    assert not matte.touches(0.3)
    assert matte.touches(0.6)
    assert not is_cut(Look("", size=(64, 64), matte=matte))
    assert is_cut(Look("", size=(64, 64), matte=matte), floor=0.6)
