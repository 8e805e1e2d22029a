"""Spoken lines and their words out of Debian's package of the game *Flight of the Amazon Queen* (1995).

One file holds all: ``QTBL``, a version, the number of parts, and for each its name, place and size; words are in the
parts ``*.DOG``, each sentence with a number, sounds in the parts ``*.SB`` (MP3), named by talk, sentence, who speaks
and which of its pieces it is. Integers are big-endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_COUNT_AT, _FIRST_AT, _ENTRY = 13, 15, 21
_KEY_AT, _OTHERS_AT, _TEXTS_AT = 22, 42, 48  # in a talk: its number, where the other person's sentences begin, texts
_SIGN = re.compile(r"(?:\*[0-9A-Za-z]{2})+")  # what a face does between two pieces of a sentence
_LAST = 0x600  # highest number of a sentence


@dataclass(frozen=True)
class Line:
    """One spoken piece: place and size of its sound in the file, and its words."""

    name: str
    start: int
    size: int
    text: str


def find_lines(path: Path) -> list[Line]:
    """The spoken pieces of the talks in the game's file; empty where it is of another kind."""
    data = path.read_bytes()
    if data[:4] != b"QTBL":
        return []
    parts = _parts(data)
    found = []
    for name, (start, size) in sorted(parts.items()):
        if name.endswith(".DOG"):
            for sound, text in _said(data[start : start + size]):
                if sound in parts:
                    found.append(Line(sound, *parts[sound], text))
    return list({line.name: line for line in found}.values())


def _parts(data: bytes) -> Mapping[str, tuple[int, int]]:
    (count,) = struct.unpack_from(">H", data, _COUNT_AT)
    entries = (data[at : at + _ENTRY] for at in range(_FIRST_AT, _FIRST_AT + count * _ENTRY, _ENTRY))
    return {
        entry[:12].split(b"\0")[0].decode("ascii", "replace"): struct.unpack_from(">II", entry, 13) for entry in entries
    }


def _said(talk: bytes) -> Iterator[tuple[str, str]]:
    """Names of sounds and their words in one talk: a number of two bytes, a length, and the text."""
    if len(talk) < _TEXTS_AT:
        return
    (key,), (others,) = struct.unpack_from(">H", talk, _KEY_AT), struct.unpack_from(">H", talk, _OTHERS_AT)
    place = _TEXTS_AT
    while place + 3 < len(talk):
        number, length = struct.unpack_from(">HB", talk, place)
        text = talk[place + 3 : place + 3 + length]
        if not (0 < number < _LAST and len(text) == length >= 3 and re.fullmatch(rb"[\r\n -~]+", text)):
            place += 1
            continue
        pieces = [piece.strip() for piece in _SIGN.split(text.decode("ascii")) if piece.strip()]
        for index, piece in enumerate(pieces, 1):
            yield f"{key:02d}{number:04X}{'J' if place < others else 'P'}{index:X}.SB", piece
        place += 3 + length
