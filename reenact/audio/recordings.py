"""Recordings of real people and the words they say, from Debian's packages, as further speech to train on.

Prompts of Asterisk (CC BY-SA 3.0), descriptions of Tux Paint's stamps and dialogues of Fish Fillets (GPL-2), talks of
Flight of the Amazon Queen (may be given away and changed): many voices in a dozen languages. The packages are
installed, or unpacked with ``dpkg -x`` below any folder. When each phone is said is found with pocketsphinx's models
(``align.PhoneAligner``).
"""

from __future__ import annotations

import gzip
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capture.synthetic.phones import TimedPhone
from reenact.audio.align import PhoneAligner
from reenact.audio.amazon_queen import find_lines
from reenact.audio.espeak import Espeak
from reenact.audio.features import RATE
from reenact.audio.phones import SILENCE
from studio.errors import StudioError
from studio.media.audio import Audio
from studio.media.video_reader import read_audio

_ASTERISK = re.compile(r"^(\w[\w/.-]*):\s*(.+)$")
_NOTES = re.compile(r"[\[(<{].*?[\])>}]")  # what a prompt's text tells about the sound and nobody says
_DIALOGUE = re.compile(r'dialogId\("([^"]+)",\s*"[^"]*",\s*"[^"]*"\)\s*dialogStr\("((?:[^"\\]|\\.)*)"\)')
_LANGUAGES = {
    "en": "en-us",
    "en_GB": "en-gb",
    "fr": "fr-fr",
    "es": "es-419",
}  # as espeak-ng names them, where it differs
_SHORTEST, _LONGEST = 0.5, 25.0  # seconds of a usable recording
_HURRIED = 0.035  # seconds: a phone as short as the aligner's shortest
_MISFIT = 0.3  # share of hurried phones from which the words are not those that are said


@dataclass(frozen=True)
class Recording:
    """A recording and its words.

    Args:
        path: of the sound.
        text: what is said.
        language: as espeak-ng names it.
        speaker: the collection, whose voices are alike.
        part: first byte and size of the sound, where the file holds more.
    """

    path: Path
    text: str
    language: str
    speaker: str
    part: tuple[int, int] | None = None


def find_recordings(root: Path) -> list[Recording]:
    """All recordings with words below a folder that holds ``usr/share`` of one or more packages."""
    trees = sorted({path.parent.parent for path in (*root.glob("usr/share"), *root.glob("*/usr/share"))})
    found = [item for tree in trees for item in _stamps(tree / "usr/share/tuxpaint/stamps")]
    texts = [path for tree in trees for path in tree.glob("usr/share/doc/asterisk-core-sounds-*/core-sounds-*.txt.gz")]
    for tree in trees:
        found += [item for text in texts for item in _prompts(tree / "usr/share/asterisk/sounds", text)]
    scripts = {path for tree in trees for path in tree.glob("usr/share/games/fillets-ng/script/*/dialogs_*.lua")}
    for tree in trees:
        found += [
            item for script in sorted(scripts) for item in _dialogues(tree / "usr/share/games/fillets-ng/sound", script)
        ]
    for game in sorted(path for tree in trees for path in tree.glob("usr/share/scummvm/*/queen.1c")):
        for line in find_lines(game):
            found.append(Recording(game, line.text, "en-us", "amazon queen", (line.start, line.size)))
    return found


def collections_of(root: Path) -> dict[str, list[Recording]]:
    """The recordings below a folder by collection, in a fixed order."""
    found: dict[str, list[Recording]] = {}
    for item in find_recordings(root):
        found.setdefault(item.speaker, []).append(item)
    return dict(sorted(found.items()))


def _prompts(sounds: Path, listed: Path) -> Iterator[Recording]:
    """Prompts of Asterisk in one language: ``name: text`` a line, sounds in a folder of the language."""
    language = listed.name.removeprefix("core-sounds-").removesuffix(".txt.gz")
    texts = gzip.decompress(listed.read_bytes()).decode("utf-8", errors="replace")
    for folder in sorted(sounds.glob(f"{language}_*")):
        for line in texts.splitlines():
            match = _ASTERISK.match(line)
            text = _NOTES.sub(" ", match[2]) if match else ""
            path = folder / f"{match[1] if match else ''}.g722"
            if re.search(r"\w{2}", text) and path.is_file():
                yield Recording(path, text, _LANGUAGES.get(language, language), f"asterisk {language}")


def _stamps(folder: Path) -> Iterator[Recording]:
    """Descriptions of Tux Paint's stamps: the first line of a text is English, others begin with their language."""
    for listed in sorted(folder.glob("**/*.txt")):
        lines = listed.read_text("utf-8", errors="replace").splitlines()
        texts = {"en": lines[0].strip(), "en_GB": lines[0].strip()} if lines else {}
        texts |= {key.strip(): text.strip() for key, _, text in (line.partition(".utf8=") for line in lines[1:])}
        for language, text in texts.items():
            name = f"{listed.stem}_desc.ogg" if language == "en" else f"{listed.stem}_desc_{language}.ogg"
            if text and (listed.parent / name).is_file():
                yield Recording(listed.parent / name, text, _LANGUAGES.get(language, language), f"stamps {language}")


def _dialogues(sounds: Path, script: Path) -> Iterator[Recording]:
    """Spoken dialogues of one level of Fish Fillets in one language."""
    language = script.stem.removeprefix("dialogs_")
    for name, text in _DIALOGUE.findall(script.read_text("utf-8", errors="replace")):
        path = sounds / script.parent.name / language / f"{name}.ogg"
        if path.is_file() and re.search(r"\w", text):
            yield Recording(path, text.replace('\\"', '"'), _LANGUAGES.get(language, language), f"fillets {language}")


class RecordedSpeech:
    """Reads recordings and finds their phones; use as a context."""

    def __init__(self) -> None:
        self._espeak = Espeak()
        self._aligner = PhoneAligner()

    def __enter__(self) -> RecordedSpeech:
        self._espeak.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._espeak.__exit__(None, None, None)

    def read(self, recording: Recording) -> tuple[np.ndarray, list[TimedPhone]] | None:
        """Samples [N] at 16 kHz and phones; None where sound and words do not fit."""
        try:
            sound = _sound(recording)
        except StudioError:
            return None
        if sound is None or not _SHORTEST <= sound.duration <= _LONGEST:
            return None
        samples = sound.resampled(RATE).samples.mean(1)
        try:
            phones = self._phones(samples, recording)
        except StudioError:
            return None
        said = [item for item in phones if item.name != SILENCE]
        hurried = sum(item.end - item.start < _HURRIED for item in said)
        return (samples, phones) if said and hurried <= _MISFIT * len(said) else None

    def _phones(self, samples: np.ndarray, recording: Recording) -> list[TimedPhone]:
        if recording.language.startswith("en"):
            words = re.findall(r"[a-z']+", recording.text.lower().replace("’", "'"))
            if all(self._aligner.knows(word) for word in words):
                return self._aligner.align(samples, words)
        names = [item.name for item in self._espeak.speak(recording.text, recording.language).phones]
        return self._aligner.align_phones(samples, names)


def _sound(recording: Recording) -> Audio | None:
    if recording.part is None:
        return read_audio(recording.path)
    start, size = recording.part
    with tempfile.NamedTemporaryFile(suffix=".mp3") as copy, recording.path.open("rb") as file:
        file.seek(start)
        copy.write(file.read(size))
        copy.flush()
        return read_audio(Path(copy.name))
