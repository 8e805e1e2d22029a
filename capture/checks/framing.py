"""Heads that leave the picture, faces that are lost or too small."""

from __future__ import annotations

import cv2
import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.face_points import head_turn
from capture.checking.finding import Bars, Finding, Photos, Verdict, unknown
from capture.checking.geometry import world_face
from capture.checking.look import Look
from capture.checking.sightings import sightings
from capture.checking.words import listed, ranges
from capture.checks import Check
from capture.landmarks import MIN_FACE_PIXELS
from capture.triangulation import model_of

_SHARE = 0.04  # of the frames
_SKULL = 0.22  # of the face's height: the skull above the forehead's highest landmark
_OUT = 0.02  # of the face's height that may leave the picture
_FRONT = 0.75  # cosine of the angle between the view and the face's direction
_LEAST_TURN = 0.6  # the same from which the chin is where the landmarks say
_MOUTH = 0.6  # how far the mouth lies below the middle of the face's points, in distances of the outer eye corners
_LOST = 0.85  # a camera that sees the face in so many frames should see it in all but few


def ask(evidence: Evidence) -> Verdict:
    if evidence.no_face and not any(look.matte for row in evidence.looks for look in row):
        return unknown(f"{evidence.no_face} and no mattes")
    faces = evidence.frontal  # faces that a camera rarely finds are not to be trusted
    floors = _floors(evidence)
    cut = np.array(
        [[is_cut(*case) for case in zip(row, faces, floors, strict=True)] for row in evidence.looks], dtype=bool
    )
    share, seen = cut.mean(0), evidence.sees_face.mean(0)
    findings: list[Finding] = []
    photos = []
    for camera, name in enumerate(evidence.names):
        if share[camera] > _SHARE:
            frames = tuple(evidence.timesteps[cut[:, camera]].tolist())
            part = f"{100 * share[camera]:.0f} % of the frames ({ranges(frames)})"
            text = f"the head leaves the picture of camera {name} in {part}"
            advice = "aim it at the head, or crop less at ingest; leave these frames out of training"
            findings.append(Finding("bad", "head_out_of_frame", text, advice, (name,), frames))
            photos.append(_shown(evidence, camera, int(np.flatnonzero(cut[:, camera])[0])))
        elif _LOST <= seen[camera] < 1 - _SHARE and _looks_at(evidence, camera):
            frames = tuple(evidence.timesteps[~evidence.sees_face[:, camera]].tolist())
            text = f"no face in {len(frames)} frames of camera {name}: {ranges(frames)}"
            findings.append(Finding("note", "face_lost", text, "these frames are tracked by guessing", (name,), frames))
    small = evidence.face_pixels < MIN_FACE_PIXELS
    if small.any():
        names = tuple(np.array(evidence.names)[small].tolist())
        text = f"the face is only {np.nanmin(evidence.face_pixels):.0f} pixels high in cameras {listed(names)}"
        advice = f"{MIN_FACE_PIXELS} pixels or more are needed to see expressions: move closer or crop"
        findings.append(Finding("note", "small_face", text, advice, names))
    figures: list[Bars | Photos] = [
        Bars("Size of the face", evidence.names, evidence.face_pixels, MIN_FACE_PIXELS, np.inf, "pixels")
    ]
    if photos:
        figures.append(Photos("Where the head leaves the picture", photos[:6]))
    return Verdict(findings or [Finding("ok", "", "the head is whole in every picture that was looked at")], figures)


def _looks_at(evidence: Evidence, camera: int) -> bool:
    """Whether the camera mostly sees the face from the front, where it should always be found."""
    with np.errstate(all="ignore"):
        return bool(np.nanmedian(evidence.turns[:, camera, 2, 2]) > _FRONT)


def _floors(evidence: Evidence) -> np.ndarray:
    """[C] how far down each picture the mouth is by what the other cameras see, as a share; 0 where not known."""
    floors = np.zeros(len(evidence.names))
    seen = sightings(evidence) if len(evidence.names) > 1 and not evidence.no_face else None
    model = model_of(evidence.capture.cameras)
    face = world_face(model, seen) if seen is not None else None
    if face is not None:
        mouth = face.center - _MOUTH * face.eyes * face.up
        floors = np.nan_to_num(model.project(mouth[None])[:, 0, 1] / evidence.capture.cameras.height)
    return np.asarray(floors.clip(0, 1))


def is_cut(look: Look, by_face: bool = True, floor: float = 0.0) -> bool:
    """Whether a part of the head is outside of the picture, by its matte or (``by_face``) by its landmarks.

    Args:
        look: at the picture.
        by_face: whether its landmarks are to be trusted.
        floor: how far down the picture the head reaches (0 its top, 1 its bottom), for pictures without a frontal face.
    """
    frontal = look.face is not None and by_face and head_turn(look.face.points)[2, 2] > _LEAST_TURN
    if frontal and look.face is not None:
        floor = float(np.clip(look.face.points[152, 1] / look.size[1], 0, 1))
    if look.matte is not None and look.matte.person > 0.01 and look.matte.touches(floor):
        return True
    if look.face is None or not by_face:
        return False
    points = look.face.points[:, :2]
    forehead, chin = points[10], points[152]
    height = float(np.linalg.norm(forehead - chin))
    skull = forehead + _SKULL * (forehead - chin)
    outline = points if look.matte is not None else np.vstack((points, skull))
    low, high = -_OUT * height, np.array(look.size) + _OUT * height
    return bool((outline < low).any() or (outline > high).any())


def _shown(evidence: Evidence, camera: int, row: int) -> tuple[str, np.ndarray]:
    timestep = int(evidence.timesteps[row])
    image = evidence.capture.image(timestep, camera).copy()
    cv2.rectangle(image, (0, 0), (image.shape[1] - 1, image.shape[0] - 1), (220, 40, 40), max(image.shape[0] // 120, 1))
    return f"camera {evidence.names[camera]}, frame {timestep}", image


CHECK = Check(110, "Framing", "Is the whole head in every picture, and large enough?", ask)
