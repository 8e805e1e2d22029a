"""The composed settings of one job, as a verb sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from studio.building import build, convert

Built = TypeVar("Built")


@dataclass(frozen=True)
class Config:
    """Settings by name, as plain values; groups are nested mappings.

    Args:
        values: the settings.
        name: dotted name of the group that they are, empty for those of a verb.
    """

    values: Mapping[str, Any]
    name: str = ""

    def get(self, name: str, hint: Any) -> Any:
        """A setting of a type, such as ``int | None``. Raises StudioError when the value is of another."""
        return convert(self.values[name], hint, f"{self.name}.{name}".strip("."))

    def path(self, name: str) -> Path:
        """A path; ``~`` is the user's home."""
        path: Path = self.get(name, Path)
        return path.expanduser()

    def optional_path(self, name: str) -> Path | None:
        """A path, or None where the setting is null."""
        return None if self.values[name] is None else self.path(name)

    def text(self, name: str) -> str:
        return str(self.get(name, str))

    def flag(self, name: str) -> bool:
        return bool(self.get(name, bool))

    def build(self, cls: type[Built], group: str, **more: Any) -> Built:
        """The dataclass of a group of settings; ``more`` are fields that do not come from the group."""
        return self.group(group).to(cls, **more)

    def to(self, cls: type[Built], **more: Any) -> Built:
        """These settings as a dataclass; ``kind``, which chose the dataclass, is not one of its fields."""
        own = {name: value for name, value in self.values.items() if name != "kind"}
        return build(cls, {**own, **more}, self.name)

    def group(self, name: str) -> Config:
        """A group of settings as settings of their own."""
        return Config(self.values[name], f"{self.name}.{name}".strip("."))
