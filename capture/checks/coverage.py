"""What the subject showed: sides of the head, and expressions."""

from __future__ import annotations

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.face_points import yaw_pitch
from capture.checking.finding import Bars, Figure, Finding, Points, Verdict, unknown
from capture.checks import Check
from studio.codes import ARKIT_CHANNELS
from studio.errors import StudioError

_SHOWN = 0.3  # a channel that never goes higher was not shown
_WIDE_YAW, _WIDE_PITCH = 30.0, 16.0  # degrees from end to end that a single camera should see
_FEW_FRAMES = 20
# MediaPipe's scores of these say nothing: near zero in any face.
_UNSEEN_BY_SCORES = (
    *("tongueOut", "cheekPuff", "jawForward", "cheekSquintLeft", "cheekSquintRight"),
    *("noseSneerLeft", "noseSneerRight", "mouthDimpleLeft", "mouthDimpleRight"),
)


def ask(evidence: Evidence) -> Verdict:
    findings: list[Finding] = []
    figures: list[Figure] = []
    if evidence.no_face:
        findings.append(Finding("unknown", "", f"sides of the head not measured: {evidence.no_face}"))
    else:
        _views(evidence, findings, figures)
    _expressions(evidence, findings, figures)
    return Verdict(findings, figures) if findings else unknown("no face found and no track")


def _views(evidence: Evidence, findings: list[Finding], figures: list[Figure]) -> None:
    groups = []
    for camera, name in enumerate(evidence.names):
        seen = np.flatnonzero(evidence.sees_face[:, camera])
        if len(seen):
            groups.append((f"camera {name}", np.array([yaw_pitch(evidence.turns[row, camera]) for row in seen])))
    every = np.concatenate([points for _, points in groups])
    (left, down), (right, up) = np.quantile(every, 0.02, axis=0), np.quantile(every, 0.98, axis=0)
    figures.append(Points("Where the face looked, seen from the cameras", groups, "yaw (degrees)", "pitch (degrees)"))
    text = f"seen from {left:.0f} to {right:.0f} degrees of yaw and {down:.0f} to {up:.0f} of pitch"
    moving = len(evidence.timesteps) >= _FEW_FRAMES
    narrow = len(evidence.names) == 1 and moving and (right - left < _WIDE_YAW or up - down < _WIDE_PITCH)
    advice = "turn the head slowly to both sides, up and down: sides that were never seen are made up" if narrow else ""
    findings.append(Finding("note" if narrow else "ok", "narrow_views" if narrow else "", text, advice))


def _expressions(evidence: Evidence, findings: list[Finding], figures: list[Figure]) -> None:
    if len(evidence.timesteps) < _FEW_FRAMES:
        findings.append(Finding("unknown", "", f"expressions not measured: fewer than {_FEW_FRAMES} frames"))
        return
    values, source = strengths(evidence)
    if values is None:
        findings.append(Finding("unknown", "", f"expressions not measured: {source}"))
        return
    figures.append(Bars(f"Strongest 1 % of each channel ({source})", ARKIT_CHANNELS, values, _SHOWN, np.inf, ""))
    never = [name for name, value in zip(ARKIT_CHANNELS, values, strict=True) if value < _SHOWN]
    if not never:
        findings.append(Finding("ok", "", f"every channel was shown ({source})"))
        return
    text = (
        f"{len(never)} of {np.isfinite(values).sum()} ARKit channels were hardly shown ({source}): {', '.join(never)}"
    )
    advice = "record them, or expect the avatar to make them up"
    findings.append(Finding("note", "expressions_missing", text, advice))


def strengths(evidence: Evidence) -> tuple[np.ndarray | None, str]:
    """[52] how strong each channel gets (NaN where that cannot be told), and what says so."""
    tracks = sorted(path.name for path in (evidence.capture.folder / "tracks").glob("[!.]*"))
    name = evidence.track or (tracks[0] if tracks else "")
    if name:
        try:
            track = evidence.capture.track(name)
            if track.codes.space.name == "arkit52" and bool(track.valid.any()):
                shown = track.codes.expression[track.valid].numpy()
                return np.quantile(shown, 0.99, axis=0), f"track {name}"
        except StudioError as error:
            if evidence.track:
                return None, str(error)
    if evidence.no_face:
        return None, f"no track, and {evidence.no_face}"
    best = int(np.nanargmax(evidence.trust.mean((0, 2))))
    shown = evidence.scores[:, best]
    values = np.nanquantile(shown[np.isfinite(shown[:, 0])], 0.99, axis=0).astype(np.float64)
    values[[ARKIT_CHANNELS.index(unseen) for unseen in _UNSEEN_BY_SCORES]] = np.nan
    return values, "scores of the landmarker; a track tells more"


CHECK = Check(120, "Coverage", "Which sides of the head and which expressions were shown?", ask)
