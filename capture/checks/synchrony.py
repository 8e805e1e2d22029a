"""Whether all cameras show the same moment: motion of the face (or of the picture) compared over time."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from capture.checking.evidence import Evidence
from capture.checking.finding import Finding, Lines, Verdict, unknown
from capture.checks import Check

_LONGEST = 0.8  # seconds by which a camera may be early or late
_LEAST = 16  # frames
_PEAK, _GAIN = 0.15, 0.06  # correlation at the best shift, and how much better it must be than none
_LOST, _LOST_GAIN = 6, 0.08  # frames that a camera may lose on the way, and the share by which that explains more
_ONE_FRAME = 0.75  # frames between a curve's peak and zero
_BAND_PEAK, _BAND_GAIN = 0.25, 0.1  # correlation and gain where only the amount of motion is known
_BANDS = 6  # of rows of the picture, which move alike in all cameras
_BRIEF = 4  # frames before and after, against whose mean the amount of motion is taken
_STILL = 0.05  # levels: changes that are nothing


def ask(evidence: Evidence) -> Verdict:
    if len(evidence.names) < 2:
        return unknown("one camera only")
    if evidence.capture.fps <= 0 or evidence.follows.sum() < _LEAST:
        return unknown(f"needs {_LEAST} frames or more")
    reach = min(max(round(_LONGEST * evidence.capture.fps), 2), len(evidence.timesteps) // 3)
    faces, bands = face_signals(evidence), band_signals(evidence)
    findings, curves, measured = [], [], 0
    for camera, name in enumerate(evidence.names):
        by_face = not evidence.no_face and bool(evidence.frontal[camera])
        limits = (_PEAK, _GAIN) if by_face else (_BAND_PEAK, _BAND_GAIN)
        curve = shift_curve(faces if by_face else bands, camera, reach, evidence.follows)
        lag = best_shift(curve, *limits)
        used = [bands, faces] if by_face else [bands]
        change = lost_frames(np.mean([frame_agreement(s, camera, reach, evidence.follows) for s in used], axis=0))
        if lag is None and change is None:
            continue
        measured += 1
        curves.append((f"camera {name}", curve))
        findings += _findings(evidence, name, lag or 0, change)
    if not measured:
        return unknown("too little motion to compare")
    seconds = np.arange(-reach, reach + 1) / evidence.capture.fps
    figure = Lines("Agreement of motion with the other cameras, by shift", seconds, curves, "seconds")
    said = f"the motion of {measured} of {len(evidence.names)} cameras agrees best without a shift"
    return Verdict(findings or [Finding("ok", "", said)], [figure])


def _findings(evidence: Evidence, name: str, lag: int, change: tuple[int, int, int] | None) -> list[Finding]:
    if change is not None:
        before, after, at = change
        text = (
            f"camera {name} is {_said(before, evidence)} at first and {_said(after, evidence)} from about frame {at} on"
        )
        advice = "it lost or repeated frames there: extract it again by its timestamps"
        return [Finding("bad", "desynchronised", text, advice, (name,))]
    if lag == 0:
        return []
    text = f"camera {name} is {_said(lag, evidence)}"
    advice = f"shift its frames by {-lag} (and check the trigger or the timecode)"
    return [Finding("bad", "desynchronised", text, advice, (name,))]


def _said(lag: int, evidence: Evidence) -> str:
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


def band_signals(evidence: Evidence) -> np.ndarray:
    """[C, N, 6] how much bands of rows change, as logarithms about their means over a few frames.

    Each band holds the same share of a camera's motion, so that bands of different cameras show like parts of a person.
    """
    rows = evidence.row_motion.transpose(1, 0, 2)  # [C, N, 48]
    below = np.concatenate((np.zeros((*rows.shape[:2], 1)), np.cumsum(rows, axis=-1)), -1)
    places, result = np.arange(rows.shape[-1] + 1), np.full((*rows.shape[:2], _BANDS), np.nan)
    for camera in range(len(rows)):
        known = np.isfinite(below[camera]).all(-1)
        typical = below[camera, known].sum(0) if known.any() else np.zeros(len(places))
        if typical[-1] > 0:
            edges = np.interp(np.linspace(0, typical[-1], _BANDS + 1), typical, places)
            sums = np.array([np.interp(edges, places, each) for each in below[camera, known]])
            result[camera, known] = np.log(np.diff(sums) / np.diff(edges) + _STILL)
    return result - _mean_about(result)


def _mean_about(
    values: np.ndarray,  # [C, N, K], NaN where unknown
) -> np.ndarray:
    """[C, N, K] means of the known values over the frames around."""
    sums = [
        uniform_filter1d(part, 2 * _BRIEF + 1, axis=1, mode="constant")
        for part in (np.nan_to_num(values), np.isfinite(values).astype(np.float64))
    ]
    return np.asarray(sums[0] / np.maximum(sums[1], 1e-6))


def shift_curve(signals: np.ndarray, camera: int, reach: int, follows: np.ndarray) -> np.ndarray:
    """[2 reach + 1] mean correlation with the other cameras when this one is taken ``lag`` frames later.

    Args:
        signals: [C, N, K].
        camera: which one.
        reach: largest shift in frames.
        follows: [N] bool: whether the frame before was looked at; runs are not compared across their ends.
    """
    run = np.cumsum(~follows)
    own = signals[camera]
    curve = np.full(2 * reach + 1, np.nan)
    for index, lag in enumerate(range(-reach, reach + 1)):
        a, b = (slice(lag, None), slice(None, -lag or None)) if lag >= 0 else (slice(None, lag), slice(-lag, None))
        same_run = run[a] == run[b]
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


def frame_agreement(signals: np.ndarray, camera: int, reach: int, follows: np.ndarray) -> np.ndarray:
    """[2 reach + 1, N] what each frame of the others adds to their correlation with this camera, by its shift."""
    run, count = np.cumsum(~follows), signals.shape[1]
    own = signals[camera]
    others = [index for index in range(len(signals)) if index != camera and np.isfinite(signals[index]).any()]
    result = np.zeros((2 * reach + 1, count))
    energy = [np.nansum(signals[index] ** 2) for index in others]
    for index, lag in enumerate(range(-reach, reach + 1)):
        at = np.arange(max(-lag, 0), min(count, count - lag))
        same = run[at] == run[at + lag]
        for other, power in zip(others, energy, strict=True):
            product = np.nansum(own[at + lag] * signals[other][at], -1) * same
            result[index, at] += product / max(np.sqrt(np.nansum(own**2) * power), 1e-9) / len(others)
    return result


def lost_frames(agreement: np.ndarray) -> tuple[int, int, int] | None:
    """Shift before, shift after and the frame between, where two shifts explain a camera clearly better than one."""
    reach, count = len(agreement) // 2, agreement.shape[1]
    total = agreement.sum(1)
    near = np.arange(max(reach - _LOST, 0), min(reach + _LOST, 2 * reach) + 1)
    before = np.cumsum(agreement[near], axis=1)
    after = total[near, None] - before
    places = np.arange(_LEAST // 2, count - _LEAST // 2)
    first, second = before[:, places].argmax(0), after[:, places].argmax(0)
    both = before[first, places] + after[second, places]
    best = int(both.argmax())
    shifts = int(near[first[best]] - reach), int(near[second[best]] - reach)
    gain = both[best] - total[near].max()
    if shifts[0] == shifts[1] or gain < _LOST_GAIN * max(total[near].max(), 0.2):
        return None
    return (*shifts, int(places[best]) + 1)


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
