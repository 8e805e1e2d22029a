"""Cameras that are out of focus, and single frames that are blurred by motion."""

from __future__ import annotations

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.finding import Bars, Figure, Finding, Photos, Verdict, unknown
from capture.checking.words import ranges
from capture.checks import Check

_SOFT = 1.45  # pixels: edges this wide show half of the detail that the pictures could hold
_SOFTER = 1.6  # times as wide as in the other cameras
_BLURRED = 0.79  # of the fine detail of the frames about it: less in any direction is motion during the exposure
_ABOUT = 7  # frames before and after
_MANY = 0.3  # share of frames from which it is the camera and not a few frames


def ask(evidence: Evidence) -> Verdict:
    widths = np.array([evidence.column(camera, "edge_width") for camera in range(len(evidence.names))])
    if not np.isfinite(widths).any():
        return unknown("no edges in the pictures")
    usual = np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in widths])
    rest = float(np.nanmedian(usual))
    findings: list[Finding] = []
    photos = []
    for camera, name in enumerate(evidence.names):
        soft = usual[camera] > _SOFT or (usual[camera] > _SOFTER * rest and len(usual) > 2)
        if soft:
            text = f"edges in camera {name} are {usual[camera]:.1f} pixels wide (others {rest:.1f})"
            advice = "focus it and record again, or train at a smaller size: detail of this size was not recorded"
            findings.append(Finding("note", "blurred_camera", text, advice, (name,)))
            photos.append((f"camera {name}", _sample(evidence, camera, len(evidence.looks) // 2)))
        left = _detail_left(evidence, camera)
        blurred = left < _BLURRED
        if blurred.any() and blurred.mean() < _MANY:
            frames = tuple(evidence.timesteps[blurred].tolist())
            text = f"{int(blurred.sum())} frames of camera {name} are blurred: {ranges(frames)}"
            advice = "shorten the exposure time, or leave these frames out"
            findings.append(Finding("note", "blurred_frames", text, advice, (name,), frames))
            row = int(np.nanargmin(left))
            photos.append((f"camera {name}, frame {evidence.timesteps[row]}", _sample(evidence, camera, row)))
    figures: list[Figure] = [Bars("Width of the sharper edges", evidence.names, usual, 0.0, _SOFT, "pixels")]
    said = f"edges are {rest:.1f} pixels wide"
    if photos:
        figures.append(Photos("The softest", photos[:6]))
    return Verdict(findings or [Finding("ok", "", said)], figures)


def _detail_left(evidence: Evidence, camera: int) -> np.ndarray:
    """[N] the least that is left, in any direction, of the fine detail of the frames about each; NaN where unknown."""
    looks = [row[camera] for row in evidence.looks]
    detail = np.array([np.full(4, np.nan) if look.detail is None else look.detail for look in looks])
    has_face = np.array([look.face is not None for look in looks])
    left = np.full(len(looks), np.nan)
    for kind in (True, False):  # where there is no face, the whole picture was looked at
        rows = np.flatnonzero((has_face == kind) & np.isfinite(detail).all(1))
        for place, row in enumerate(rows):
            about = rows[max(place - _ABOUT, 0) : place + _ABOUT + 1]
            if len(about) > _ABOUT // 2 + 1:
                left[row] = (detail[row] / np.median(detail[about], axis=0)).min()
    return left


def _sample(evidence: Evidence, camera: int, row: int) -> np.ndarray:
    look = evidence.looks[row][camera]
    image = evidence.capture.image(int(evidence.timesteps[row]), camera)
    if look.face is None:
        return image
    low = np.maximum(look.face.center - 0.6 * look.face.size, 0).astype(int)
    high = np.maximum(look.face.center + 0.6 * look.face.size, 16).astype(int)
    return image[low[1] : high[1], low[0] : high[0]]


CHECK = Check(90, "Sharpness", "Are all cameras in focus, and no frame blurred by motion?", ask)
