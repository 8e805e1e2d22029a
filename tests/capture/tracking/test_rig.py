"""A face through several cameras: recovered from noisy landmarks, with bad views told from good ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.track import closures, errors, lip_gap, noisy_landmarks
from capture.landmarks import Landmarks
from capture.synthetic import SyntheticConfig, make_synthetic_capture
from capture.synthetic.make import make_subject
from capture.synthetic.rig import make_rig
from capture.synthetic.script import perform
from capture.tracking import TrackConfig, track_capture
from capture.tracking.faces import Faces, observe_rig
from capture.tracking.geometry import project
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.track import fit_landmarks
from capture.tracking.views import Views
from capture.triangulation import model_of, triangulate
from studio.cameras import Camera
from studio.captures import open_capture
from studio.codes import Codes
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.heads import load_head
from studio.heads.model import HeadModel
from studio.rotations import rigid, rigid_inverse

FRAMES, CAMERAS = 12, 6


@pytest.fixture(scope="module")
def person() -> tuple[HeadModel, torch.Tensor, Codes, Camera]:
    head, identity = make_subject("procedural", 1)
    codes = perform("expressions", 120, 25.0, 1).codes[::10]
    return head, identity, codes, make_rig(CAMERAS, 512)


@pytest.fixture(scope="module")
def found(person: tuple[HeadModel, torch.Tensor, Codes, Camera]) -> dict[int, Landmarks]:
    return noisy_landmarks(*person, 0.5, np.random.default_rng(0))


def fitted(person: tuple[HeadModel, torch.Tensor, Codes, Camera], faces: Faces) -> dict[str, float]:
    head, identity, codes, _ = person
    fit, _, _ = fit_landmarks(head, LandmarkBasis.of(head), faces, 25.0)
    still = Codes.neutral(head.space, (len(faces.known),))
    placed = replace(still, expression=fit.expression, head_to_world=rigid(fit.rotations, fit.translations))
    return errors(head, (fit.identity, placed), (identity, codes[faces.known]), torch.arange(len(faces.known)))


def test_a_face_is_recovered_from_noisy_views(
    person: tuple[HeadModel, torch.Tensor, Codes, Camera], found: dict[int, Landmarks]
) -> None:
    assert 4 <= len(found) <= CAMERAS  # the outermost do not see it from the front
    faces = observe_rig(found, LandmarkBasis.of(person[0]), person[3])
    assert faces.known.tolist() == list(range(FRAMES))
    error = fitted(person, faces)
    assert error["turn, degrees"] < 0.3
    assert error["shift, mm"] < 0.5
    assert error["face, mm"] < 1.0
    assert error["r of all weights"] > 0.95


def test_a_view_that_disagrees_has_no_say(
    person: tuple[HeadModel, torch.Tensor, Codes, Camera], found: dict[int, Landmarks]
) -> None:
    basis, bad = LandmarkBasis.of(person[0]), list(found)[1]
    wrong = replace(found[bad], points=found[bad].points + np.array([25.0, 10.0, 0.0], np.float32))
    faces = observe_rig({**found, bad: wrong}, basis, person[3])
    trust = faces.seen.trust.mean(0)
    assert trust[1] < 0.1 * trust.max()
    assert fitted(person, faces)["face, mm"] < 1.2


def test_frames_that_too_few_cameras_see_are_left_out(
    person: tuple[HeadModel, torch.Tensor, Codes, Camera], found: dict[int, Landmarks]
) -> None:
    def without(landmarks: Landmarks, frame: int) -> Landmarks:
        valid = landmarks.valid & (np.arange(FRAMES) != frame)
        return Landmarks(landmarks.points * valid[:, None, None], landmarks.scores * valid[:, None], valid)

    gone = {index: without(landmarks, 3) for index, landmarks in found.items()}
    faces = observe_rig(gone, LandmarkBasis.of(person[0]), person[3])
    assert faces.known.tolist() == [frame for frame in range(FRAMES) if frame != 3]
    points = faces.points(0, FRAMES)
    assert points.shape == (FRAMES, 478, 2)
    assert not points[3].any()


def test_closures_are_counted_where_lips_must_touch_and_where_they_must_not() -> None:
    phones = [("AA", 0.0, 0.4), ("P", 0.4, 0.48), ("AA", 0.48, 0.8), ("M", 0.8, 0.88), ("SIL", 0.88, 1.2)]
    gap = np.full(30, 0.1)  # at 25 frames a second
    gap[[11, 3, 25]] = 0.0  # within P, in a vowel, in silence
    hits, others = closures(gap, 25.0, phones)
    assert hits == [True, False]
    assert sum(others) == 1  # silence does not count
    points = torch.zeros(1, 478, 2)
    points[0, 263, 0], points[0, [14, 87, 317], 1] = 50.0, 5.0
    assert float(lip_gap(points)) == pytest.approx(0.1)


def test_a_rig_in_millimetres_is_refused(
    person: tuple[HeadModel, torch.Tensor, Codes, Camera], found: dict[int, Landmarks]
) -> None:
    rig = person[3]
    large = rig.viewmats.clone()
    large[:, :3, 3] *= 1000
    with pytest.raises(StudioError, match="not measured in metres"):
        observe_rig(found, LandmarkBasis.of(person[0]), replace(rig, viewmats=large))


def test_cameras_without_a_common_face_are_refused(
    person: tuple[HeadModel, torch.Tensor, Codes, Camera], found: dict[int, Landmarks]
) -> None:
    (index, landmarks), *_ = found.items()
    with pytest.raises(StudioError, match="do not agree"):
        observe_rig({index: landmarks}, LandmarkBasis.of(person[0]), person[3])


def test_views_agree_with_cameras_and_their_derivatives_with_differences() -> None:
    rig = make_rig(3, 256)
    views = Views.of(rig)
    points = 0.05 * torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    for frame, pixels in zip(points, views.project(points), strict=True):
        torch.testing.assert_close(pixels, rig.project(frame)[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(views.centers, rig.centers)
    exact = Views(views.Ks.double(), views.viewmats.double())
    analytic = exact.jacobian(exact.in_cameras(points.double()))
    numeric = torch.autograd.functional.jacobian(lambda p: exact.project(p).sum((0, 2)), points.double())
    torch.testing.assert_close(analytic, numeric.permute(2, 0, 3, 1, 4), atol=1e-6, rtol=1e-6)
    alone = Views.single(rig.Ks[0])
    torch.testing.assert_close(alone.project(points + 1), project(points + 1, rig.Ks[0])[:, None])


def test_rays_meet_where_the_points_are() -> None:
    rig = make_rig(5, 512)
    points = 0.05 * torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    pixels = rig.project(points)[0].double().numpy()
    pixels[2] += 40.0  # one camera is wrong
    places, missed = triangulate(model_of(rig), pixels, np.ones((5, 7)), np.full(5, 1.0))
    np.testing.assert_allclose(places, points.numpy(), atol=3e-4)
    assert missed[2].min() > 20
    alone = np.zeros((5, 7))
    alone[0] = 1.0
    assert np.isnan(triangulate(model_of(rig), pixels, alone, np.full(5, 1.0))[0]).all()


def test_a_rendered_rig_is_tracked_through_all_cameras(shared: Path, tmp_path: Path) -> None:
    config = SyntheticConfig(cameras=5, frames=5, size=192, script="expressions", supersample=1)
    capture = open_capture(make_synthetic_capture(tmp_path / "rig", config))
    folder = track_capture(capture, load_head("procedural"), TrackConfig())
    used = read_manifest(folder, kind="track").body["cameras"]
    assert len(used) >= 3
    track, truth = capture.track("fitted"), capture.track("truth")
    assert "views" in track.provenance["head"]
    moved = rigid_inverse(truth.codes.head_to_world) @ track.codes.head_to_world
    assert moved[:, :3, 3].norm(dim=-1).mean() < 0.006  # MediaPipe's own errors at so few pixels
