"""A transcript laid over its recording: when each phone is said.

English by pocketsphinx, where it is installed (extra ``speech``); any language by the project's own network, which is
asked for the phones that espeak-ng reads in the text, in their order (Viterbi).
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from capture.synthetic.phones import TimedPhone
from reenact.audio.espeak import Espeak, find_espeak
from reenact.audio.features import RATE
from reenact.audio.listen import hear_all
from reenact.audio.network import OUTPUTS_PER_SECOND, SpeechNetwork
from reenact.audio.phones import NAMES, SILENCE, filled, from_arpabet
from studio.errors import StudioError

ALIGNERS = ("auto", "pocketsphinx", "network")
_SYLLABLE = 4  # phones between which no pause is looked for
_LONGEST = 600.0  # seconds that are aligned in one piece: memory grows with the square


def align(
    samples: np.ndarray,  # [N] at 16 kHz
    transcript: str,
    language: str = "en-us",
    aligner: str = "auto",
    network: SpeechNetwork | None = None,
) -> tuple[list[TimedPhone], str]:
    """Timed phones of a recording whose words are known, and the name of the aligner.

    Raises:
        StudioError: nothing to align with, no words, too long, or the words do not fit the recording.
    """
    if aligner not in ALIGNERS:
        raise StudioError("unknown aligner", got=aligner, expected=" | ".join(ALIGNERS))
    if not re.search(r"\w", transcript):
        raise StudioError("the transcript holds no words", got=repr(transcript[:40]), expected="what is said")
    seconds = len(samples) / RATE
    if seconds > _LONGEST:
        raise StudioError(
            "the recording is too long to be aligned in one piece",
            got=f"{seconds:.0f} s",
            expected=f"at most {_LONGEST:.0f} s",
            next="cut it, give a TextGrid, or leave the transcript out",
        )
    english = language.lower().startswith("en")
    if aligner == "pocketsphinx" or (aligner == "auto" and english and has_pocketsphinx()):
        if not english:
            raise StudioError("pocketsphinx aligns English only", got=language, next="choose aligner=network")
        return by_pocketsphinx(samples, transcript), "pocketsphinx"
    names = said_phones(transcript, language)
    return by_network(samples, names, network), "network"


def has_pocketsphinx() -> bool:
    """Whether the optional package is installed."""
    return importlib.util.find_spec("pocketsphinx") is not None


def said_phones(transcript: str, language: str) -> list[str]:
    """The phones that espeak-ng reads in a text; SIL where it makes a pause."""
    with Espeak() as espeak:
        phones = espeak.speak(transcript, language).phones
    return [item.name for item in phones]


def by_pocketsphinx(samples: np.ndarray, transcript: str) -> list[TimedPhone]:
    """Alignment of English by pocketsphinx and its dictionary; espeak-ng, where installed, reads words it lacks.

    Raises:
        StudioError: pocketsphinx is not installed, a word is in no dictionary, or the words do not fit the recording.
    """
    aligner = PhoneAligner()
    words = re.findall(r"[a-z']+", transcript.lower().replace("’", "'"))
    words = [word.strip("'") or word for word in words]
    missing = sorted({word for word in words if not aligner.knows(word)})
    if missing and find_espeak() is None:
        raise StudioError(
            "the dictionary lacks words of the transcript",
            got=", ".join(missing[:8]),
            next="spell them differently, or install espeak-ng, which reads any word",
        )
    for word in missing:
        aligner.learn(word, [name for name in said_phones(word, "en-us") if name != SILENCE])
    return aligner.align(samples, words)


class PhoneAligner:
    """Pocketsphinx with its English models, laid ready for many recordings.

    Raises:
        StudioError: it is not installed.
    """

    def __init__(self) -> None:
        if not has_pocketsphinx():
            raise StudioError(
                "pocketsphinx is not installed", next="pip install pocketsphinx, or choose aligner=network"
            )
        from pocketsphinx import Decoder, get_model_path

        self._decoder: Any = Decoder(
            hmm=get_model_path("en-us/en-us"),
            dict=get_model_path("en-us/cmudict-en-us.dict"),
            lm=None,
            loglevel="FATAL",
        )

    def knows(self, word: str) -> bool:
        """Whether the dictionary has a word in small letters."""
        return self._decoder.lookup_word(word) is not None

    def learn(self, word: str, names: Sequence[str]) -> None:
        """Add a word that is said with these phones."""
        self._decoder.add_word(word, " ".join(names), True)

    def align_phones(
        self,
        samples: np.ndarray,  # [N] at 16 kHz
        names: Sequence[str],  # phones in their order, SIL between phrases
    ) -> list[TimedPhone]:
        """When phones are said, of any language as far as English sounds are near; pauses may come in between."""
        words = []
        for phrase in " ".join(names).split(SILENCE):
            said = phrase.split()
            for part in (said[k : k + _SYLLABLE] for k in range(0, len(said), _SYLLABLE)):
                words.append("=" + "_".join(part))
                if not self.knows(words[-1]):
                    self.learn(words[-1], part)
        return self.align(samples, words)

    def align(
        self,
        samples: np.ndarray,  # [N] at 16 kHz
        words: Sequence[str],
    ) -> list[TimedPhone]:
        """When the phones of words are said. Raises StudioError when they do not fit the recording."""
        pcm = (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
        try:
            self._decoder.set_align_text(" ".join(words))
            _decode(self._decoder, pcm)
            self._decoder.set_alignment()
            _decode(self._decoder, pcm)
            alignment = self._decoder.get_alignment()
            found, said = list(alignment.phones()), sum(not item.name.startswith("<") for item in alignment.words())
        except (RuntimeError, TypeError, AttributeError) as error:
            raise _misfit(error) from error
        frame = 1.0 / self._decoder.config["frate"]
        phones = [
            TimedPhone(from_arpabet(item.name) or SILENCE, item.start * frame, (item.start + item.duration) * frame)
            for item in found
        ]
        if said < len(words):  # it stopped before the last word
            raise _misfit(f"{said} of {len(words)} words")
        return filled(phones, len(samples) / RATE)


def _decode(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _misfit(why: object) -> StudioError:
    return StudioError(
        "the transcript does not fit the recording",
        got=why,
        expected="the words that are said, all of them, in their order",
        next="correct it, or leave it out",
    )


def by_network(
    samples: np.ndarray,  # [N] at 16 kHz
    names: Sequence[str],  # phones in their order
    network: SpeechNetwork | None = None,
) -> list[TimedPhone]:
    """The most probable times of phones in a recording, as the network hears it; pauses may come between any."""
    heard = hear_all(samples, network)
    states, optional = _with_pauses(names)
    if sum(not item for item in optional) > len(heard.phones):
        raise _misfit(f"{len(names)} phones in {len(samples) / RATE:.1f} s")
    scores = np.log(heard.phones + 1e-4)[:, [NAMES.index(name) for name in states]]
    path = _best_path(scores, np.array(optional))
    edges = np.concatenate(([0], np.flatnonzero(np.diff(path)) + 1, [len(path)]))
    phones = [TimedPhone(states[path[a]], a / OUTPUTS_PER_SECOND, b / OUTPUTS_PER_SECOND) for a, b in pairwise(edges)]
    return filled(phones, len(samples) / RATE)


def _with_pauses(names: Sequence[str]) -> tuple[list[str], list[bool]]:
    """The states of the search: the phones, and between them pauses that may be left out."""
    states, optional = [SILENCE], [True]
    for name in names:
        if name != SILENCE:
            states += [name, SILENCE]
            optional += [False, True]
    return states, optional


def _best_path(
    scores: np.ndarray,  # [T, S] log probability of each state at each moment
    optional: np.ndarray,  # [S] states that may be passed over
) -> np.ndarray:
    """The state [T] at each moment: in order, none but the optional left out, with the highest sum."""
    count, size = scores.shape
    step = np.zeros((count, size), dtype=np.int8)  # by how many states each was entered
    best = np.full(size, -np.inf)
    best[0] = scores[0, 0]
    best[1:2] = scores[0, 1:2]
    skippable = np.concatenate(([False, False], optional[1:-1]))
    for t in range(1, count):
        one = np.concatenate(([-np.inf], best[:-1]))
        two = np.where(skippable, np.concatenate(([-np.inf, -np.inf], best[:-2])), -np.inf)
        choices = np.stack((best, one, two))
        step[t] = choices.argmax(0)
        best = choices.max(0) + scores[t]
    state = size - 1 if best[-1] >= best[-2] else size - 2
    path = np.empty(count, dtype=int)
    for t in range(count - 1, -1, -1):
        path[t] = state
        state -= int(step[t, state])
    return path
