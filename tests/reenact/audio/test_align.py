"""Phones from a TextGrid and from a transcript: both forms, other alphabets, and words that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from capture.synthetic.phones import TimedPhone, schedule, usual_seconds
from capture.synthetic.speech import synthesise
from reenact.audio import align as aligning
from reenact.audio.align import _best_path, align, by_network, by_pocketsphinx, has_pocketsphinx
from reenact.audio.features import RATE
from reenact.audio.scores import viseme_score, viseme_track
from reenact.audio.speaking import mono
from reenact.audio.textgrid import read_textgrid
from studio.errors import StudioError
from studio.media.audio import read_wav

SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
2
"IntervalTier"
"words"
0
1.5
1
0
1.5
"say ""hi"" 3"
"IntervalTier"
"phones"
0
1.5
3
0
0.5
"HH"
0.5
1.25
"AY1"
1.25
1.5
""
"""
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "TextTier"
        name = "marks 2"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.3
            mark = "x"
    item [2]:
        class = "IntervalTier"
        name = "MAU"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "h"
        intervals [2]:
            xmin = 0.5
            xmax = 1.25
            text = "aɪ"
        intervals [3]:
            xmin = 1.25
            xmax = 1.5
            text = "<p:>"
"""


@pytest.mark.parametrize(("text", "encoding"), [(SHORT, "utf-8"), (LONG, "utf-8"), (LONG, "utf-16")])
def test_both_forms_of_a_textgrid(tmp_path, text, encoding):
    (tmp_path / "x.TextGrid").write_bytes(text.encode(encoding))
    assert read_textgrid(tmp_path / "x.TextGrid") == [
        TimedPhone("HH", 0.0, 0.5),
        TimedPhone("AY", 0.5, 1.25),
        TimedPhone("SIL", 1.25, 1.5),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "as a TextGrid"), (b"\xff\xfe\x00", "as a TextGrid"), (SHORT[:165].encode(), "as a TextGrid|no phones"),
     (SHORT.replace("HH", "7").replace("AY1", "!").encode(), "no phones")],
)  # fmt: skip
def test_a_damaged_textgrid_is_one_line(tmp_path, content, problem):
    (tmp_path / "x.TextGrid").write_bytes(content)
    with pytest.raises(StudioError, match=problem):
        read_textgrid(tmp_path / "x.TextGrid")
    with pytest.raises(StudioError, match="no such TextGrid"):
        read_textgrid(tmp_path / "y.TextGrid")


def test_the_best_path_goes_through_all_that_is_not_optional():
    scores = np.log(np.array([[0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]]))
    assert list(_best_path(scores, np.array([True, False, False]))) == [0, 1, 2, 2]
    assert list(_best_path(scores, np.array([False, True, False]))) == [0, 2, 2, 2]


def test_the_best_path_of_many_states_is_their_order():
    path = _best_path(np.log(np.eye(300) * 0.9 + 1e-4), np.zeros(300, dtype=bool))
    assert np.array_equal(path, np.arange(300))


def test_the_network_finds_the_phones_of_a_known_text():
    text = "SIL M AA N AE S IY F UW D EH SH OW B AH L AY K IY SIL"
    phones = schedule(text, 0.0, 1.4 * usual_seconds(text))
    samples = synthesise(phones, phones[-1].end).resampled(RATE).samples[:, 0]
    found = by_network(samples, text.split())
    assert [item.name for item in found if item.name != "SIL"] == text.replace("SIL", "").split()
    seconds = len(samples) / RATE
    assert viseme_score(viseme_track(found, seconds), viseme_track(phones, seconds)).all > 0.75


def test_a_text_that_cannot_fit_is_one_line():
    with pytest.raises(StudioError, match="does not fit"):
        by_network(np.zeros(RATE // 2), ["AA", "B"] * 40)
    with pytest.raises(StudioError, match="no words"):
        align(np.zeros(RATE), " ... ")
    with pytest.raises(StudioError, match="unknown aligner"):
        align(np.zeros(RATE), "hello", aligner="ouija")
    with pytest.raises(StudioError, match="too long"):
        align(np.zeros(601 * RATE, dtype=np.float32), "hello")


def test_pocketsphinx_aligns_real_speech(shared):
    if not has_pocketsphinx():
        pytest.skip("pocketsphinx is not installed (extra: speech)")
    folder = shared / "data" / "speech_aligned"
    sound = read_wav(folder / "acoustic_corpus.wav").between(14.9, 17.3)
    truth = [
        TimedPhone(item.name, item.start - 14.9, item.end - 14.9)
        for item in read_textgrid(folder / "acoustic_corpus.TextGrid")
    ]
    found = by_pocketsphinx(mono(sound), "We're just saying some words.")
    assert viseme_score(viseme_track(found, 2.4), viseme_track(truth, 2.4)).all > 0.7


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(aligning, "has_pocketsphinx", lambda: False)
    with pytest.raises(StudioError, match="pip install pocketsphinx"):
        by_pocketsphinx(np.zeros(RATE), "hello")
    monkeypatch.setattr("reenact.audio.espeak.find_espeak", lambda: None)
    with pytest.raises(StudioError, match="espeakng-loader"):
        align(np.zeros(RATE), "hallo", language="de")
