"""The table of action units, emotions and words, read from ``table.yaml`` beside this file or from a user's copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from studio.building import build
from studio.codes import ARKIT52
from studio.errors import StudioError

OWN = Path(__file__).with_name("table.yaml")
Side = Literal["both", "left", "right"]


@dataclass(frozen=True)
class Unit:
    """An action unit: its name, and channels at intensity 1 ("Both" stands for Left and Right)."""

    name: str
    channels: Mapping[str, float]


@dataclass(frozen=True)
class UnitSet:
    """The units of an emotion after one source."""

    source: str
    units: Mapping[int, float]
    side: Side = "both"


@dataclass(frozen=True)
class Emotion:
    """A category: where it lies (valence, arousal) and its units, the first set being used."""

    place: tuple[float, float]
    sets: tuple[UnitSet, ...]


@dataclass(frozen=True)
class Word:
    """What a word of a direction does.

    Args:
        units: action units and their intensities.
        side: of the face.
        gaze: degrees to the subject's left and up; None leaves the gaze alone.
        head: degrees to the left, up, and of roll to the left shoulder.
        beats: the head goes there and back so many times; 0 stays there.
        after: seconds that it lasts where nothing else is said; as long as the direction when None.
        softens: factor for the other actions in the same clause.
    """

    units: Mapping[int, float] = field(default_factory=dict)
    side: Side = "both"
    gaze: tuple[float, float] | None = None
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    beats: int = 0
    after: float | None = None
    softens: float = 1.0


@dataclass(frozen=True)
class Table:
    """Everything by name."""

    units: Mapping[int, Unit]
    emotions: Mapping[str, Emotion]
    words: Mapping[str, Word]
    same: Mapping[str, str]
    amounts: Mapping[str, float]

    def __post_init__(self) -> None:
        for number, unit in self.units.items():
            for name in unit.channels:
                for channel in sided(name, "both"):
                    if channel not in ARKIT52.channels:
                        raise StudioError(f"AU {number} names no channel", got=name, expected="a channel of arkit52")
        used = [word.units for word in self.words.values()]
        used += [found.units for item in self.emotions.values() for found in item.sets]
        unknown = {number for units in used for number in units} - set(self.units)
        if unknown:
            raise StudioError("the table uses action units that it lacks", got=sorted(unknown))
        lost = [name for name in self.same.values() if name not in self.words and name not in self.emotions]
        if lost:
            raise StudioError("the table explains words by words that it lacks", got=", ".join(lost))

    def names(self) -> list[str]:
        """All that an action may be called, but "AU…"."""
        return [*self.emotions, *self.words, *self.same]

    def meaning(self, name: str) -> Word:
        """What a name stands for. Raises StudioError naming the nearest."""
        from studio.nearest import did_you_mean

        name = self.same.get(name, name)
        if name in self.words:
            return self.words[name]
        if name in self.emotions:
            used = self.emotions[name].sets[0]
            return Word(used.units, used.side)
        number = name.upper().removeprefix("AU").strip()
        if name.upper().startswith("AU") and number.isdigit() and int(number) in self.units:
            return Word({int(number): 1.0})
        raise StudioError("unknown action", got=name, expected=did_you_mean(name, self.names()) or "AU1 … AU43")


def sided(name: str, side: Side) -> list[str]:
    """Channels that a name with "Both" stands for on a side of the face; others are in the middle."""
    if not name.endswith("Both"):
        return [name]
    sides = ("Left", "Right") if side == "both" else (side.title(),)
    return [name.removesuffix("Both") + item for item in sides]


@cache
def read_table(path: Path = OWN) -> Table:
    """Read a table. Raises StudioError when it is damaged or contradicts itself."""
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudioError(f"cannot read the table {path}", got=error, expected="YAML as table.yaml") from error
    if not isinstance(data, Mapping):
        raise StudioError(f"{path} is no table", got=type(data).__name__, expected="YAML as table.yaml")
    return build(Table, data, path.name)
