"""Phone sets: ARPAbet is what the rest of this package speaks; other sets are mapped to the nearest sound.

For the face a sound is its mouth shape, so a foreign phone becomes the ARPAbet phone that looks most like it: French
/y/ is UW (rounded), Spanish /ɾ/ is D (tongue behind the teeth).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from capture.synthetic.phones import PHONES, TimedPhone

SILENCE = "SIL"
NAMES: tuple[str, ...] = (SILENCE, *(name for name in PHONES if name != SILENCE))  # the classes of the network

# Thirteen groups of phones that look alike, and silence; after the Oculus set, whose nn looks like its DD.
_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        **{"sil": "SIL", "PP": "P B M", "FF": "F V", "TH": "TH DH", "DD": "T D N L", "SS": "S Z", "CH": "SH ZH CH JH"},
        **{"kk": "K G NG HH", "RR": "R ER", "aa": "AA AE AH AY AW", "E": "EH EY", "I": "IH IY Y"},
        **{"O": "AO OW OY", "U": "UH UW W"},
    }
)
VISEMES: tuple[str, ...] = tuple(_GROUPS)
VISEME_OF: Mapping[str, str] = MappingProxyType(
    {name: viseme for viseme, names in _GROUPS.items() for name in names.split()}
)
BILABIALS = frozenset({"P", "B", "M"})

_IPA: Mapping[str, str] = MappingProxyType(
    {
        # Longer symbols are found first.
        **{"tʃ": "CH", "dʒ": "JH", "tɕ": "CH", "dʑ": "JH", "tʂ": "CH", "dʐ": "JH", "ts": "S", "dz": "Z", "pf": "F"},
        **{"aɪ": "AY", "aʊ": "AW", "ɔɪ": "OY", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ai": "AY", "au": "AW", "ɔø": "OY"},
        **{"ɔʏ": "OY", "ɑɪ": "AY", "ɑʊ": "AW", "ei": "EY", "ou": "OW", "oi": "OY", "aj": "AY", "aw": "AW"},
        **{"p": "P", "b": "B", "m": "M", "ɱ": "F", "ɸ": "F", "β": "V", "f": "F", "v": "V", "ʋ": "V", "θ": "TH"},
        **{"ð": "DH", "t": "T", "d": "D", "n": "N", "l": "L", "ɫ": "L", "ɬ": "L", "ɭ": "L", "ʎ": "L", "ɾ": "D"},
        **{"r": "D", "ʈ": "T", "ɖ": "D", "ɳ": "N", "ɽ": "D", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "ɕ": "SH"},
        **{"ʑ": "ZH", "ʂ": "SH", "ʐ": "ZH", "k": "K", "g": "G", "ɡ": "G", "ŋ": "NG", "x": "HH", "ɣ": "G", "q": "K"},
        **{"χ": "HH", "ʁ": "G", "ʀ": "G", "h": "HH", "ɦ": "HH", "ħ": "HH", "ç": "HH", "c": "K", "ɟ": "G", "ɲ": "N"},
        **{"ɹ": "R", "ɻ": "R", "j": "Y", "ʝ": "Y", "w": "W", "ʍ": "W", "ɥ": "W"},
        **{"i": "IY", "ɪ": "IH", "ɨ": "IH", "ᵻ": "IH", "y": "UW", "ʏ": "UH", "u": "UW", "ʉ": "UW", "ɯ": "IH"},
        **{"ʊ": "UH", "e": "EY", "ø": "UH", "ɘ": "AH", "ɵ": "UH", "ɤ": "AH", "o": "OW", "ə": "AH", "ɛ": "EH"},
        **{"œ": "UH", "ɜ": "ER", "ɚ": "ER", "ɝ": "ER", "ʌ": "AH", "ɔ": "AO", "æ": "AE", "ɐ": "AH", "a": "AA"},
        **{"ɶ": "AA", "ɑ": "AA", "ɒ": "AO"},
    }
)
# Names of CMU's festival and flite voices that ARPAbet writes otherwise, and signs for silence.
_RADIO: Mapping[str, str] = MappingProxyType(
    {
        **{"AX": "AH", "AXR": "ER", "IX": "IH", "EL": "L", "EM": "M", "EN": "N", "NX": "N", "DX": "D", "HV": "HH"},
        **dict.fromkeys(("", "PAU", "H#", "#", "SP", "SPN", "NSN", "BRTH", "SIL", "_", "<EPS>", "+NSN+"), SILENCE),
    }
)


def from_arpabet(label: str) -> str | None:
    """The phone of an ARPAbet or CMU "radio" label in either case, with or without stress; None for no known sound."""
    name = label.strip().upper().rstrip("0123456789")
    name = _RADIO.get(name, name)
    return name if name in PHONES else None


def from_ipa(symbols: str) -> tuple[str, ...]:
    """The phones of a piece of IPA; marks of stress, tone and length are passed over. Empty for none."""
    text = "".join(c for c in unicodedata.normalize("NFD", symbols) if not unicodedata.combining(c) or c == "̧")
    text = unicodedata.normalize("NFC", text)
    found, place = [], 0
    while place < len(text):
        size = next((n for n in (2, 1) if text[place : place + n] in _IPA), 0)
        if size:
            found.append(_IPA[text[place : place + size]])
        place += max(size, 1)
    return tuple(found)


def spread(names: Sequence[str], start: float, end: float) -> list[TimedPhone]:
    """Phones that share one stretch of time, in equal parts."""
    step = (end - start) / max(len(names), 1)
    return [TimedPhone(name, start + k * step, start + (k + 1) * step) for k, name in enumerate(names)]


def filled(phones: Sequence[TimedPhone], seconds: float) -> list[TimedPhone]:
    """The phones with silence wherever none is, from 0 to ``seconds``; silences joined, overlaps end the earlier."""
    result: list[TimedPhone] = []
    for item in sorted(phones, key=lambda phone: phone.start):
        start, end = max(item.start, 0.0), min(item.end, seconds)
        if end <= start:
            continue
        before = result[-1].end if result else 0.0
        if start > before:
            result.append(TimedPhone(SILENCE, before, start))
        elif start < before and result:
            result[-1] = TimedPhone(result[-1].name, result[-1].start, start)
        result.append(TimedPhone(item.name, start, end))
    last = result[-1].end if result else 0.0
    if last < seconds:
        result.append(TimedPhone(SILENCE, last, seconds))
    joined: list[TimedPhone] = []
    for item in result:
        if item.end <= item.start:
            continue
        if joined and item.name == SILENCE == joined[-1].name:
            joined[-1] = TimedPhone(SILENCE, joined[-1].start, item.end)
        else:
            joined.append(item)
    return joined
