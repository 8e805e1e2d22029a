"""YAML without tags, aliases and repeated keys: nothing is made but text, numbers, lists and mappings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from studio.errors import StudioError

_MOST_BYTES = 1_000_000


def read_plain_yaml(path: Path, what: str) -> Any:
    """The content of a file; ``what`` it should be ("project", "job") is for the messages.

    Raises:
        StudioError: no such file, too large, not YAML, tags, aliases or repeated keys.
    """
    if not path.is_file():
        raise StudioError(f"no such {what}: {path}", expected="a YAML file", next="check the path")
    if path.stat().st_size > _MOST_BYTES:
        raise StudioError(f"{path} is too large for a {what}", got=f"{path.stat().st_size} bytes")
    try:
        return parse_plain_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise StudioError(f"cannot read the {what} {path}", got=f"{problem}{where}", expected="plain YAML") from error


def parse_plain_yaml(text: str) -> Any:
    """As PyYAML's safe loader, and stricter. Raises yaml.YAMLError, ValueError or RecursionError."""
    return yaml.load(text, _PlainLoader)


class _PlainLoader(yaml.SafeLoader):
    """Refuses what is not plain."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not used here", mark)
        if getattr(event, "tag", None) not in (None, "!"):
            raise yaml.composer.ComposerError(None, None, f"a tag: {event.tag}", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)
