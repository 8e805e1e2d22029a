"""Cameras that show the same pictures."""

from __future__ import annotations

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.finding import Finding, Verdict, unknown
from capture.checking.look import Look
from capture.checking.words import listed
from capture.checks import Check

_SHARE = 0.5  # of the frames that must be the same
_CLOSE = 1.0  # levels of 255 between thumbnails of the same picture, encoded twice


def ask(evidence: Evidence) -> Verdict:
    count = len(evidence.names)
    if count < 2:
        return unknown("one camera only")
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count) if _same(evidence, a, b)]
    if not pairs:
        return Verdict([Finding("ok", "", f"{count} cameras show different pictures")])
    text = listed([f"{evidence.names[a]} and {evidence.names[b]}" for a, b in pairs])
    involved = tuple(evidence.names[index] for index in sorted({i for pair in pairs for i in pair}))
    advice = "one was copied in place of the other: fetch its own pictures, or leave it out"
    return Verdict([Finding("bad", "duplicated_cameras", f"the same pictures from cameras {text}", advice, involved)])


def _same(evidence: Evidence, a: int, b: int) -> bool:
    rows = evidence.looks[:: max(len(evidence.looks) // 24, 1)]
    pairs = [(row[a], row[b]) for row in rows if row[a].thumb is not None and row[b].thumb is not None]
    lit = [(x, y) for x, y in pairs if min(x.dark, y.dark) < 0.9]
    if not lit:
        return False
    off = [_difference(x, y) for x, y in lit]
    return float(np.mean(np.array(off) < _CLOSE)) > _SHARE


def _difference(a: Look, b: Look) -> float:
    assert a.thumb is not None
    assert b.thumb is not None
    return float(np.abs(a.thumb.astype(np.int16) - b.thumb).mean())


CHECK = Check(40, "Duplicated cameras", "Does every camera show something of its own?", ask)
