"""Tracking of a capture: codes of a head model for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from capture.landmarks import Landmarks, find_landmarks
from capture.stored_images import StoredImages
from capture.tracking.face_fit import (
    FaceFit,
    Observation,
    expression_precision,
    fit_frames,
    fit_shared,
    landmark_offsets,
    spread_frames,
)
from capture.tracking.faces import Faces, observe_alone, observe_rig
from capture.tracking.gaps import fill_poses, fill_values
from capture.tracking.gaze import gaze_channels, gaze_through
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.observe import with_gaze
from capture.tracking.patches import Patches
from capture.tracking.steady import steady
from capture.tracking.surface_alignment import POINTS, SkinPoints, align, anchored
from capture.tracking.torso import TorsoPictures, neck_codes, track_torso
from capture.tracking.views import Views
from studio.captures import Capture
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import content_hash, require_new
from studio.heads.mediapipe_points import GROUPS
from studio.heads.model import JOINTS, LANDMARKS, HeadModel
from studio.heads.personal import OFFSETS
from studio.logs import say
from studio.rotations import rigid

_REACH_SECONDS = 0.08  # over which a face that holds still is averaged
_CALM = 0.004  # of the distance of the eyes: noise of fitted landmarks
_RIG_LOOKS = 2  # crops of every picture of a rig
_RIG_POINTS = 1000  # on the skin, which many views see
_RIG_PRECISION = 0.1  # of the expressions by landmarks: those of all views share their mistakes
_ALIGNED = 48  # frames of a rig whose pictures are held at once
_FINE, _BROAD = 0.008, 0.12  # of the face's size: blurs between which the skin's detail is kept


@dataclass(frozen=True)
class TrackConfig:
    """How a capture is tracked.

    Args:
        name: name of the track within the capture.
        camera: index of the camera that is looked through; all calibrated cameras together when not given.
        align: move the head as the brightness of the skin says; by default where several cameras see it. With one, nods
            come out truer (synthetic truth: 0.03 instead of 0.04 rad), lips and lids of talking faces a little less
            exact, so that it is for heads that move a lot.
        torso: follow shoulders and clothes (needs mattes).
    """

    name: str = "fitted"
    camera: int | None = None
    align: bool | None = None
    torso: bool = True


def track_capture(capture: Capture, head: HeadModel, config: TrackConfig | None = None) -> Path:
    """Track the face and torso of a capture and write ``tracks/<name>``.

    Extras of the track: identity [I] in standard deviations, landmarks [T, 478, 2] pixels (zero without a face).

    Returns:
        The track's folder.

    Raises:
        StudioError: no face, a head model without MediaPipe's points, or a track of that name exists.
    """
    config = config or TrackConfig()
    folder = capture.folder / "tracks" / config.name
    require_new(folder, next=f"choose another name than {config.name}")
    basis = LandmarkBasis.of(head)
    faces = _look(capture, basis, config.camera)
    fit, seen, precision = fit_landmarks(head, basis, faces, capture.fps)
    errors = reprojection(basis, seen, fit)
    say(f"landmarks explained to {errors['all']['pixels']:.2f} pixels ({errors['all']['percent']:.2f} % of the eyes)")
    views = "" if len(faces.cameras) == 1 else f" of {len(faces.cameras)} views"
    provenance = {"expression": "landmarks" + views, "eyes": "irises", "head": "landmarks" + views}
    front, known = faces.front, faces.known
    images = _images(capture, faces.cameras[front], known.tolist())
    mismatch = None
    if len(faces.cameras) > 1 if config.align is None else config.align:
        fit, mismatch = _aligned(head, basis, capture, faces, seen, fit, precision)
        fit = _calmed(basis, fit, capture.fps)
        provenance["head"] += ", then brightness of the skin"
        if views:
            provenance["expression"] = provenance["head"]
    codes = replace(
        Codes.neutral(head.space, (len(known),)),
        expression=fit.expression,
        head_to_world=rigid(fit.rotations, fit.translations),
    )
    provenance["neck"] = "not tracked"
    if config.torso and capture.is_matted(faces.cameras[front]):
        mattes = StoredImages(lambda index: capture.matte(index, faces.cameras[front]), known.tolist())
        person = head.with_identity(fit.identity)
        pivot = person.joint_positions[JOINTS.index("torso")]
        in_camera = replace(codes, head_to_world=fit.views.viewmats[front] @ codes.head_to_world)
        shown = faces.landmarks[front].filled()
        moved, followed = with_torso(in_camera, images, mattes, shown, pivot, fit.views.Ks[front])
        codes = replace(codes, neck_pose=moved.neck_pose, neck_translation=moved.neck_translation)
        provenance["neck"] = "brightness and outline of the torso" if followed else "not tracked"
    codes = everywhere(codes, known, len(capture))
    valid = torch.zeros(len(capture), dtype=torch.bool)
    valid[known] = True
    offsets = np.zeros((LANDMARKS, 3), np.float32)
    offsets[basis.indices] = fit.offsets
    extras = {"identity": fit.identity.numpy(), OFFSETS: offsets, "landmarks": faces.points(front, len(capture))}
    track = CodeTrack(codes, capture.fps, valid, provenance, extras)
    parents = {capture.folder.name: content_hash(capture.folder)}
    report = {"head": head.name, "reprojection": errors, "skin_mismatch": mismatch}
    used = [capture.cameras.ids[index] for index in faces.cameras]
    track.save(folder, parents=parents, report={**report, "cameras": used})
    return folder


def _look(capture: Capture, basis: LandmarkBasis, camera: int | None) -> Faces:
    """The face through the chosen camera, or through all in which it is seen."""
    chosen = range(len(capture.cameras)) if camera is None else [camera]
    if len(chosen) == 1:
        return observe_alone(_landmarks(capture, chosen[0]), basis, Views.of(capture.cameras[chosen[0]]), chosen[0])
    found = {index: _rig_landmarks(capture, index) for index in chosen}
    showing = {index: landmarks for index, landmarks in found.items() if landmarks is not None}
    if not showing:
        raise StudioError(f"no camera of {capture.folder} sees a face", expected="a capture of a head")
    say(f"the face is seen by {len(showing)} of {len(chosen)} cameras")
    if len(showing) == 1:
        ((index, landmarks),) = showing.items()
        return observe_alone(landmarks, basis, Views.of(capture.cameras[index]), index)
    return observe_rig(showing, basis, capture.cameras)


def _rig_landmarks(capture: Capture, camera: int) -> Landmarks | None:
    """Of one camera of several, which may see the back of the head; fewer looks at each picture, as there are many."""
    images, named = _images(capture, camera, range(len(capture))), capture.cameras.ids[camera]
    try:
        found = find_landmarks(lambda: iter(images), len(images), capture.fps or 1.0, named=named, looks=_RIG_LOOKS)
    except StudioError as error:
        say(f"camera {named} is left out: {error.what}")
        return None
    return found if found.valid.any() else None


def _aligned(
    head: HeadModel,
    basis: LandmarkBasis,
    capture: Capture,
    faces: Faces,
    seen: Observation,
    fit: FaceFit,
    precision: Tensor,
) -> tuple[FaceFit, float]:
    """Heads as the skin in all views says, and how much of the skin's detail is left unexplained.

    The skin's look is learned on some frames; the others are aligned with it, a few at a time.
    """
    count, alone = len(faces.known), len(faces.cameras) == 1

    def patches(chosen: Tensor) -> list[Patches]:
        pixels = fit[chosen].pixels(basis).numpy()
        frames = faces.known[chosen.numpy()].tolist()
        return [
            _face_patches(_images(capture, camera, frames), pixels[:, view])
            for view, camera in enumerate(faces.cameras)
        ]

    few = torch.arange(count) if alone else spread_frames(count, _ALIGNED)
    points = POINTS if alone else _RIG_POINTS
    precision = precision if alone else _RIG_PRECISION * precision
    found = align(patches(few), SkinPoints.sample(head, fit, points), fit[few], precision[few])
    fit, level = replace(fit, identity=found.fit.identity), found.mismatch
    rest = torch.tensor([frame for frame in range(count) if frame not in set(few.tolist())], dtype=torch.int64)
    parts = [(few, found.fit)]
    for chosen in rest.split(_ALIGNED) if len(rest) else ():
        turned = align(patches(chosen), found.skin, fit[chosen], precision[chosen], found.brightness)
        parts.append((chosen, turned.fit))
    order = torch.cat([chosen for chosen, _ in parts]).argsort()
    rotations, translations, expression = (
        torch.cat([getattr(part, name) for _, part in parts])[order]
        for name in ("rotations", "translations", "expression")
    )
    fit = anchored(replace(fit, rotations=rotations, translations=translations, expression=expression), fit)
    if alone:
        # The skin tells how the head is turned; where lips and lids then are in the image, landmarks tell best.
        fit, _ = fit_frames(basis, seen, fit, hold_turns=True)
        return fit, level
    return replace(fit, offsets=landmark_offsets(basis, seen, fit)), level


def _landmarks(capture: Capture, camera: int) -> Landmarks:
    """Those that ingest kept, or found now (in captures that were not read from a video)."""
    path = capture.folder / "landmarks.npz"
    if path.exists():
        return Landmarks.load(path)
    images = _images(capture, camera, range(len(capture)))
    return find_landmarks(lambda: iter(images), len(images), capture.fps or 1.0, named=str(capture.folder))


def _images(capture: Capture, camera: int, timesteps: Sequence[int]) -> StoredImages:
    return StoredImages(lambda index: capture.image(index, camera), timesteps)


def fit_landmarks(
    head: HeadModel, basis: LandmarkBasis, faces: Faces, fps: float
) -> tuple[FaceFit, Observation, Tensor]:
    """Identity, and pose and expression of every frame; what was seen, with the gaze; precision of the expressions."""
    seen = faces.seen
    fit, _ = fit_frames(basis, seen, faces.start, rounds=3)
    fit = fit_shared(basis, seen, fit, free_focal=False)
    seen = with_gaze(seen, gaze_channels(head.space, gaze_through(head, faces.landmarks, seen.trust, fit)))
    fit, _ = fit_frames(basis, seen, fit)
    return _calmed(basis, fit, fps), seen, expression_precision(basis, seen, fit)


def _calmed(basis: LandmarkBasis, fit: FaceFit, fps: float) -> FaceFit:
    """The fit with expressions averaged over the moments in which the face holds still."""
    shapes = torch.einsum("te,end->tnd", fit.expression, basis.expression).flatten(1)
    noise = _CALM * float(torch.linalg.norm(basis.rest[:, 0].max() - basis.rest[:, 0].min()))
    reach = max(round(_REACH_SECONDS * fps), 1)
    return replace(fit, expression=steady(fit.expression, shapes / noise, reach))


def _face_patches(images: Sequence[np.ndarray], points: np.ndarray) -> Patches:
    """Windows about the face's points [T, N, 2] in the pictures of one camera."""
    low, high = points.min(axis=1), points.max(axis=1)
    face = float(np.median((high - low).max(axis=1)))
    side = int(np.ceil((high - low).max() * 1.25)) + 4
    corners = np.floor(0.5 * (low + high) - 0.5 * side)
    grays = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    return Patches.cut(grays, corners, side, _FINE * face, _BROAD * face)


def with_torso(
    codes: Codes,
    images: Sequence[np.ndarray],
    mattes: Sequence[np.ndarray],
    landmarks: Landmarks,
    pivot: Tensor,
    K: Tensor,
) -> tuple[Codes, bool]:
    """Codes (heads in camera coordinates) with the neck's channels, and whether a torso was there to follow."""
    chin = int(np.clip(np.median(landmarks.points[:, 152, 1]), 0, len(images[0]) - 2))
    motion = track_torso(TorsoPictures.cut(images, mattes, chin), landmarks.points)
    if motion is None:
        return codes, False
    pose, translation = neck_codes(motion, codes.head_to_world, pivot, K)
    return replace(codes, neck_pose=pose, neck_translation=translation), True


def everywhere(codes: Codes, known: np.ndarray, count: int) -> Codes:
    """Codes [count] with the frames between the known ones filled in."""
    tensors = {name: fill_values(value, known, count) for name, value in codes.tensors().items()}
    tensors["head_to_world"] = fill_poses(codes.head_to_world, known, count)
    return Codes(codes.space, **tensors)


def reprojection(basis: LandmarkBasis, seen: Observation, fit: FaceFit) -> dict[str, Any]:
    """Mean distance of seen and fitted landmarks: pixels and percent of the inter-ocular distance, per region."""
    trust = (seen.trust / seen.trust.sum())[..., None]
    distance = (seen.points - fit.pixels(basis)).norm(dim=-1)
    error = (distance * trust).sum((0, 1))
    relative = (distance / seen.units[:, None] * trust).sum((0, 1))
    groups = {"all": tuple(basis.indices.tolist())} | {name: GROUPS[name] for name in GROUPS if name != "irises"}
    result = {}
    for name, wanted in groups.items():
        chosen = torch.isin(basis.indices, torch.tensor(wanted))
        pixels, percent = float(error[chosen].mean()), 100 * float(relative[chosen].mean())
        result[name] = {"pixels": round(pixels, 3), "percent": round(percent, 3)}
    return result
