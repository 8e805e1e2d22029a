"""Rules of the mouth: what must touch touches, whatever is beside it; silence is still; pieces equal the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.synthetic.phones import TimedPhone
from reenact.audio.articulation import (
    CHANNELS,
    CLOSE,
    JAW,
    MOVEMENTS,
    TUCK,
    Strength,
    codes_of,
    contact,
    goal,
    movements,
)
from reenact.audio.phones import BILABIALS, NAMES, VISEME_OF
from studio.codes import ARKIT52

TIMES = np.arange(0, 2.0, 0.01)


def said(*names: str, start: float = 0.5, each: float = 0.08) -> list[TimedPhone]:
    return [TimedPhone(name, start + k * each, start + (k + 1) * each) for k, name in enumerate(names)]


def channel(codes: np.ndarray, name: str) -> np.ndarray:
    return codes[:, ARKIT52.index(name)]


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=9), st.floats(0.03, 0.2), st.floats(0.2, 2.0))
@settings(max_examples=40, deadline=None)
def test_lips_touch_in_every_p_b_m_at_any_frame_rate_and_strength(names, each, gain):
    phones = said(*names, start=0.2, each=each)
    for fps in (24.0, 25.0, 30.0, 60.0):
        times = np.arange(0, 3.0, 1 / fps)
        moved = movements(phones, times)
        codes = codes_of(moved, Strength(gain, gain))
        assert codes.min() >= 0
        assert codes.max() <= 1
        for item in phones:
            if item.name in BILABIALS:
                near = (times > item.start - 0.04) & (times < item.end + 0.04)
                assert moved[near, CLOSE].max() > 0.95
                assert channel(codes, "jawOpen")[near].min() < 0.06


def test_a_silent_mouth_is_at_rest():
    assert not movements([], TIMES).any()
    assert movements([TimedPhone("SIL", 0.0, 2.0)], TIMES).max() == 0.0
    far = movements(said("AA", "P"), TIMES)[TIMES > 1.2]
    assert far.max() < 1e-12


def test_order_of_openings():
    peak = {name: movements(said(name, each=0.15), TIMES)[:, JAW].max() for name in ("AA", "EH", "IY", "S", "T")}
    assert peak["AA"] > peak["EH"] > peak["IY"] > peak["S"]
    assert channel(codes_of(movements(said("UW", each=0.15), TIMES)), "mouthPucker").max() > 0.4
    assert movements(said("F"), TIMES)[:, TUCK].max() == pytest.approx(1.0)


def test_the_tongue_leaves_lips_and_jaw_to_the_vowels():
    around = movements(said("AA", "T", "AA", each=0.1), TIMES)[:, JAW]
    middle = around[(TIMES > 0.6) & (TIMES < 0.68)].min()
    with_s = movements(said("AA", "S", "AA", each=0.1), TIMES)[:, JAW]
    assert middle > 0.6 * around.max()
    assert with_s[(TIMES > 0.6) & (TIMES < 0.68)].min() < 0.65 * middle


def test_rounding_begins_before_its_sound_and_jaw_and_lips_have_their_own_gain():
    moved = movements([TimedPhone("T", 0.4, 0.5), TimedPhone("UW", 0.5, 0.65)], TIMES)
    assert moved[TIMES < 0.45, MOVEMENTS.index("pucker")].max() > 0.15
    plain, strong = codes_of(moved), codes_of(moved, Strength(jaw=0.5, lips=1.2))
    assert np.allclose(channel(strong, "jawOpen"), 0.5 * channel(plain, "jawOpen"))
    assert channel(strong, "mouthPucker").max() == pytest.approx(1.2 * channel(plain, "mouthPucker").max())


def test_a_louder_vowel_opens_farther():
    phones = said("AA", "D", "AA", "D", "AA", each=0.2, start=0.1)
    loudness = np.where(TIMES > 0.9, -20.0, -30.0)
    jaw = movements(phones, TIMES, loudness)[:, JAW]
    assert jaw[TIMES > 0.95].max() > 1.1 * jaw[TIMES < 0.7].max()


def test_pieces_of_time_give_what_the_whole_gives():
    phones = [item for k in range(12) for item in said("P", "AA", "CH", "UW", "S", start=2.0 * k)]
    times = np.arange(0, 24.0, 0.01)
    whole = movements(phones, times)
    parts = np.concatenate([movements(phones, part) for part in np.array_split(times, 7)])
    assert np.abs(whole - parts).max() < 1e-12


def test_contact_is_full_inside_smooth_outside_and_never_shorter_than_60_ms():
    shut = contact([(1.0, 1.02)], TIMES)
    assert (shut == 1).sum() >= 6
    assert np.abs(np.diff(shut)).max() < 0.32
    assert shut[(TIMES < 0.9) | (TIMES > 1.1)].max() == 0.0


def test_goals_and_channels_are_complete():
    assert set(CHANNELS) == set(MOVEMENTS)
    assert all(goal(name).shape == (len(MOVEMENTS),) for name in NAMES)
    assert {name for name in NAMES if goal(name)[CLOSE]} == BILABIALS
    assert {VISEME_OF[name] for name in NAMES if goal(name)[TUCK]} == {"FF"}
