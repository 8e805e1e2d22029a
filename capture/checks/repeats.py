"""Pictures that show the moment before once more."""

from __future__ import annotations

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.finding import Finding, Strip, Verdict, unknown
from capture.checking.words import listed, ranges
from capture.checks import Check

_STILL = 0.12  # of the usual change from frame to frame: less is a repeat
_MOVING = 0.35  # of the usual change: what happens meanwhile in other cameras, or before and after
_LONGEST = 25  # frames that a single camera may hold still before it is simply a still subject


def ask(evidence: Evidence) -> Verdict:
    motion = evidence.motion
    if len(evidence.timesteps) < 4:
        return unknown("needs several frames")
    same = _identical(evidence)
    usual = np.nanmedian(np.where(same, np.nan, motion), axis=0)
    relative = motion / np.maximum(usual, 1e-6)
    repeated = np.where(np.isfinite(motion), same | (relative < _STILL) & (motion < 0.08), False)
    repeated &= _meanwhile(relative, repeated)
    if not repeated.any():
        return Verdict([Finding("ok", "", "no picture repeats the one before")])
    cameras = tuple(np.array(evidence.names)[repeated.any(0)].tolist())
    frames = tuple(evidence.timesteps[repeated.any(1)].tolist())
    found = f"{int(repeated.sum())} pictures repeat the one before: cameras {listed(cameras)}, frames {ranges(frames)}"
    advice = "extract the frames at the rate of the recording; leave repeated timesteps out for all cameras"
    strip = Strip("Repeated pictures", evidence.names, repeated.T.astype(int), ("new", "repeated"))
    return Verdict([Finding("bad", "repeated_frames", found, advice, cameras, frames)], [strip])


def _identical(evidence: Evidence) -> np.ndarray:
    """[N, C] whether a picture is the one before, bit by bit."""
    same = np.zeros(evidence.motion.shape, bool)
    for row in np.flatnonzero(evidence.follows):
        for camera, (before, now) in enumerate(zip(evidence.looks[row - 1], evidence.looks[row], strict=True)):
            same[row, camera] = bool(now.digest) and before.digest == now.digest
    return same


def _meanwhile(relative: np.ndarray, repeated: np.ndarray) -> np.ndarray:
    """[N, C] whether the subject moved while a camera repeated: seen by other cameras, or just before and after."""
    count, cameras = relative.shape
    moved = np.zeros(relative.shape, bool)
    for camera in range(cameras):
        others = np.where(repeated, np.nan, relative)[:, [c for c in range(cameras) if c != camera]]
        for row in np.flatnonzero(repeated[:, camera]):
            known = others[row][np.isfinite(others[row])]
            if len(known) >= max(1, (cameras - 1) // 2):
                moved[row, camera] = np.median(known) > _MOVING
                continue
            start = row
            while start > 0 and repeated[start, camera]:
                start -= 1
            end = row
            while end < count - 1 and repeated[end, camera]:
                end += 1
            ends = relative[[start, end], camera]
            moved[row, camera] = end - start <= _LONGEST and bool(np.nan_to_num(ends).min() > _MOVING)
    return moved


CHECK = Check(20, "Repeated frames", "Does every picture show a new moment?", ask)
