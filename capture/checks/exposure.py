"""Cameras that show the same skin brighter, darker or in another colour."""

from __future__ import annotations

import numpy as np

from capture.checking.colours import skin_colours, skin_patch
from capture.checking.evidence import Evidence
from capture.checking.finding import Bars, Figure, Finding, Photos, Verdict, unknown
from capture.checks import Check
from capture.colour import camera_offsets

_STOPS = 0.3  # between a camera and the middle of all
_BURNT = 0.3  # of the places on the skin
_TINT = 0.2  # stops between the channels of a camera: 15 %


def ask(evidence: Evidence) -> Verdict:
    if len(evidence.names) < 2:
        return unknown("one camera only")
    if evidence.no_face:
        return unknown(f"{evidence.no_face} to compare")
    colours = skin_colours(evidence)
    if colours is None:
        return unknown("no two cameras see the same skin")
    offsets = camera_offsets(colours.light, colours.trust)
    findings = _burnt(evidence, colours.burnt)
    if not np.isfinite(offsets).any():
        return Verdict(findings) if findings else unknown("too little skin is seen by two cameras")
    brighter = offsets.mean(1)
    tint = offsets - brighter[:, None]
    for camera, name in enumerate(evidence.names):
        if not np.isfinite(brighter[camera]):
            continue
        if abs(brighter[camera]) > _STOPS:
            word = "brighter" if brighter[camera] > 0 else "darker"
            text = f"camera {name} is {abs(brighter[camera]):.2f} stops {word} than the others"
            advice = f"studio colour capture={evidence.capture.folder} makes them alike; lock the exposure next time"
            findings.append(Finding("note", "exposure", text, advice, (name,)))
        if np.ptp(tint[camera]) > _TINT:
            channel = int(np.abs(tint[camera]).argmax())
            word = "more" if tint[camera, channel] > 0 else "less"
            amount = 100 * abs(2.0 ** tint[camera, channel] - 1)
            text = f"camera {name} shows {amount:.0f} % {word} {('red', 'green', 'blue')[channel]} than the others"
            advice = (
                f"studio colour capture={evidence.capture.folder} makes them alike; lock the white balance next time"
            )
            findings.append(Finding("note", "white_balance", text, advice, (name,)))
    known = brighter[np.isfinite(brighter)]
    spread = 100 * _colour_spread(tint)
    said = f"{len(known)} cameras agree to {np.abs(known).max():.2f} stops and {spread:.0f} % of colour"
    figures: list[Figure] = [
        Bars("Brightness of the same skin", evidence.names, brighter, -_STOPS, _STOPS, "stops"),
        Bars("Red against blue", evidence.names, tint[:, 0] - tint[:, 2], -_TINT, _TINT, "stops"),
        *_faces(evidence),
    ]
    return Verdict(findings or [Finding("ok", "", said)], figures)


def _burnt(evidence: Evidence, share: np.ndarray) -> list[Finding]:
    """Cameras whose skin is too bright to be compared at all."""
    advice = "expose less next time: what is burnt out cannot be brought back"
    return [
        Finding(
            "note", "exposure", f"{100 * share[c]:.0f} % of the skin is burnt out in camera {name}", advice, (name,)
        )
        for c, name in enumerate(evidence.names)
        if share[c] > _BURNT
    ]


def _colour_spread(tint: np.ndarray) -> float:
    known = tint[np.isfinite(tint).all(1)]
    return float(np.abs(2.0**known - 1).max()) if len(known) else 0.0


def _faces(evidence: Evidence) -> list[Figure]:
    """The same moment in all cameras that see the face."""
    row = int(evidence.sees_face.sum(1).argmax())
    items: list[tuple[str, np.ndarray]] = []
    for camera, name in enumerate(evidence.names):
        face = evidence.looks[row][camera].face
        if face is not None and len(items) < 16:
            image = evidence.capture.image(int(evidence.timesteps[row]), camera)
            items.append((f"camera {name}", skin_patch(image, face.center, 1.1 * face.size)))
    return [Photos("The same moment in all cameras", items)] if len(items) > 1 else []


CHECK = Check(80, "Exposure and white balance", "Do all cameras show the same skin in the same colour?", ask)
