"""Pictures and mattes that are missing, cut off, damaged or black."""

from __future__ import annotations

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.finding import Finding, Strip, Verdict
from capture.checking.words import listed, ranges
from capture.checks import Check

_BLACK = 0.95  # share of nearly black pixels
_DIM = 0.25  # of the camera's usual brightness
_FROZEN = 0.06  # share of the picture's rows at the bottom that are one flat colour
_LEGEND = ("in order", "missing", "damaged", "black", "cut off below")
_ADVICE = {
    "missing_frames": "copy or extract them again; a frame that was never recorded must be left out for all cameras",
    "damaged_frames": "copy or extract them again: the files end early or cannot be decoded",
    "black_frames": "leave these timesteps out; a camera that starts late gives black frames",
    "cut_off_frames": "extract them again: the lower part was never decoded",
}


def _states(evidence: Evidence) -> np.ndarray:
    """[C, N] indices into the legend."""
    states = np.zeros((len(evidence.names), len(evidence.timesteps)), int)
    for camera in range(len(evidence.names)):
        looks = [row[camera] for row in evidence.looks]
        bright = evidence.column(camera, "dark")
        level = np.array([np.nan if look.mean is None else look.mean.mean() for look in looks])
        usual = np.nanmedian(level) if np.isfinite(level).any() else 0.0
        frozen = evidence.column(camera, "frozen_rows")
        for row, look in enumerate(looks):
            if look.problem:
                states[camera, row] = 1 if look.problem == "missing" else 2
            elif bright[row] >= _BLACK or level[row] < _DIM * usual:
                states[camera, row] = 3
            elif frozen[row] > _FROZEN + np.nanmedian(frozen):
                states[camera, row] = 4
    return states


def ask(evidence: Evidence) -> Verdict:
    states = _states(evidence)
    findings = []
    for state, kind in enumerate(_ADVICE, start=1):
        hit = states == state
        if hit.any():
            cameras = tuple(np.array(evidence.names)[hit.any(1)].tolist())
            frames = tuple(evidence.timesteps[hit.any(0)].tolist())
            found = f"{int(hit.sum())} pictures {_LEGEND[state]}: cameras {listed(cameras)}, frames {ranges(frames)}"
            findings.append(Finding("bad", kind, found, _ADVICE[kind], cameras, frames))
    findings += _gaps(evidence)
    total = states.size
    whole = Finding("ok", "", f"{total} pictures of {len(evidence.names)} cameras can be read")
    strip = Strip("Every picture that was looked at", evidence.names, states, _LEGEND)
    return Verdict(findings or [whole], [strip])


def _gaps(evidence: Evidence) -> list[Finding]:
    """Frame numbers that are skipped."""
    ids = evidence.capture.timestep_ids
    if len(ids) < 3 or not all(name.isdigit() for name in ids):
        return []
    steps = np.diff([int(name) for name in ids])
    usual = int(np.median(steps))
    if (steps == usual).all():
        return []
    after = [int(index) + 1 for index in np.flatnonzero(steps != usual)]
    found = f"the numbers of the frames jump before {listed([ids[index] for index in after])}"
    advice = "frames were dropped: codes change too fast there; extract again, or train on the parts in between"
    return [Finding("bad", "missing_frames", found, advice, (), tuple(after))]


CHECK = Check(10, "Pictures", "Is every picture there, whole and lit?", ask)
