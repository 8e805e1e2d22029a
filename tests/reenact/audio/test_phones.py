"""Phone sets: every class has a viseme, foreign sounds find their nearest, and time has no gaps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.synthetic.phones import PHONES, TimedPhone
from reenact.audio import phones
from reenact.audio.corpus import pinyin, sentence, syllables
from reenact.audio.phones import NAMES, SILENCE, VISEME_OF, VISEMES, filled, from_arpabet, from_ipa, spread


def test_classes_are_the_phones_and_silence_comes_first():
    assert set(NAMES) == set(PHONES)
    assert NAMES[0] == SILENCE
    assert len(VISEMES) == 14
    assert set(VISEME_OF) == set(PHONES)


def test_every_symbol_of_a_table_leads_to_a_phone():
    assert set(phones._IPA.values()) <= set(PHONES)


@pytest.mark.parametrize(
    ("ipa", "expected"),
    [
        ("oʊ", ("OW",)),
        ("ˈɜː", ("ER",)),
        ("tʃ", ("CH",)),
        ("øː", ("UH",)),
        ("ç", ("HH",)),
        ("pʰ", ("P",)),
        ("ɐ̃", ("AH",)),
        ("əl", ("AH", "L")),
        ("ɡ", ("G",)),
        ("", ()),
        ("5", ()),
    ],
)
def test_ipa(ipa, expected):
    assert from_ipa(ipa) == expected


@pytest.mark.parametrize(("label", "name"), [("ae1", "AE"), ("ax", "AH"), ("pau", "SIL"), ("hh", "HH"), ("q!", None)])
def test_arpabet_and_radio_labels(label, name):
    assert from_arpabet(label) == name


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.floats(-1, 12), st.floats(-1, 12)), max_size=12))
def test_filled_covers_the_time_without_gaps_or_overlaps(spans):
    result = filled([TimedPhone(name, a, b) for name, a, b in spans], 10.0)
    assert result[0].start == 0.0
    assert result[-1].end == 10.0
    for first, second in pairwise(result):
        assert first.end == second.start
        assert not first.name == second.name == SILENCE
    assert all(item.end > item.start for item in result)


def test_spread_divides_a_time_equally():
    first, second = spread(("AH", "L"), 1.0, 1.4)
    assert (first.start, first.end, second.start, second.end) == pytest.approx((1.0, 1.2, 1.2, 1.4))


def test_texts_are_said_by_a_seed():
    for write in (sentence, syllables, pinyin):
        texts = [write(np.random.default_rng(seed)) for seed in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2]
        assert all(text.strip() and "\n" not in text for text in texts)
