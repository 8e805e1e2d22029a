"""Praat's TextGrid: timed phones from its long and its short text form."""

from __future__ import annotations

import re
from pathlib import Path

from capture.synthetic.phones import TimedPhone
from reenact.audio.phones import SILENCE, filled, from_arpabet, from_ipa, spread
from studio.errors import StudioError

# A text in quotes, or a number that stands alone: in the long form all else are names ("xmin =", "intervals [3]:").
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![\w\[.])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w\].])')
_PHONE_TIERS = ("phones", "phone", "phonemes", "segments", "mau")
_NO_SOUND = frozenset({"", "<p:>", "<usb>", "<nib>", "pau", "sil", "sp", "spn", "..."})


def read_textgrid(path: Path) -> list[TimedPhone]:
    """The phones of a TextGrid, silences named.

    The tier called phones (or phonemes, segments, MAU), in ARPAbet or IPA; where none is called so, the first whose
    labels are phones.

    Raises:
        StudioError: no such file, not a TextGrid, or no tier of known phones.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        tiers = _tiers(text)
    except FileNotFoundError:
        raise StudioError(f"no such TextGrid: {path}", expected="a TextGrid file", next="check the path") from None
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise StudioError(f"cannot read {path} as a TextGrid", got=error, next="save it from Praat as text") from error
    named = [name for name in tiers if name.lower() in _PHONE_TIERS]
    named = named or [name for name, rows in tiers.items() if _looks_like_phones(rows)]
    intervals = tiers[named[0]] if named else []
    phones: list[TimedPhone] = []
    for start, end, label in intervals:
        phones += spread(_names(label), start, end)
    if all(item.name == SILENCE for item in phones):
        raise StudioError(
            f"{path} holds no phones", got=f"tiers {', '.join(tiers) or 'none'}", expected="a tier of ARPAbet or IPA"
        )
    return filled(phones, intervals[-1][1])


def _looks_like_phones(rows: list[tuple[float, float, str]]) -> bool:
    labels = [label for _, _, label in rows if label.strip().lower() not in _NO_SOUND]
    return sum(len(_names(label)) == 1 for label in labels) > 0.9 * len(labels) > 0


def _names(label: str) -> tuple[str, ...]:
    label = label.strip()
    if label.lower() in _NO_SOUND:
        return (SILENCE,)
    name = from_arpabet(label) if label.isascii() else None
    return (name,) if name else from_ipa(label)


def _tiers(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """Interval tiers by name: start, end and label of each interval."""
    tokens: list[str | float] = [
        match[1].replace('""', '"') if match[1] is not None else float(match[2]) for match in _TOKEN.finditer(text)
    ]
    if "TextGrid" not in tokens[:2]:
        raise ValueError("no TextGrid header")
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    place = tokens.index("TextGrid") + 4  # start, end, number of tiers
    while place < len(tokens):
        kind, name, _, _, size = tokens[place : place + 5]
        place += 5
        width = 3 if kind == "IntervalTier" else 2
        rows = [tokens[k : k + width] for k in range(place, place + width * int(size), width)]
        if kind == "IntervalTier":
            tiers[str(name)] = [(float(start), float(end), str(label)) for start, end, label in rows]
        place += width * int(size)
    return tiers
