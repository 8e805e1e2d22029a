"""Directions in plain words, such as "tired smile, brows up, then glance left for 1 s", as actions over time.

Clauses are separated by commas, semicolons and "and"; "then" begins the next stretch of time. A clause may say how much
("slightly"), on which side ("left wink"), when ("at 2 s") and for how long ("for 1.5 s"). A user's language model may
write the same structure as JSON instead: {"actions": [{"name": "smile", "intensity": 0.6, "start": 0, "end": 2}]}.
Nothing is executed; what it writes is checked like a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reenact.emotion.table import Side, Table, read_table
from studio.building import build
from studio.errors import StudioError
from studio.nearest import did_you_mean

_LONGEST = 10_000  # characters of a direction
_MOST = 1000  # actions
_FORM = '{"actions": [{"name": "smile", "start": 0, "end": 2}]}'
_AT = re.compile(r"\b(?:at|after|from)\s+(\d+(?:\.\d+)?)\s*(?:s|sec|seconds?)?\b")
_FOR = re.compile(r"\bfor\s+(\d+(?:\.\d+)?)\s*(?:s|sec|seconds?)?\b")
_PERCENT = re.compile(r"\b(\d+(?:\.\d+)?)\s*%")
_FILLERS = {"a", "an", "the", "with", "of", "and", "is", "his", "her", "their", "to", "in", "on", "eyebrow", "one"}


@dataclass(frozen=True)
class Action:
    """Something that a face does for a while.

    Args:
        name: an emotion, a word of the table, or an action unit such as "AU12".
        intensity: 0 to 2, 1 as in the table.
        start: seconds.
        end: seconds.
        side: of the face; the table's own for "both".
        rise: seconds that it takes to come.
        fall: seconds that it takes to go, after ``end``.
    """

    name: str
    intensity: float = 1.0
    start: float = 0.0
    end: float = 1.0
    side: Side = "both"
    rise: float = 0.35
    fall: float = 0.45

    def __post_init__(self) -> None:
        if not 0 <= self.intensity <= 2 or not self.start <= self.end or min(self.rise, self.fall) < 0:
            raise StudioError(
                f"impossible action {self.name}",
                got=f"intensity {self.intensity}, {self.start} to {self.end} s",
                expected="intensity 0 to 2, an end after the start",
            )


def read_direction(text: str, seconds: float, table: Table | None = None) -> tuple[Action, ...]:
    """The actions of a direction that lasts some seconds.

    Raises:
        StudioError: a clause in which nothing is known, naming the nearest that is.
    """
    table = table or read_table()
    if len(text) > _LONGEST:
        raise StudioError("a direction is too long", got=f"{len(text)} characters", expected=f"at most {_LONGEST}")
    stretches = [part for part in re.split(r"\bthen\b", text.lower()) if part.strip(" ,;.")]
    length = seconds / max(len(stretches), 1)
    actions: list[Action] = []
    for index, stretch in enumerate(stretches):
        begin, end = index * length, (index + 1) * length
        # "and" parts clauses, but where it is part of one that is known
        clauses = [clause.strip(" .!") for clause in re.split(r"[,;]|\band\b", stretch)]
        for clause in filter(None, clauses):
            actions += _clause(clause, begin, end, table)
    return tuple(actions)


def read_actions(data: object) -> tuple[Action, ...]:
    """Actions from plain values, a JSON text or a JSON file: what a user's language model may write.

    Raises:
        StudioError: another structure, unknown names, impossible numbers.
    """
    if isinstance(data, Path):
        if not data.is_file():
            raise StudioError(f"no such file: {data}", expected="a JSON file of actions", next="check the path")
        data = data.read_text(encoding="utf-8")
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise StudioError("actions are no JSON", got=error, expected=_FORM) from error
    items: Any = data.get("actions") if isinstance(data, Mapping) else data
    if not isinstance(items, list) or len(items) > _MOST or not all(isinstance(item, Mapping) for item in items):
        raise StudioError("actions have the wrong form", expected=_FORM)
    actions = tuple(build(Action, item, f"action {index + 1}") for index, item in enumerate(items))
    for action in actions:
        read_table().meaning(action.name)
    return actions


def directed(text: str, seconds: float, writer: Callable[[str, float], object] | None = None) -> tuple[Action, ...]:
    """The actions of a direction, by a user's writer (a language model) where there is one, else by the table.

    Args:
        text: plain words.
        seconds: that it lasts.
        writer: takes both and gives actions as ``read_actions`` wants them; what it gives is checked, never executed.
    """
    return read_direction(text, seconds) if writer is None else read_actions(writer(text, seconds))


def _clause(clause: str, begin: float, end: float, table: Table) -> list[Action]:
    """The actions of one clause within its stretch of time."""
    at, lasts, percent = _AT.search(clause), _FOR.search(clause), _PERCENT.search(clause)
    rest = _PERCENT.sub(" ", _FOR.sub(" ", _AT.sub(" ", clause)))
    words = re.findall(r"[a-z]+\d*", rest)
    found, left = _known(words, table)
    if not found:
        raise StudioError(
            f"nothing in this direction is known: {clause}",
            expected=did_you_mean(" ".join(words), table.names()) or "what reenact/emotion/table.yaml names",
        )
    amount = float(percent[1]) / 100 if percent else 1.0
    for word in left:
        amount *= table.amounts.get(word, 1.0)
    side: Side = "left" if "left" in left else "right" if "right" in left else "both"
    start = min(begin + float(at[1]), end) if at else begin
    softest = min(table.meaning(name).softens for name in found)
    actions = []
    for name in found:
        meaning = table.meaning(name)
        length = float(lasts[1]) if lasts else meaning.after
        stop = end if length is None else min(start + length, end)
        share = amount * (softest if meaning.softens == 1.0 else 1.0)
        # What lasts for a moment comes and goes quickly.
        quick = 0.08 if stop - start < 0.5 else 0.15 if meaning.gaze is not None else 0.35
        actions.append(Action(name, min(share, 2.0), start, stop, side, min(quick, 0.35), min(quick * 1.3, 0.45)))
    return actions


def _known(words: list[str], table: Table) -> tuple[list[str], list[str]]:
    """Names of the table among the words, longest first, and the words that are left."""
    names = sorted(table.names(), key=lambda name: -len(name.split()))
    left, found = list(words), []
    for name in names:
        parts = name.split()
        for start in range(len(left) - len(parts) + 1):
            if left[start : start + len(parts)] == parts:
                found.append((start, table.same.get(name, name)))
                left[start : start + len(parts)] = [""] * len(parts)
    for index, word in enumerate(left):
        if re.fullmatch(r"au\d+", word):
            found.append((index, word.upper()))
            left[index] = ""
    return [name for _, name in sorted(found)], [word for word in left if word and word not in _FILLERS]
