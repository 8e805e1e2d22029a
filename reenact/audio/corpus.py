"""Texts for the synthesisers that the network is trained on: written for this project, put together at random.

Half are sentences of a small grammar whose words cover all phones; half are made-up words, so that every sound meets
every other and no voice is learned by its usual words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

_FORTUNES = Path("/usr/share/games/fortunes")


def _listed(text: str) -> list[str]:
    return text.replace("\n", "").split("|")


_SUBJECTS = _listed(
    """the old fisherman|my younger sister|a patient teacher|their noisy neighbours|the baker's boy|every visitor|
our clever doctor|a huge brown bear|the Spanish queen|nobody I know|one of the judges|the choir|
George and Beth|a zebra|the washing machine|some measure of joy|the weather|your father|that awful voice|
both of the thieves|Peter Pope|an hour of pleasure|Bob's mother|the new prime minister|a few young mammals|
five brave people|this thin cloth"""
)
_VERBS = _listed(
    """bought|watched|will measure|never loved|could push|has thrown|chewed|jumped over|should have kept|put away|
was looking for|believes in|pulled|moved|taught us about|mixed up|wrapped|may remember|laughed at|
would rather choose|breathes on|shook|forgot|cooked|judged|visits|wore|gave me|used to enjoy|described|
swam past|blamed|combed"""
)
_OBJECTS = _listed(
    """a yellow umbrella|the garage door|thirty three pairs of shoes|fresh bread and butter|a treasure of gold|
the blue boat|much too much cheese|their usual vision|the quick brown fox|a bowl of cherries|nothing at all|
poor boys|the fifth wheel|some of these things|the thick book on physics|beige curtains|a cup of hot tea|
the whole population|maple pancakes|the length of the bridge|an orange and a fig|how the engine works|
the mouth of the river|eight toys|paper planes|the bathroom mirror|a huge map of the moon|wolves in the wood|
his first guitar|the zoo"""
)
_PLACES = _listed(
    """in the park|by the North Sea|under the stairs|on the way home|near the church|behind a bush|at the bank|
with both hands|before breakfast|after the show|every Thursday|for the fifth time|without a sound|this year|
from January to June|because of the rain|as far as I can hear|while you were away|with pleasure|in a hurry"""
)
_SHORT = _listed(
    """oh no|well|maybe, maybe not|yes, of course|good morning|how are you|please stop|what do you mean|
thank you very much|who would have thought|I am not sure|come back here|you know|that's all|wait a moment|
bye bye|never mind|so what|I mean it|hmm, probably|ah, I see|move over|both, please|why me"""
)
_ONSETS = [
    "p",
    "b",
    "m",
    "f",
    "v",
    "th",
    "t",
    "d",
    "n",
    "l",
    "s",
    "z",
    "sh",
    "ch",
    "j",
    "k",
    "g",
    "h",
    "r",
    "w",
    "y",
    "pl",
    "br",
    "tr",
    "st",
    "sm",
    "fl",
    "kw",
    "gr",
    "sp",
    "bl",
    "fr",
    "sk",
    "shr",
    "thr",
    "tw",
    "dr",
    "sn",
]
_NUCLEI = ["a", "e", "i", "o", "u", "ee", "oo", "ay", "ow", "oy", "ar", "or", "er", "igh", "oa", "aw"]
_CODAS = [
    "",
    "",
    "",
    *[
        "p",
        "b",
        "m",
        "f",
        "v",
        "th",
        "t",
        "d",
        "n",
        "l",
        "s",
        "z",
        "sh",
        "ch",
        "ng",
        "k",
        "g",
        "x",
        "mp",
        "nd",
        "st",
        "lt",
        "ps",
        "ms",
        "bz",
        "ft",
    ],
]
_OPEN = [
    "pa",
    "be",
    "mi",
    "vo",
    "fu",
    "ta",
    "de",
    "ni",
    "lo",
    "su",
    "ka",
    "ge",
    "ri",
    "mo",
    "bu",
    "pi",
    "ba",
    "mu",
    "fe",
    "va",
    "to",
    "da",
    "ne",
    "li",
    "so",
    "ki",
    "go",
    "ra",
    "me",
    "po",
    "bi",
    "ma",
    "vu",
    "fi",
    "te",
]

_INITIALS = [
    "b",
    "p",
    "m",
    "f",
    "d",
    "t",
    "n",
    "l",
    "g",
    "k",
    "h",
    "j",
    "q",
    "x",
    "zh",
    "ch",
    "sh",
    "r",
    "z",
    "c",
    "s",
    "y",
    "w",
]
_FINALS = {  # after these initials; all others take the first list
    "": ["a", "ai", "an", "ang", "ao", "e", "en", "eng", "ou", "u", "uan", "ui", "un", "uo"],
    "j q x y": ["i", "ian", "iang", "iao", "ie", "in", "ing", "iong", "iu", "u", "uan", "ue", "un"],
    "b p m": ["a", "ai", "an", "ang", "ao", "ei", "en", "eng", "i", "ian", "iao", "ie", "in", "ing", "o", "u"],
    "f w": ["a", "an", "ang", "ei", "en", "eng", "o", "u"],
    "n l": [
        "a",
        "ai",
        "an",
        "ang",
        "ao",
        "ei",
        "eng",
        "i",
        "ian",
        "iang",
        "iao",
        "ie",
        "in",
        "ing",
        "iu",
        "ong",
        "ou",
        "u",
        "uan",
        "uo",
    ],
}


def sentence(rng: np.random.Generator) -> str:
    """One thing to say in English."""
    kind = rng.random()
    if kind < 0.15:
        return f"{rng.choice(_SHORT)}."
    if kind < 0.45:
        return " ".join(_word(rng) for _ in range(rng.integers(3, 9))) + "."
    parts = [rng.choice(_SUBJECTS), rng.choice(_VERBS), rng.choice(_OBJECTS)]
    parts += [rng.choice(_PLACES)] if rng.random() < 0.6 else []
    if rng.random() < 0.25:
        parts += [", and", rng.choice(_SUBJECTS), rng.choice(_VERBS), rng.choice(_OBJECTS)]
    return " ".join(parts).replace(" ,", ",") + rng.choice([".", ".", "?", "!"])


def prose(rng: np.random.Generator) -> str:
    """Something that people have said: of Debian's ``fortunes`` where they are installed, else ``sentence``."""
    found = _prose()
    return str(rng.choice(found)) if len(found) else sentence(rng)


@lru_cache
def _prose() -> np.ndarray:
    """Sentences [N] of 4 to 25 words in plain letters."""
    found: list[str] = []
    for path in sorted(path for path in _FORTUNES.glob("*") if not path.suffix):
        text = re.sub(r"\s+", " ", re.sub(r"\n%\n|\n\s*--[^\n]*", ". ", path.read_text("utf-8", errors="replace")))
        found += [item.strip() for item in re.split(r"(?<=[.!?])\s", text)]
    plain = re.compile(r"[A-Z][a-z]*(?: [a-z']+,?){3,24}[.!?]")
    return np.array([item for item in found if plain.fullmatch(item)])


def syllables(rng: np.random.Generator) -> str:
    """Made-up words of open syllables, which can be spoken in any language of Latin letters."""
    words = ("".join(rng.choice(_OPEN) for _ in range(rng.integers(2, 5))) for _ in range(rng.integers(4, 9)))
    return " ".join(words) + "."


def pinyin(rng: np.random.Generator) -> str:
    """Syllables of Mandarin at random, in pinyin with tones."""
    said = []
    for _ in range(rng.integers(6, 18)):
        initial = str(rng.choice(_INITIALS))
        finals = next((item for key, item in _FINALS.items() if initial in key.split()), _FINALS[""])
        said.append(f"{initial}{rng.choice(finals)}{rng.integers(1, 5)}")
        said += [","] if rng.random() < 0.08 else []
    return " ".join(said).replace(" ,", ",") + "."


def _word(rng: np.random.Generator) -> str:
    parts = (rng.choice(part) for _ in range(rng.integers(1, 3)) for part in (_ONSETS, _NUCLEI, _CODAS))
    return "".join(parts)
