"""Checks of a capture before it is used: one module each with a ``CHECK``, found by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from capture.checking.evidence import Evidence
from capture.checking.finding import Verdict


@dataclass(frozen=True)
class Check:
    """One question about a capture.

    Args:
        order: place in the report.
        title: a few words.
        question: what it answers, in one sentence for the report.
        ask: the evidence -> findings and figures; never raises for a bad capture.
    """

    order: int
    title: str
    question: str
    ask: Callable[[Evidence], Verdict]


def checks() -> Mapping[str, Check]:
    """All checks by the name of their module, in the order of the report."""
    names = [item.name for item in pkgutil.iter_modules(__path__)]
    found: dict[str, Check] = {name: importlib.import_module(f"{__name__}.{name}").CHECK for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1].order))
