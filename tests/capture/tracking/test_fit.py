"""Fitting a head model: recovery of known poses, expressions and gaze from its own landmarks, and small laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from capture.landmarks import Landmarks
from capture.tracking.face_fit import POSE, FaceFit, begin, fit_frames, fit_shared, step_in_range
from capture.tracking.gaps import fill_poses, fill_values
from capture.tracking.gaze import find_gaze, gaze_channels
from capture.tracking.geometry import moved, pose_jacobian, project, projection_jacobian
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.observe import observe, with_gaze
from capture.tracking.steady import steady
from capture.tracking.views import Views
from studio.cameras import Camera, intrinsics
from studio.codes import Codes
from studio.errors import StudioError
from studio.heads import load_head
from studio.heads.mediapipe_points import GROUPS
from studio.heads.model import HeadModel
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

T = 24
SHOWN = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp", "mouthPucker")


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("procedural")


@pytest.fixture(scope="module")
def person(head: HeadModel) -> tuple[torch.Tensor, Codes, Camera]:
    """An identity, T states in front of a camera, and the camera."""
    random = torch.Generator().manual_seed(0)
    codes = Codes.neutral(head.space, (T,))
    phase = torch.linspace(0, 6.28, T)
    values = {name: (0.3 + 0.3 * torch.sin(phase * (1 + 0.3 * k) + k)) for k, name in enumerate(SHOWN)}
    gaze = gaze_channels(head.space, torch.stack((0.25 * torch.sin(2 * phase), 0.1 * torch.cos(phase)), dim=-1))
    codes = codes.with_channels(**values)
    for index, value in gaze.items():
        codes.expression[:, index] = value
    turn = torch.stack((0.1 * torch.sin(phase), 0.3 * torch.cos(phase), 0.1 * torch.sin(2 * phase)), dim=-1)
    place = torch.stack((0.02 * torch.sin(phase), 0.01 * torch.cos(phase), -0.9 + 0.03 * torch.sin(phase)), dim=-1)
    codes = replace(codes, head_to_world=rigid(axis_angle_to_matrix(turn), place))
    camera = Camera(torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None], intrinsics(900.0, 512, 512)[None], 512, 512)
    return 0.7 * torch.randn(head.num_identity, generator=random), codes, camera


@pytest.fixture(scope="module")
def landmarks(head: HeadModel, person: tuple[torch.Tensor, Codes, Camera]) -> Landmarks:
    """What a detector without errors but with vague scores would report."""
    identity, codes, camera = person
    points = head.landmarks(head.vertices(identity, codes))
    pixels = [torch.cat((camera.project(frame)[0][0], frame[:, 2:] * -900 / 0.9), dim=-1) for frame in points]
    scores = codes.expression * 0.8 + 0.03
    return Landmarks(torch.stack(pixels).numpy(), scores.clamp(0, 1).numpy(), np.ones(T, bool))


@pytest.fixture(scope="module")
def fitted(head: HeadModel, person: tuple[torch.Tensor, Codes, Camera], landmarks: Landmarks) -> FaceFit:
    basis = LandmarkBasis.of(head)
    seen, depth_points = observe(landmarks, basis, Views.single(person[2].Ks[0]))
    fit = begin(basis, seen, depth_points)
    fit, _ = fit_frames(basis, seen, fit, rounds=3)
    fit = fit_shared(basis, seen, fit, free_focal=False)
    seen = with_gaze(seen, gaze_channels(head.space, find_gaze(head, landmarks, fit)))
    return fit_frames(basis, seen, fit)[0]


def test_exact_landmarks_are_explained(head: HeadModel, landmarks: Landmarks, fitted: FaceFit) -> None:
    basis = LandmarkBasis.of(head)
    error = np.linalg.norm(landmarks.points[:, basis.indices, :2] - fitted.pixels(basis)[:, 0].numpy(), axis=-1)
    assert error.mean() < 0.006 * landmarks.interocular().mean()


def test_poses_are_recovered(person: tuple[torch.Tensor, Codes, Camera], fitted: FaceFit) -> None:
    true = person[2].viewmats @ person[1].head_to_world
    difference = matrix_to_axis_angle(fitted.rotations @ true[:, :3, :3].transpose(1, 2))
    assert (difference - difference.mean(0)).norm(dim=-1).mean() < 0.015
    assert difference.norm(dim=-1).mean() < 0.05
    scale = (true[:, 2, 3] / fitted.translations[:, 2]).mean()  # one camera does not tell a large head far away
    assert 0.9 < float(scale) < 1.1
    shift = (fitted.translations * scale - true[:, :3, 3]).std(dim=0)
    assert (shift < torch.tensor([0.002, 0.002, 0.006])).all()


def test_expressions_are_recovered(
    head: HeadModel, person: tuple[torch.Tensor, Codes, Camera], fitted: FaceFit
) -> None:
    for name in SHOWN:
        index = head.space.index(name)
        pair = np.corrcoef(fitted.expression[:, index], person[1].expression[:, index])
        assert pair[0, 1] > 0.93, name
    assert (fitted.expression >= 0).all()
    assert (fitted.expression <= 1).all()


def test_a_step_within_the_range_is_the_best_one() -> None:
    """Against SciPy's bounded least squares, and with nothing at an end it is the plain solution."""
    random = torch.Generator().manual_seed(2)
    E = 9
    rows = torch.randn(20, 30, POSE + E, generator=random, dtype=torch.float64)
    rows[..., POSE + 1] = 0.9 * rows[..., POSE] + 0.1 * rows[..., POSE + 1]  # two channels that look alike
    errors = torch.randn(20, 30, generator=random, dtype=torch.float64)
    expression = torch.rand(20, E, generator=random, dtype=torch.float64).round(decimals=1) * 0.3
    information = rows.transpose(1, 2) @ rows
    gradient = (rows.transpose(1, 2) @ errors[..., None])[..., 0]
    steps = step_in_range(information, gradient, expression).double()
    free = torch.full((POSE,), torch.inf)
    for A, b, x, step in zip(rows, errors, expression, steps, strict=True):
        best = lsq_linear(A.numpy(), b.numpy(), (torch.cat((-free, -x)).numpy(), torch.cat((free, 1 - x)).numpy()))
        np.testing.assert_allclose(step.numpy(), best.x, atol=2e-4)
    middle = torch.full_like(expression, 0.5)
    small = gradient * 1e-3
    torch.testing.assert_close(
        step_in_range(information, small, middle).double(), torch.linalg.solve(information, small), atol=1e-6, rtol=1e-4
    )


def test_lips_are_as_open_as_they_are_seen(head: HeadModel, landmarks: Landmarks, fitted: FaceFit) -> None:
    basis = LandmarkBasis.of(head)
    upper, lower = basis.gaps[:7].unbind(-1)  # the pairs of the lips
    seen, placed = torch.from_numpy(landmarks.points[:, basis.indices, :2]), fitted.pixels(basis)[:, 0]
    error = (seen[:, upper] - seen[:, lower]) - (placed[:, upper] - placed[:, lower])
    assert error[..., 1].abs().mean() < 0.002 * landmarks.interocular().mean()


def test_lids_that_meet_are_seen_better_than_the_rims_of_open_ones(
    head: HeadModel, person: tuple[torch.Tensor, Codes, Camera], landmarks: Landmarks, fitted: FaceFit
) -> None:
    """A rim that lies too high moves open lids little, as long as the scores say nothing of it; closed ones close."""
    basis = LandmarkBasis.of(head)
    lids = basis.gap_slack > 0
    assert torch.isin(basis.indices[basis.gaps[lids]], torch.tensor(GROUPS["lids"])).all()
    assert torch.isin(basis.indices[basis.gaps[~lids]], torch.tensor(GROUPS["lips"])).all()
    seen, _ = observe(landmarks, basis, Views.single(person[2].Ks[0]))
    upper, lower = basis.gaps[lids].unbind(-1)
    wrong = seen.points.clone()
    wrong[..., upper, :] += 0.3 * (wrong[..., upper, :] - wrong[..., lower, :])  # rims are seen too far apart
    found, _ = fit_frames(basis, replace(seen, points=wrong), fitted)
    opening = [(p[..., upper, :] - p[..., lower, :]).norm(dim=-1) for p in (seen.points, wrong, found.pixels(basis))]
    missed = (opening[2] - opening[0]).mean() / (opening[1] - opening[0]).mean()
    assert 0 < missed < 0.7  # 0.84 if they were trusted like lips that meet
    together = seen.points.clone()
    together[..., upper, :] = together[..., lower, :] = 0.5 * (together[..., upper, :] + together[..., lower, :])
    closed, _ = fit_frames(basis, replace(seen, points=together), fitted)
    left = (closed.pixels(basis)[..., upper, :] - closed.pixels(basis)[..., lower, :]).norm(dim=-1)
    assert left.mean() < 0.03 * seen.units[0]


def test_irises_tell_the_gaze(
    head: HeadModel, person: tuple[torch.Tensor, Codes, Camera], landmarks: Landmarks, fitted: FaceFit
) -> None:
    def sideways(expression: torch.Tensor) -> np.ndarray:
        channel = [expression[:, head.space.index(f"eyeLook{way}Left")] for way in ("Out", "In")]
        return (channel[0] - channel[1]).numpy()

    turn = gaze_channels(head.space, find_gaze(head, landmarks, fitted))
    found = person[1].expression.clone()
    for index, value in turn.items():
        found[:, index] = value
    slope, _ = np.polyfit(sideways(person[1].expression), sideways(found), 1)
    assert 0.7 < slope < 1.3
    assert np.corrcoef(sideways(person[1].expression), sideways(found))[0, 1] > 0.97


def test_a_wrong_focal_length_is_mended(
    head: HeadModel, person: tuple[torch.Tensor, Codes, Camera], landmarks: Landmarks
) -> None:
    basis = LandmarkBasis.of(head)
    K = person[2].Ks[0].clone()
    K[0, 0] = K[1, 1] = 1250.0  # 900 in truth
    seen, depth_points = observe(landmarks, basis, Views.single(K))
    fit, _ = fit_frames(basis, seen, begin(basis, seen, depth_points), rounds=3)
    focal = float(fit_shared(basis, seen, fit, free_focal=True).K[0, 0])
    assert focal < 1200.0


def test_derivatives_agree_with_differences() -> None:
    random = torch.Generator().manual_seed(1)
    arms = torch.randn(1, 5, 3, generator=random, dtype=torch.float64) * 0.1
    place = torch.tensor([[0.02, -0.01, 0.9]], dtype=torch.float64)
    K = intrinsics(800.0, 512, 512).double()
    rotation = torch.eye(3, dtype=torch.float64)[None]

    def pixels(step: torch.Tensor) -> torch.Tensor:
        turned, shifted = moved(rotation, place, step[None])
        return project(arms @ turned.transpose(1, 2) + shifted[:, None], K)

    analytic = projection_jacobian(arms + place[:, None], K) @ pose_jacobian(arms)
    numeric = torch.autograd.functional.jacobian(pixels, torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(analytic, numeric, rtol=1e-6, atol=1e-6)


def test_a_head_without_landmarks_is_refused(head: HeadModel) -> None:
    blind = replace(head, landmark_valid=torch.zeros_like(head.landmark_valid))
    with pytest.raises(StudioError, match="cannot be tracked"):
        LandmarkBasis.of(blind)


def test_calming_keeps_a_blink_and_removes_jitter() -> None:
    random = torch.Generator().manual_seed(0)
    blink = torch.zeros(60, 1)
    blink[30], blink[31] = 1.0, 0.6
    values = blink + 0.02 * torch.randn(60, 1, generator=random)
    calm = steady(values, values / 0.05, reach=2)
    assert abs(float(calm[30] - values[30])) < 0.01
    quiet = torch.cat((torch.arange(0, 28), torch.arange(34, 60)))
    assert calm[quiet].std() < 0.75 * values[quiet].std()


def test_gaps_are_filled_along_the_shorter_way() -> None:
    known = np.array([1, 3])
    turns = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, -3.0]])  # 0.28 radians apart across pi
    poses = rigid(axis_angle_to_matrix(turns), torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]))
    filled = fill_poses(poses, known, 5)
    torch.testing.assert_close(filled[[1, 3]], poses, atol=1e-5, rtol=0)
    torch.testing.assert_close(filled[0], poses[0], atol=1e-5, rtol=0)
    assert abs(abs(float(matrix_to_axis_angle(filled[2, :3, :3])[2])) - np.pi) < 1e-3
    torch.testing.assert_close(filled[:, 0, 3], torch.tensor([0.0, 0.0, 1.0, 2.0, 2.0]))
    assert fill_values(torch.zeros(2, 2, 3), known, 5).shape == (5, 2, 3)
