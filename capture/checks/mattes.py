"""Mattes with holes, mattes that lose the person for a moment, mattes that are missing."""

from __future__ import annotations

import cv2
import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.finding import Finding, Photos, Verdict, unknown
from capture.checking.look import MatteLook
from capture.checking.words import listed, ranges
from capture.checks import Check
from capture.colour import medians
from studio.errors import StudioError

_FACE_HOLE = 0.004  # of the face's inside
_HOLE = 0.008  # of the person
_JUMP = 0.15  # by which the person's area may differ from that of the frames around
_AROUND = 3
_ADVICE = "make them anew (studio matte), or leave these frames out"


def ask(evidence: Evidence) -> Verdict:
    mattes = [[look.matte for look in row] for row in evidence.looks]
    problems = np.array([[look.matte_problem for look in row] for row in evidence.looks])
    there = np.array([[matte is not None for matte in row] for row in mattes])
    if not there.any():
        return unknown("the capture has no mattes (training then shows the background, too)")
    faces = evidence.frontal  # faces that a camera rarely finds are not to be trusted
    holes = np.array([[_has_hole(matte, by_face) for matte, by_face in zip(row, faces, strict=True)] for row in mattes])
    areas = np.array([[np.nan if m is None else m.person for m in row] for row in mattes])
    findings, photos = [], []
    readable = np.array([[not look.problem for look in row] for row in evidence.looks])
    cases = (
        (
            "missing_mattes",
            "missing or damaged",
            ~there & readable & (problems != "size"),
            "make them for all pictures",
        ),
        ("matte_size", "of another size than the pictures", problems == "size", "make them at the pictures' size"),
        ("matte_holes", "with holes in the person", holes, _ADVICE),
        ("matte_jumps", "that lose or gain much of the person for a moment", _jumps(areas) & ~holes, _ADVICE),
    )
    for kind, what, hit, advice in cases:
        if hit.any():
            cameras = tuple(np.array(evidence.names)[hit.any(0)].tolist())
            frames = tuple(evidence.timesteps[hit.any(1)].tolist())
            text = f"{int(hit.sum())} mattes {what}: cameras {listed(cameras)}, frames {ranges(frames)}"
            findings.append(Finding("bad", kind, text, advice, cameras, frames))
            photos += [_shown(evidence, int(row), int(camera)) for row, camera in np.argwhere(hit & there)[:3]]
    figures = [Photos("Mattes, red where there is none", [p for p in photos if p is not None])] if photos else []
    said = f"{int(there.sum())} mattes without holes; the person fills {100 * np.nanmedian(areas):.0f} % of the picture"
    return Verdict(findings or [Finding("ok", "", said)], figures)


def _has_hole(matte: MatteLook | None, by_face: bool) -> bool:
    return matte is not None and ((by_face and matte.face_holes > _FACE_HOLE) or matte.holes > _HOLE)


def _jumps(areas: np.ndarray) -> np.ndarray:
    """[N, C] whether the area differs from the median of the frames around."""
    result = np.zeros(areas.shape, bool)
    for row in range(len(areas)):
        around = areas[max(row - _AROUND, 0) : row + _AROUND + 1]
        usual = medians(around, 0)
        result[row] = np.abs(areas[row] - usual) > _JUMP * np.maximum(usual, 0.02)
    return result


def _shown(evidence: Evidence, row: int, camera: int) -> tuple[str, np.ndarray] | None:
    timestep = int(evidence.timesteps[row])
    try:
        image, matte = evidence.capture.image(timestep, camera), evidence.capture.matte(timestep, camera)
    except StudioError:
        return None
    if matte.shape != image.shape[:2]:
        matte = cv2.resize(matte, (image.shape[1], image.shape[0]))
    alpha = matte[..., None] / 255.0
    shown = alpha * image + (1 - alpha) * (0.5 * image + 0.5 * np.array((220, 40, 40)))
    return f"camera {evidence.names[camera]}, frame {timestep}", shown.astype(np.uint8)


CHECK = Check(100, "Mattes", "Is the person whole in every matte?", ask)
