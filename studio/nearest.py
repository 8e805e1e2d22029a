"""The valid name that a mistyped one most probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, valid: Iterable[str]) -> str | None:
    """The nearest of the valid names, or None when nothing is near. Dotted names also match by their last part."""
    import difflib

    names = list(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return near[0]
    last_parts = {candidate.rpartition(".")[2]: candidate for candidate in names}
    near = difflib.get_close_matches(name.rpartition(".")[2], last_parts, n=1, cutoff=0.75)
    return last_parts[near[0]] if near else None
