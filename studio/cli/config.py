"""The composed settings of one job, as a verb sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from studio.cli.build import build, convert

Built = TypeVar("Built")


@dataclass(frozen=True)
class Config:
    """Settings by name, as plain values; groups are nested mappings."""

    verb: str
    values: Mapping[str, Any]

    def get(self, name: str, hint: type[Built]) -> Built:
        """A setting of a type. Raises StudioError when the value is of another."""
        return convert(self.values[name], hint, name)

    def path(self, name: str) -> Path:
        """A path; ``~`` is the user's home."""
        return self.get(name, Path).expanduser()

    def optional_path(self, name: str) -> Path | None:
        """A path, or None where the setting is null."""
        return None if self.values[name] is None else self.path(name)

    def text(self, name: str) -> str:
        return self.get(name, str)

    def flag(self, name: str) -> bool:
        return self.get(name, bool)

    def build(self, cls: type[Built], group: str, **more: Any) -> Built:
        """The dataclass of a group of settings; ``more`` are fields that do not come from the group."""
        return build(cls, {**self.values[group], **more}, group)
