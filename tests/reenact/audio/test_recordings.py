"""Recordings of Debian's packages: which are found, with what words, and takes of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from capture.synthetic.phones import schedule
from capture.synthetic.speech import synthesise
from reenact.audio import takes as takes_module
from reenact.audio.align import PhoneAligner, has_pocketsphinx
from reenact.audio.features import RATE
from reenact.audio.recordings import Recording, collections_of, find_recordings
from reenact.audio.takes import recorded_takes
from reenact.audio.train import told


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Packages unpacked beside each other, their sounds empty."""
    sounds = tmp_path / "sounds/usr/share"
    texts = tmp_path / "texts/usr/share"
    prompts = sounds / "asterisk/sounds/fr_CA_f_June"
    for path in (
        prompts / "added.g722",
        prompts / "digits/1.g722",
        sounds / "tuxpaint/stamps/animals/cat_desc.ogg",
        sounds / "tuxpaint/stamps/animals/cat_desc_fr.ogg",
        sounds / "tuxpaint/stamps/animals/cat.ogg",
        sounds / "games/fillets-ng/sound/city/cs/vit.ogg",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    listed = texts / "doc/asterisk-core-sounds-fr/core-sounds-fr.txt.gz"
    script = texts / "games/fillets-ng/script/city/dialogs_cs.lua"
    for path in (listed, script):
        path.parent.mkdir(parents=True)
    listed.write_bytes(gzip.compress("; French\nadded: ajouté\nbeep: [a tone]\ndigits/1: un\nlost: perdu\n".encode()))
    script.write_text('dialogId("vit", "font", "Hello.")\ndialogStr("Ahoj \\"lidi\\".")\ndialogId("x", "f", "y")\n')
    (sounds / "tuxpaint/stamps/animals/cat.txt").write_text("A cat.\nfr.utf8=Un chat.\nde.utf8=Eine Katze.\n")
    return tmp_path


def test_recordings_are_found_with_their_words(packages: Path) -> None:
    found = {(item.speaker, item.language, item.text) for item in find_recordings(packages)}
    assert found == {
        ("asterisk fr", "fr-fr", "ajouté"),
        ("asterisk fr", "fr-fr", "un"),
        ("stamps en", "en-us", "A cat."),
        ("stamps fr", "fr-fr", "Un chat."),
        ("fillets cs", "cs", 'Ahoj "lidi".'),
    }
    assert list(collections_of(packages)) == ["asterisk fr", "fillets cs", "stamps en", "stamps fr"]
    assert find_recordings(packages / "nothing") == []


def test_takes_of_recordings_end_when_a_collection_has_had_its_minutes(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phones = schedule("SIL M AA P SIL", 0.0, 1.0)
    samples = synthesise(phones, 1.0).resampled(RATE).samples[:, 0]

    class Reader:
        def __enter__(self) -> Reader:
            return self

        def __exit__(self, *error: object) -> None: ...

        def read(self, recording: Recording) -> object:
            return None if recording.text == "un" else (samples, phones)

    many = {
        "asterisk fr": [Recording(Path("x"), "un", "fr-fr", "asterisk fr")] * 5
        + [Recording(Path("x"), "oui", "fr-fr", "asterisk fr")] * 60
    }
    monkeypatch.setattr(takes_module, "RecordedSpeech", Reader)
    monkeypatch.setattr(takes_module, "collections_of", lambda root: many)
    made = list(recorded_takes(packages, 0.5, 2, seed=1))
    assert len(made) == 4  # of about 18 seconds, in two views: 0.5 minutes are full with the second
    assert all(take.voice.foreign and take.voice.engine == "recorded" for take in made)
    assert all(len(take.features) == len(take.phones) == len(take.moved) for take in made)
    assert {int(value) for value in np.unique(made[0].phones)} >= {0}
    assert told(made).startswith("asterisk fr 1 min")


@pytest.mark.skipif(not has_pocketsphinx(), reason="pocketsphinx is not installed")
def test_phones_are_laid_over_a_recording_without_words() -> None:
    names = ["SIL", "M", "AA", "P", "IY", "SIL", "S", "UW", "T", "AA", "SIL"]
    phones = schedule(" ".join(names), 0.0, 2.0)
    samples = synthesise(phones, 2.0).resampled(RATE).samples[:, 0]
    aligner = PhoneAligner()
    found = [item.name for item in aligner.align_phones(samples, names) if item.name != "SIL"]
    assert found == [name for name in names if name != "SIL"]
    assert aligner.knows("hello")
    assert not aligner.knows("zzyzx")
