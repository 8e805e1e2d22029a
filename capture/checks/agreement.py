"""Whether each camera agrees with the others, pair by pair, and what is wrong with one that does not."""

from __future__ import annotations

import cv2
import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.features import LIMIT_PIXELS, feature_pairs
from capture.checking.finding import Figure, Finding, Matrix, Photos, Verdict, unknown
from capture.checking.geometry import camera_error, overall_error, pair_errors, smallest_correction, world_face
from capture.checking.hull import outline_errors
from capture.checking.readings import intrinsics_readings, mirrored_pictures, pose_readings
from capture.checking.sightings import Sightings, meet, sightings
from capture.checking.words import listed
from capture.checks import Check
from capture.colour import medians
from capture.triangulation import Model, model_of

LIMIT = 4.0  # percent of the face's size against what the others agree on: landmarks alone err by half of that
_AGREE = 3.0
_STICKS_OUT = 1.0  # percent of the head's size, see ``outline_errors``
_SHOWN = 4


def ask(evidence: Evidence) -> Verdict:
    if len(evidence.names) < 2:
        return unknown("one camera only")
    seen = None if evidence.no_face else sightings(evidence)
    if seen is None:
        return _by_features(evidence)
    model = model_of(evidence.capture.cameras)
    pairs = pair_errors(model, seen)
    figure = Matrix("Distance from epipolar lines", evidence.names, pairs, LIMIT, "% of the face's size")
    error = overall_error(model, seen)
    if not np.isfinite(error):
        return unknown("too few points are seen by two cameras")
    worst, wrong = _outliers(model, seen)
    majority = int(np.isfinite(seen.size).sum()) - len(wrong)
    if wrong and (majority < 2 or len(wrong) > majority):
        return Verdict([_nobody_agrees(evidence, error)], [figure])
    findings = _explained(evidence, model, seen, wrong, worst)
    findings += _outlines(evidence, model, seen, wrong, worst)
    known = [value for value in worst.values() if np.isfinite(value)] or [error]
    middle, most = np.median(known), max(known)
    said = f"{len(known)} cameras agree about the face's points to {middle:.1f} % of its size (worst {most:.1f} %)"
    blind = [name for c, name in enumerate(evidence.names) if not np.isfinite(worst.get(c, np.nan))]
    findings = findings or [Finding("ok", "", said)]
    if blind and not evidence.capture.is_matted(0):
        text = f"not measured for cameras {listed(blind)}: no face found and no mattes"
        findings.append(Finding("unknown", "", text, cameras=tuple(blind)))
    return Verdict(findings, [figure, *_photos(evidence, model, seen, wrong)])


def _outliers(model: Model, seen: Sightings) -> tuple[dict[int, float], list[int]]:
    """Errors in percent of the cameras, and those that err, found one after another from the worst."""
    rest, wrong = seen, list[int]()
    errors: dict[int, float] = {}
    while True:
        left = {c: camera_error(model, rest, c) for c in range(len(seen.size)) if c not in wrong}
        known = {c: value for c, value in left.items() if np.isfinite(value)}
        errors |= left
        if not known or max(known.values()) <= LIMIT or len(known) < 3:
            if len(known) == 2 and max(known.values()) > LIMIT and not wrong:
                wrong += list(known)
            return errors, wrong
        worst = max(known, key=lambda c: known[c])
        wrong.append(worst)
        trust = rest.trust.copy()
        trust[worst] = 0
        rest = Sightings(rest.pixels, trust, rest.size, rest.shape, rest.moments)


def _nobody_agrees(evidence: Evidence, error: float) -> Finding:
    said = f"most cameras disagree: {error:.1f} % of the face's size"
    advice = "see Conventions above; if those are right, calibrate again"
    return Finding("bad", "disagreement", said, advice, evidence.names)


def _explained(
    evidence: Evidence, model: Model, seen: Sightings, wrong: list[int], errors: dict[int, float]
) -> list[Finding]:
    findings, done = [], set()
    trusted = seen.trust.copy()
    trusted[wrong] = 0
    for camera in wrong:
        if camera in done:
            continue
        trust = trusted.copy()
        trust[camera] = seen.trust[camera]
        own = Sightings(seen.pixels, trust, seen.size, seen.shape, seen.moments)
        finding = _swapped(evidence, model, own, camera) or _reading(evidence, model, own, camera, errors[camera])
        done |= {evidence.names.index(name) for name in finding.cameras}
        findings.append(finding)
    return findings


def _swapped(evidence: Evidence, model: Model, seen: Sightings, camera: int) -> Finding | None:
    """Whether the camera's pictures fit the pose of another."""
    fits = {}
    for other in range(len(evidence.names)):
        if other != camera:
            fits[other] = camera_error(model.with_camera(camera, model, other), seen, camera)
    known = {other: value for other, value in fits.items() if np.isfinite(value)}
    if not known or min(known.values()) > LIMIT:
        return None
    other = min(known, key=lambda c: known[c])
    names = (evidence.names[camera], evidence.names[other])
    found = f"the pictures of camera {names[0]} fit the pose of camera {names[1]} ({known[other]:.1f} %)"
    advice = "exchange their pictures or their calibrations: they were swapped (or one was copied)"
    return Finding("bad", "swapped_cameras", found, advice, names)


def _reading(evidence: Evidence, model: Model, seen: Sightings, camera: int, error: float) -> Finding:
    """What explains the error of one camera: a usual mistake, or a knock."""
    name, cameras = evidence.names[camera], evidence.capture.cameras
    found = f"camera {name} disagrees with the others by {error:.1f} % of the face's size"
    tried = []
    for reading in [*intrinsics_readings(cameras.width, cameras.height), *pose_readings()]:
        left = camera_error(model.with_camera(camera, reading.read(model), camera), seen, camera)
        tried.append((left, reading.kind, reading.mistake, reading.advice))
    mirrored = camera_error(model, mirrored_pictures(seen, cameras.width), camera)
    tried.append((mirrored, "mirrored_pictures", "mirrored pictures", "mirror its pictures back"))
    tried = [item for item in tried if item[0] < min(_AGREE, 0.4 * error)]
    if tried:
        left, kind, mistake, advice = min(tried)
        return Finding("bad", kind, f"{found}, but by {left:.1f} % if it has {mistake}", advice, (name,))
    change = smallest_correction(model, seen, camera)
    if change.left < max(_AGREE, 0.4 * error):
        moved = f"turned by {change.turn:.1f}°"
        if change.shift > 0:
            moved += f" and moved by {change.shift:.3g} (units of the world)"
        advice = f"it looks as if it had been {moved} after the calibration (or K is off): calibrate it again"
    else:
        advice = "its pose does not explain it: check K, the distortion and that it shows the same moment"
    return Finding("bad", "miscalibrated_camera", found, advice, (name,))


def _outlines(
    evidence: Evidence, model: Model, seen: Sightings, wrong: list[int], by_face: dict[int, float]
) -> list[Finding]:
    """Cameras that are not judged by a face, by their mattes: the worst first, as its matte misleads about the rest."""
    blind = [c for c in range(len(evidence.names)) if not np.isfinite(by_face.get(c, np.nan))]
    face = world_face(model, seen)
    if not blind or face is None:
        return []
    trusted = ~np.isin(np.arange(len(evidence.names)), wrong)
    rows = seen.moments[np.unique(np.linspace(0, len(seen.moments) - 1, 2).round().astype(int))]

    def sticking_out(without: int = -1) -> np.ndarray:
        some = trusted & (np.arange(len(trusted)) != without)
        each = [outline_errors(evidence, model, int(r), face.center, face.eyes, some) for r in rows]
        return np.nan_to_num(medians(np.array(each), 0))

    findings: list[Finding] = []
    while blind:
        errors = sticking_out()
        worst = max(blind, key=lambda camera: float(errors[camera]))
        if errors[worst] <= _STICKS_OUT:
            break
        blind.remove(worst)
        # What sticks out of the matte of one other alone may be that one's mistake.
        others = [camera for camera in blind if sticking_out(without=camera)[worst] <= _STICKS_OUT]
        trusted[[worst, *others]] = False
        name, names = evidence.names[worst], tuple(evidence.names[camera] for camera in (worst, *others))
        found = f"the head's outline in camera {name} sticks out of what the others see by {errors[worst]:.1f} %"
        found += f", or camera {listed(names[1:])} is the one that is wrong" if others else ""
        advice = "no face to measure by; calibrate it again, or check that its pictures are its own"
        findings.append(Finding("bad", "miscalibrated_camera", found, advice, names))
    return findings


def _photos(evidence: Evidence, model: Model, seen: Sightings, wrong: list[int]) -> list[Figure]:
    """What cameras see, and where the others say that it is."""
    points, _ = meet(model, seen)
    count = seen.shape[1]
    middle = len(seen.moments) // 2
    part = slice(middle * count, (middle + 1) * count)
    where = model.project(points[part])
    sighted = [c for c in range(len(evidence.names)) if np.isfinite(seen.size[c]) and c not in wrong]
    chosen = [*wrong[:_SHOWN], *sighted[:: max(len(sighted) // _SHOWN, 1)]][:_SHOWN]
    items = []
    for camera in chosen:
        if evidence.looks[seen.moments[middle]][camera].face is None:
            continue
        image = evidence.capture.image(int(evidence.timesteps[seen.moments[middle]]), camera).copy()
        radius = max(round(seen.size[camera] / 70), 1)
        known = np.isfinite(where[camera]).all(1) & (seen.trust[camera][part] > 0)
        for point, projected in zip(seen.pixels[camera][part][known], where[camera][known], strict=True):
            _dot(image, point, radius, (60, 220, 90))
            _dot(image, projected, radius, (255, 70, 60))
        items.append((f"camera {evidence.names[camera]}", image))
    return [Photos("Seen here (green) and where all cameras together say it is (red)", items)] if items else []


def _dot(image: np.ndarray, at: np.ndarray, radius: int, color: tuple[int, int, int]) -> None:
    if np.abs(at).max() < 1e5:
        cv2.circle(image, (round(float(at[0])), round(float(at[1]))), radius, color, -1, cv2.LINE_AA)


def _by_features(evidence: Evidence) -> Verdict:
    """Without faces: matched image features of neighbouring cameras."""
    why = evidence.no_face or "no two cameras see the face at once"
    found = feature_pairs(evidence)
    if not found:
        return unknown(f"{why}, and too few features of the pictures match")
    count = len(evidence.names)
    errors = np.full((count, count), np.nan)
    for (a, b), value in found.items():
        errors[a, b] = errors[b, a] = value
    each = np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in errors])
    wrong = np.flatnonzero(each > LIMIT_PIXELS)
    figures = [Matrix("Matched features from epipolar lines", evidence.names, errors, LIMIT_PIXELS, "pixels")]
    typical = float(np.nanmedian(list(found.values())))
    said = f"{why}; features of {len(found)} pairs of pictures lie {typical:.2f} pixels from their epipolar lines"
    if len(wrong) > 0.5 * np.isfinite(each).sum():
        advice = "most pairs disagree: check the axes of the cameras, K and the pictures' size"
        return Verdict([Finding("bad", "disagreement", said, advice, evidence.names)], figures)
    findings = [
        Finding(
            "bad",
            "miscalibrated_camera",
            f"features of camera {evidence.names[c]} lie {each[c]:.1f} pixels from their epipolar lines",
            "calibrate it again, or check that its pictures are its own",
            (evidence.names[c],),
        )
        for c in wrong
    ]
    return Verdict(findings or [Finding("ok", "", said)], figures)


CHECK = Check(60, "Agreement of cameras", "Do all cameras put the same points in the same place?", ask)
