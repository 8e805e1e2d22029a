"""Drivers of voice and text: layers, channels, bad sound, and espeak-ng where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from capture.synthetic.phones import schedule, usual_seconds
from capture.synthetic.speech import synthesise
from reenact.audio import espeak
from reenact.audio.espeak import Espeak, find_espeak
from reenact.audio.features import RATE
from reenact.audio.phones import BILABIALS
from reenact.audio.speaking import Speech, blocks, mono, speak_codes
from reenact.drivers.audio import AudioDriver
from reenact.drivers.text import TextDriver
from studio.codes import ARKIT52
from studio.errors import StudioError
from studio.media.audio import Audio, write_wav

TEXT = "SIL M AA P IY B UW SIL"
GRID = """"ooTextFile"
"TextGrid"
0 2 <exists> 1 "IntervalTier" "phones" 0 2 3 0 0.5 "" 0.5 0.7 "P" 0.7 2 "AA"
"""


def voice(rate: int = RATE, channels: int = 1) -> Audio:
    phones = schedule(TEXT, 0.0, 2 * usual_seconds(TEXT))
    sound = synthesise(phones, phones[-1].end).resampled(rate).samples
    return Audio(np.repeat(sound, channels, axis=1), rate)


def jaw(track) -> np.ndarray:
    return track.codes.expression[:, ARKIT52.index("jawOpen")].numpy()


def test_layers_are_used_alone_and_say_so(tmp_path):
    write_wav(tmp_path / "a.wav", voice())
    (tmp_path / "a.TextGrid").write_text(GRID)
    heard = AudioDriver(tmp_path / "a.wav").drive()
    told = AudioDriver(tmp_path / "a.wav", textgrid=tmp_path / "a.TextGrid").drive()
    assert heard.track.provenance["expression"] == "speech network"
    assert told.track.provenance["expression"] == "aligned speech (TextGrid)"
    assert set(told.parents) == {"a.wav", "a.TextGrid"}
    assert told.track.extras["phones/name"].tolist() == ["SIL", "P", "AA"]
    assert heard.rest is not None
    assert heard.track.extras["closure"].shape == (len(heard.track),)
    for layer, missing in (("aligned", "nothing to align"), ("adapted", "no adapter"), ("magic", "unknown layer")):
        with pytest.raises(StudioError, match=missing):
            AudioDriver(tmp_path / "a.wav", layer=layer).drive()


@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97, 60.0])
def test_a_track_is_as_long_as_its_sound(fps):
    sound = voice()
    track = speak_codes(sound, Speech(), fps)
    assert len(track) == int(np.ceil(sound.duration * fps))
    with pytest.raises(StudioError, match="frame rate"):
        speak_codes(sound, Speech(), 0.0)


@pytest.mark.parametrize("change", ["8 kHz", "stereo", "clipped", "44.1 kHz", "float above 1"])
def test_usual_flaws_are_borne(change):
    sound, plain = voice(), jaw(speak_codes(voice(), Speech(), 25.0))
    changed = {
        "8 kHz": voice(8000),
        "44.1 kHz": voice(44_100),
        "stereo": voice(channels=2),
        "clipped": Audio(np.clip(6 * sound.samples, -1, 1), RATE),
        "float above 1": Audio(5 * sound.samples, RATE),
    }[change]
    again = jaw(speak_codes(changed, Speech(), 25.0))
    length = min(len(plain), len(again))
    assert np.corrcoef(plain[:length], again[:length])[0, 1] > 0.7


def test_one_speaker_of_a_dialogue():
    sound = voice()
    both = Audio(np.concatenate((sound.samples, np.zeros_like(sound.samples)), axis=1), RATE)
    assert (
        np.abs(jaw(speak_codes(both, Speech(), 25.0, channel=0)) - jaw(speak_codes(sound, Speech(), 25.0))).max() < 1e-3
    )
    assert jaw(speak_codes(both, Speech(), 25.0, channel=1)).max() < 0.02
    with pytest.raises(StudioError, match="no such channel"):
        speak_codes(both, Speech(), 25.0, channel=2)


def test_bad_sound_is_one_line(tmp_path):
    for samples, problem in ((np.zeros((10, 1)), "too short"), (np.full((RATE, 1), np.nan), "no numbers")):
        with pytest.raises(StudioError, match=problem):
            speak_codes(Audio(samples.astype(np.float32), RATE), Speech(), 25.0)
    (tmp_path / "x.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "empty.mp3").write_bytes(b"")
    for name in ("x.wav", "empty.mp3", "nowhere.wav"):
        with pytest.raises(StudioError, match=name):
            AudioDriver(tmp_path / name).drive()


def test_blocks_make_one_sound_without_edges(monkeypatch):
    monkeypatch.setattr("reenact.audio.speaking.BLOCK_SECONDS", 2)
    sound = Audio(np.random.default_rng(0).normal(0, 0.1, (44_100 * 7, 1)).astype(np.float32), 44_100)
    parts = list(blocks(sound))
    assert len(parts) == 4
    whole = sound.resampled(RATE).samples[:, 0]
    assert np.abs(np.concatenate(parts)[: len(whole)] - whole).max() < 1e-4
    assert len(mono(sound)) == len(whole)


def test_text_without_espeak_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(espeak, "find_espeak", lambda: None)
    with pytest.raises(StudioError, match="espeakng-loader"):
        TextDriver(text="hello").drive()
    monkeypatch.undo()
    with pytest.raises(StudioError, match=r"espeakng-loader|nothing to say"):
        TextDriver().drive()


needs_espeak = pytest.mark.skipif(find_espeak() is None, reason="espeak-ng is not installed")


@needs_espeak
@pytest.mark.parametrize(
    ("spoken", "text", "names"),
    [
        ("en-us", "Bob may pop by.", "B AA B M EY P AA P B AY"),
        ("de", "Mama baut Bäume", "M AA M AA B AW T B OY M AH"),
        ("fr-fr", "papa", "P AA P AA"),
        ("es", "mi mapa", "M IY M AA P AA"),
        ("it", "bambino", "B AA M B IY N OW"),
    ],
)
def test_espeak_speaks_and_the_lips_meet(spoken, text, names):
    driving = TextDriver(text=text, voice=spoken).drive()
    said = [name for name in driving.track.extras["phones/name"] if name != "SIL"]
    assert [name for name in said if name in BILABIALS] == [name for name in names.split() if name in BILABIALS]
    assert len(said) == pytest.approx(len(names.split()), abs=2)
    assert abs(driving.audio.duration * 30 - len(driving.track)) <= 1
    starts, ends = driving.track.extras["phones/start"], driving.track.extras["phones/end"]
    for name, start, end in zip(driving.track.extras["phones/name"], starts, ends, strict=True):
        if name in BILABIALS:
            frames = slice(max(int((start - 0.04) * 30), 0), int(np.ceil((end + 0.05) * 30)))
            assert driving.track.extras["closure"][frames].max() > 0.9


@needs_espeak
def test_a_voice_that_is_none_and_a_text_without_words_are_one_line():
    with Espeak() as running:
        with pytest.raises(StudioError, match="no such voice"):
            running.speak("hello", "xx")
        with pytest.raises(StudioError, match="nothing in the text"):
            running.speak(" ... ")
        assert running.speak("line one\nline two").audio.duration > 0.8


def test_the_command_line_knows_sounds_and_texts_by_their_ending(tmp_path):
    from studio.cli.verbs.drive import make_driver

    for name in ("a.wav", "b.MP3", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert isinstance(make_driver({"kind": "auto", "source": str(tmp_path / "a.wav")}), AudioDriver)
    assert isinstance(make_driver({"kind": "auto", "source": str(tmp_path / "b.MP3")}), AudioDriver)
    assert isinstance(make_driver({"kind": "auto", "source": str(tmp_path / "c.txt")}), TextDriver)
    inline = make_driver({"kind": "text", "source": None, "text": "hello", "voice": "de", "rate": 120})
    assert inline == TextDriver(text="hello", voice="de", rate=120)


def test_a_transcript_is_words_or_a_file_of_them(tmp_path):
    (tmp_path / "said.txt").write_text("hello")
    assert AudioDriver(tmp_path, transcript=str(tmp_path / "said.txt"))._text() == "hello"
    assert AudioDriver(tmp_path, transcript="hello there")._text() == "hello there"
    with pytest.raises(StudioError, match="no such transcript"):
        AudioDriver(tmp_path, transcript=str(tmp_path / "gone.txt"))._text()
