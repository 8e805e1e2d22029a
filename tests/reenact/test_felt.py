"""What voice and words tell of a feeling, how it is shown, and that it can always be overridden."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from capture.synthetic.phones import schedule
from capture.synthetic.speech import synthesise
from reenact.audio.features import RATE
from reenact.audio.prosody import arousal_of, cues_of
from reenact.drivers.audio import AudioDriver
from reenact.emotion.felt import Felt, actions_of, felt, model_affect, read_lexicon, with_feeling, words_affect
from reenact.emotion.table import read_table
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio, write_wav

TEXT = "SIL M AA P IY S UW T SIL B OW L AA N IY M UW SIL L AA M AY SIL"


def voice(pitch: float, seconds: float = 5.0) -> np.ndarray:
    return synthesise(schedule(TEXT, 0.0, seconds), seconds, pitch=pitch).resampled(RATE).samples[:, 0]


def test_a_higher_and_faster_voice_is_more_excited_than_its_baseline():
    calm = cues_of(voice(110.0)).typical()
    excited = np.nanmean(arousal_of(cues_of(voice(180.0, 3.5)), calm))
    drowsy = np.nanmean(arousal_of(cues_of(voice(85.0, 7.0)), calm))
    assert drowsy < np.nanmean(arousal_of(cues_of(voice(110.0)), calm)) + 0.02 < excited
    assert excited > 0.1


def test_a_recording_against_itself_is_even_and_its_gain_does_not_matter():
    samples = np.concatenate((voice(110.0), voice(170.0, 4.0)))
    own, quiet = arousal_of(cues_of(samples)), arousal_of(cues_of(0.2 * samples))
    assert abs(np.nanmedian(own)) < 0.2
    assert np.nanmean(own[-6:]) > np.nanmean(own[:6])
    assert np.allclose(own, quiet, atol=0.05, equal_nan=True)


def test_silence_tells_nothing():
    assert np.isnan(arousal_of(cues_of(np.zeros(3 * RATE)))).all()
    feeling = felt(3.0, np.zeros(3 * RATE, np.float32))
    assert feeling.told == "nothing"
    assert actions_of(feeling, 1.0) == ()
    assert "unknown" in feeling.summary()


@pytest.mark.parametrize(
    ("text", "valence", "arousal"),
    [
        ("I am so happy today!", 1, 1),
        ("He died alone and I miss him.", -1, -1),
        ("You stupid liar!", -1, 1),
        ("I am not happy.", -1, 1),
        ("The train leaves at nine.", None, None),
    ],
)
def test_words(text, valence, arousal):
    for found, sign in zip(words_affect(text, np.array([0.5])), (valence, arousal), strict=True):
        assert np.isnan(found[0]) if sign is None else np.sign(found[0]) == sign


def test_amounts_and_sentences_count():
    very, plain, slightly = (
        words_affect(f"I am {word} sad.", np.array([0.5]))[0][0] for word in ("very", "", "slightly")
    )
    assert very < plain < slightly < 0
    valence, _ = words_affect("What a lovely day. I hate you.", np.array([0.2, 0.9]))
    assert valence[0] > 0 > valence[1]


def test_the_lexicon_is_on_the_circle_and_names_no_word_twice():
    words = [word for group in read_lexicon().groups for word in group.words.split()]
    assert len(set(words)) == len(words) > 150


def test_a_feeling_is_shown_in_kind_and_arousal_alone_raises_brows_only():
    joy = actions_of(felt(3.0, words="I love it, wonderful!"), 1.0)
    assert max(joy, key=lambda item: item.intensity).name == "joy"
    times = np.arange(0.0, 3.0, 0.5)
    lively = Felt(times, np.full(len(times), np.nan), np.ones(len(times)), "voice")
    assert {item.name for item in actions_of(lively, 1.0)} == {"AU1", "AU2"}
    assert {"AU1", "AU2"}.isdisjoint(read_table().emotions)


def _track() -> CodeTrack:
    codes = Codes.neutral(ARKIT52, (90,))
    codes.expression[:, ARKIT52.index("jawOpen")] = 0.3
    shut = np.zeros(90, np.float32)
    shut[40:46] = 1.0
    codes.expression[40:46] = 0.0
    return CodeTrack(codes, 30.0, torch.ones(90, dtype=torch.bool), {"expression": "x"}, {"closure": shut})


def test_it_is_told_and_shown_only_as_asked_and_lips_stay_shut():
    feeling, track = felt(3.0, words="I am terrified, help!"), _track()
    told = with_feeling(track, feeling, 0.0)
    assert torch.equal(told.codes.expression, track.codes.expression)
    assert "valence -" in told.provenance["emotion"]
    assert "not shown" in told.provenance["emotion"]
    assert told.extras["felt"].shape == (90, 2)
    shown = with_feeling(track, feeling, 1.0)
    assert shown.codes.expression[20:30].sum() > track.codes.expression[20:30].sum() + 1
    for name in ("jawOpen", "mouthLowerDownLeft", "mouthUpperUpLeft"):
        assert shown.codes.expression[41:45, ARKIT52.index(name)].max() < 0.02
    other = with_feeling(track, feeling, 1.0, "smile")
    assert other.codes.expression[20:60, ARKIT52.index("mouthSmileLeft")].min() > 0.3
    assert "shown: smile" in other.provenance["emotion"]


def test_the_audio_driver_tells_what_it_hears(tmp_path):
    for name, pitch in (("excited.wav", 180.0), ("calm.wav", 100.0)):
        write_wav(tmp_path / name, Audio(voice(pitch, 3.5)[:, None].astype(np.float32), RATE))
    driving = AudioDriver(tmp_path / "excited.wav", baseline=tmp_path / "calm.wav", feel=1.0).drive()
    assert "voice against its baseline" in driving.track.provenance["emotion"]
    assert driving.track.codes.expression[:, ARKIT52.index("browInnerUp")].max() > 0.02
    assert {"excited.wav", "calm.wav"} <= set(driving.parents)


def test_a_users_network_is_asked_and_checked(tmp_path, monkeypatch):
    class Session:
        def __init__(self, value):
            self.value = np.asarray(value, np.float32)

        def get_inputs(self):
            return [type("Input", (), {"name": "sound"})()]

        def run(self, _, inputs):
            assert inputs["sound"].shape[0] == 1
            return [self.value]

    path = tmp_path / "emotion.onnx"
    monkeypatch.setattr("reenact.emotion.felt.open_onnx", lambda *_: Session([[0.5, -2.0]]))
    assert model_affect(np.zeros(9 * RATE), path) == [(0.5, -1.0)] * 2
    assert felt(9.0, np.zeros(9 * RATE, np.float32), model=path).valence[3] == 0.5
    monkeypatch.setattr("reenact.emotion.felt.open_onnx", lambda *_: Session([[0.5, 1.0, 2.0]]))
    with pytest.raises(StudioError, match="no emotion"):
        model_affect(np.zeros(RATE), path)
    monkeypatch.undo()
    with pytest.raises(StudioError):
        model_affect(np.zeros(RATE), path)
