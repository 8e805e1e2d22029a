"""Whether all cameras show the same moment: motion of the face (or of the picture) compared over time."""

from __future__ import annotations

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.finding import Finding, Lines, Verdict, unknown
from capture.checks import Check

_LONGEST = 0.8  # seconds by which a camera may be early or late
_LEAST = 16  # frames
_PEAK, _GAIN = 0.3, 0.06  # correlation at the best shift, and how much better it must be than none
_ONE_FRAME = 0.75  # frames between a curve's peak and zero
_ENERGY_PEAK, _ENERGY_GAIN = 0.6, 0.15  # the same where only the amount of motion is known


def ask(evidence: Evidence) -> Verdict:
    if len(evidence.names) < 2:
        return unknown("one camera only")
    if evidence.capture.fps <= 0 or evidence.follows.sum() < _LEAST:
        return unknown(f"needs {_LEAST} frames or more")
    reach = min(max(round(_LONGEST * evidence.capture.fps), 2), len(evidence.timesteps) // 3)
    signals, energy = face_signals(evidence), energy_signals(evidence)
    findings, curves, measured = [], [], 0
    everything = np.ones(len(evidence.timesteps), bool)
    for camera, name in enumerate(evidence.names):
        by_face = not evidence.no_face and bool(evidence.frontal[camera])
        used = signals if by_face else energy
        limits = (_PEAK, _GAIN) if by_face else (_ENERGY_PEAK, _ENERGY_GAIN)
        curve = shift_curve(used, camera, reach, everything, evidence.follows)
        lag = best_shift(curve, *limits)
        if lag is None:
            continue
        measured += 1
        curves.append((f"camera {name}", curve))
        findings += _finding(evidence, name, lag, used, camera, reach, limits)
    if not measured:
        return unknown("too little motion to compare")
    seconds = np.arange(-reach, reach + 1) / evidence.capture.fps
    figure = Lines("Agreement of motion with the other cameras, by shift", seconds, curves, "seconds")
    said = f"the motion of {measured} of {len(evidence.names)} cameras agrees best without a shift"
    return Verdict(findings or [Finding("ok", "", said)], [figure])


def _finding(
    evidence: Evidence,
    name: str,
    lag: int,
    used: np.ndarray,
    camera: int,
    reach: int,
    limits: tuple[float, float],
) -> list[Finding]:
    count = len(evidence.timesteps)
    halves = (np.arange(count) < count // 2, np.arange(count) >= count // 2) if count >= 2 * _LEAST else ()
    parts = [best_shift(shift_curve(used, camera, reach, part, evidence.follows), *limits) for part in halves]
    if len(parts) == 2 and None not in parts and parts[0] != parts[1]:
        text = f"camera {name} is {_said(parts[0], evidence)} at first and {_said(parts[1], evidence)} later"
        advice = "it lost or repeated frames on the way: extract it again by its timestamps"
        return [Finding("bad", "desynchronised", text, advice, (name,))]
    if lag == 0:
        return []
    text = f"camera {name} is {_said(lag, evidence)}"
    advice = f"shift its frames by {-lag} (and check the trigger or the timecode)"
    return [Finding("bad", "desynchronised", text, advice, (name,))]


def _said(lag: int | None, evidence: Evidence) -> str:
    if not lag:
        return "in time"
    word = "late" if lag > 0 else "early"
    return f"{abs(lag)} frames ({1000 * abs(lag) / evidence.capture.fps:.0f} ms) {word}"


def face_signals(evidence: Evidence) -> np.ndarray:
    """[C, N, K] changes of expression scores and of the face's height in the picture; NaN where unknown."""
    scores = evidence.scores.transpose(1, 0, 2).astype(np.float64)
    height = evidence.points[:, :, (1, 33, 263), 1].mean(-1).T[..., None] / evidence.face_pixels[:, None, None]
    values = np.concatenate((scores, 4.0 * height), -1)
    changes = np.full_like(values, np.nan)
    changes[:, 1:] = np.where(evidence.follows[None, 1:, None], np.diff(values, axis=1), np.nan)
    return np.clip(changes, -0.3, 0.3)  # a mistaken frame must not decide


def energy_signals(evidence: Evidence) -> np.ndarray:
    """[C, N, 1] how much the picture changes, as its logarithm about its mean."""
    energy = np.log(np.maximum(evidence.motion.T, 1e-3))
    with np.errstate(all="ignore"):
        return (energy - np.nanmean(energy, axis=1, keepdims=True))[..., None]


def shift_curve(signals: np.ndarray, camera: int, reach: int, part: np.ndarray, follows: np.ndarray) -> np.ndarray:
    """[2 reach + 1] mean correlation with the other cameras when this one is taken ``lag`` frames later.

    Args:
        signals: [C, N, K].
        camera: which one.
        reach: largest shift in frames.
        part: [N] bool: frames that count.
        follows: [N] bool: whether the frame before was looked at; runs are not compared across their ends.
    """
    run = np.cumsum(~follows)
    own = signals[camera]
    curve = np.full(2 * reach + 1, np.nan)
    for index, lag in enumerate(range(-reach, reach + 1)):
        a, b = (slice(lag, None), slice(None, -lag or None)) if lag >= 0 else (slice(None, lag), slice(-lag, None))
        same_run = (run[a] == run[b]) & part[b]
        total, count = 0.0, 0
        for other in range(len(signals)):
            if other == camera:
                continue
            both = same_run & np.isfinite(own[a]).all(-1) & np.isfinite(signals[other][b]).all(-1)
            if both.sum() < _LEAST // 2:
                continue
            x, y = own[a][both], signals[other][b][both]
            norm = np.sqrt((x**2).sum() * (y**2).sum())
            total, count = total + float((x * y).sum() / max(norm, 1e-9)), count + 1
        curve[index] = total / count if count else np.nan
    return curve


def best_shift(curve: np.ndarray, peak: float, gain: float) -> int | None:
    """The shift at which a curve is highest, 0 unless it is clearly better than none; None where nothing agrees."""
    if not np.isfinite(curve).any() or np.nanmax(curve) < peak:
        return None
    zero = len(curve) // 2
    best = int(np.nanargmax(curve))
    if not np.isfinite(curve[zero]) or curve[best] - curve[zero] > gain:
        return best - zero
    # One frame changes slow motion little, but the peak of the curve still lies clearly beside zero.
    beside = curve[best - 1 : best + 2]
    if abs(best - zero) != 1 or len(beside) < 3 or not np.isfinite(beside).all():
        return 0
    bend = beside[0] - 2 * beside[1] + beside[2]
    offset = best - zero + 0.5 * (beside[0] - beside[2]) / min(bend, -1e-9)
    return best - zero if abs(offset) > _ONE_FRAME and curve[best] - curve[zero] > 0.25 * gain else 0


CHECK = Check(70, "Synchrony", "Do all cameras show the same moment?", ask)
