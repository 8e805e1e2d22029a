"""How the calibration must be read: axes of the cameras, handedness, up and unit of the world."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.face_points import OUTER_EYES_METRES
from capture.checking.finding import Finding, Verdict, unknown
from capture.checking.geometry import WorldFace, mean_error, overall_error, world_face
from capture.checking.readings import Reading, intrinsics_readings, mirrored_pictures, pose_readings
from capture.checking.sightings import Sightings, sightings
from capture.checks import Check
from capture.triangulation import Model, model_of

AGREE = 3.0  # percent of the face's size: cameras that err less agree
_BETTER = 0.5  # another reading must halve the error
_UNITS = {1e3: "millimetres", 1e2: "centimetres", 10.0: "decimetres"}
_SIZE_SPREAD = 1.5  # factor by which a face may be larger or smaller than the average


def ask(evidence: Evidence) -> Verdict:
    if len(evidence.names) < 2:
        return unknown("one camera only")
    if evidence.no_face:
        return unknown(evidence.no_face)
    seen = sightings(evidence)
    if seen is None:
        return unknown("no two cameras see the face at once")
    model = model_of(evidence.capture.cameras)
    error = overall_error(model, seen)
    if not np.isfinite(error):
        return unknown("too few points are seen by two cameras")
    face = world_face(model, seen)
    plain = error < AGREE and face is not None and not face.mirrored
    better = None if plain and mean_error(model, seen) < AGREE else _explained(evidence, model, seen, error, face)
    if plain and face is not None and (better is None or better.kind == "disagreement"):
        findings = [*_up(face), *_unit(evidence, face)]
        said = (
            f"cameras agree to {error:.1f} % of the face's size; the face is {100 * face.eyes:.1f} cm across the eyes"
        )
        return Verdict(findings or [Finding("ok", "", said)])
    assert better is not None
    return Verdict([better])


def _explained(evidence: Evidence, model: Model, seen: Sightings, error: float, face: WorldFace | None) -> Finding:
    """The reading of the calibration under which the cameras agree about a face that is not mirrored."""
    cameras = evidence.capture.cameras
    limit = min(AGREE, _BETTER * mean_error(model, seen))
    tried = []
    for reading in [
        *pose_readings(),
        *intrinsics_readings(cameras.width, cameras.height),
        *_both(cameras.width, cameras.height),
    ]:
        read = reading.read(model)
        left = mean_error(read, seen)
        if left < limit:
            found = world_face(read, seen)
            if found is not None:
                tried.append((found.mirrored, left, reading))
    mirrored = mirrored_pictures(seen, cameras.width)
    left, found = mean_error(model, mirrored), world_face(model, mirrored)
    if left < limit and found is not None:
        reading = Reading("mirrored_pictures", "mirrored pictures", "mirror them back", lambda m: m)
        tried.append((found.mirrored, left, reading))
    whole = f"cameras disagree by {error:.1f} % of the face's size"
    proper = [item for item in tried if not item[0]]
    if proper:
        _, left, reading = min(proper, key=lambda item: item[1])
        return Finding(
            "bad", reading.kind, f"{whole}, but by {left:.1f} % if these are {reading.mistake}", reading.advice
        )
    if error < AGREE and face is not None and face.mirrored:
        advice = "the world is left-handed: negate one axis of the world (a column of the rotations), and of all tracks"
        return Finding("bad", "handedness", "the cameras agree about a mirror image of the face", advice)
    if tried:
        _, left, reading = min(tried, key=lambda item: item[1])
        text = f"{whole}, but by {left:.1f} % in a left-handed world of {reading.mistake}"
        return Finding("bad", "handedness", text, f"{reading.advice}; then negate one axis of the world")
    advice = "no usual convention explains it: does the calibration belong to this recording, in this order of cameras?"
    return Finding("bad", "disagreement", whole, advice)


def _both(width: int, height: int) -> Iterator[Reading]:
    """Mistakes in axes and K at once: the pictures' size and OpenGL's axes are often mistaken together."""
    for pose in pose_readings():
        if pose.kind in ("axes_opengl", "inverted_opengl", "inverted"):
            for inner in intrinsics_readings(width, height):
                yield Reading(
                    f"{pose.kind}+{inner.kind}",
                    f"{pose.mistake}, and {inner.mistake}",
                    f"{pose.advice}; {inner.advice}",
                    lambda model, pose=pose, inner=inner: inner.read(pose.read(model)),  # type: ignore[misc]
                )


def _up(face: WorldFace) -> list[Finding]:
    if face.up[1] > np.cos(np.radians(55)):
        return []
    axis = int(np.abs(face.up).argmax())
    name = f"{'-' if face.up[axis] < 0 else '+'}{'xyz'[axis]}"
    advice = "y up is expected: turn the world, or view and orbit cameras will lie on their side"
    return [Finding("note", "world_up", f"the face's top points along {name} of the world", advice)]


def _unit(evidence: Evidence, face: WorldFace) -> list[Finding]:
    """Metres are expected, unless the capture says that its unit is its own."""
    ratio = face.eyes / OUTER_EYES_METRES
    if 1 / _SIZE_SPREAD < ratio < _SIZE_SPREAD or "unit of the source" in evidence.capture.manifest.units:
        return []
    unit = next((name for scale, name in _UNITS.items() if 1 / _SIZE_SPREAD < ratio / scale < _SIZE_SPREAD), None)
    said = f" (it is in {unit})" if unit else ""
    text = f"the outer eye corners are {face.eyes:.3g} units apart, {ratio:.3g} times as many as in metres{said}"
    return [Finding("bad", "world_unit", text, f"divide all positions by {ratio:.3g}: metres are expected")]


CHECK = Check(50, "Conventions", "Are axes, handedness and unit of the calibration those that are expected?", ask)
