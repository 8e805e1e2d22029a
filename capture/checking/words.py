"""Lists and ranges as people write them."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 8


def listed(names: Sequence[str]) -> str:
    """At most eight names, then how many more."""
    shown = ", ".join(names[:_MOST])
    return f"{shown} and {len(names) - _MOST} more" if len(names) > _MOST else shown


def ranges(numbers: Sequence[int]) -> str:
    """3, 7–9, 12."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return listed([str(a) if a == b else f"{a}–{b}" for a, b in parts])
