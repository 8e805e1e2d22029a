"""Rays, errors and readings of calibrations on exact sightings of a synthetic face."""

import numpy as np
import pytest
import torch

from capture.checking.face_points import PLACES, head_turn, similarity, yaw_pitch
from capture.checking.geometry import camera_errors, overall_error, pair_errors, smallest_correction, world_face
from capture.checking.readings import intrinsics_readings, mirrored_pictures, pose_readings
from capture.checking.sightings import Sightings, meet
from capture.synthetic.rig import make_rig
from capture.triangulation import Model


@pytest.fixture
def scene():
    """Six cameras round an average face in three places; what they see, exactly."""
    rig = make_rig(6, 512)
    viewmats = rig.viewmats.double().numpy()
    model = Model(viewmats[:, :3, :3].copy(), viewmats[:, :3, 3].copy(), rig.Ks.double().numpy())
    points = np.concatenate([PLACES + shift for shift in ((0, 0, 0), (0.01, 0.02, 0), (-0.02, 0, 0.01))])
    pixels = model.project(points)
    seen = Sightings(pixels, np.ones(pixels.shape[:2]), np.full(6, 200.0), (3, len(PLACES)), np.arange(3))
    return model, seen, points


def test_projection_is_the_studios_own(scene):
    _, seen, points = scene
    rig = make_rig(6, 512)
    pixels, _ = rig.project(torch.from_numpy(points).float())
    assert np.abs(pixels.numpy() - seen.pixels).max() < 2e-2


def test_rays_meet_in_the_points(scene):
    model, seen, points = scene
    found, errors = meet(model, seen)
    assert np.abs(found - points).max() < 1e-8
    assert np.nanmax(errors) < 1e-4
    assert np.nanmax(pair_errors(model, seen)) < 1e-4
    assert np.nanmax(camera_errors(model, seen)) < 1e-4


def test_a_turned_camera_is_the_one_that_errs_and_its_turn_is_measured(scene):
    from scipy.spatial.transform import Rotation

    model, seen, _ = scene
    turn = Rotation.from_rotvec(np.radians([0.9, -1.2, 0.0])).as_matrix()
    wrong = Model(turn @ model.rotations[3:4], model.shifts[3:4] @ turn.T, model.Ks[3:4])
    bad = model.with_camera(3, wrong, 0)
    errors = camera_errors(bad, seen)
    expected = 100 * np.tan(np.radians(1.5)) * model.focals[3] / 200
    assert errors[3] == pytest.approx(expected, rel=0.1)
    assert np.delete(errors, 3).max() < 0.5
    change = smallest_correction(bad, seen, 3)
    assert change.turn == pytest.approx(1.5, abs=0.1)
    assert change.left < 0.1


@pytest.mark.parametrize("reading", list(pose_readings()), ids=lambda reading: reading.kind)
def test_every_reading_of_poses_is_undone_by_its_name(reading, scene):
    """A file with the mistake, read with the correction of its name, is the true calibration."""
    model, seen, _ = scene
    if reading.kind.startswith("inverted_"):
        flip = np.diag(
            {"opengl": (1, -1, -1), "y_up": (1, -1, 1), "rolled": (-1, -1, 1), "backwards": (-1, 1, -1)}[
                reading.kind[9:]
            ]
        )
        rotations, shifts = flip @ model.rotations, model.shifts @ flip
        wrong = Model(rotations.transpose(0, 2, 1), -np.einsum("cji,cj->ci", rotations, shifts), model.Ks)
    else:
        wrong = reading.read(model)
    assert overall_error(reading.read(wrong), seen) < 1e-4


@pytest.mark.parametrize("reading", list(intrinsics_readings(512, 512)), ids=lambda reading: reading.kind)
def test_readings_of_K_change_nothing_else(reading, scene):
    model, _, _ = scene
    read = reading.read(model)
    assert (read.rotations == model.rotations).all()
    assert (read.Ks[:, 2] == model.Ks[:, 2]).all()


def test_the_face_in_the_world(scene):
    model, seen, _ = scene
    face = world_face(model, seen)
    assert face.up == pytest.approx([0, 1, 0], abs=1e-6)
    assert face.forward == pytest.approx([0, 0, 1], abs=1e-6)
    assert not face.mirrored
    assert face.eyes == pytest.approx(0.0868, abs=1e-3)
    mirror = np.diag([1.0, 1.0, -1.0])
    flipped = Model(model.rotations @ mirror, model.shifts, model.Ks)
    assert overall_error(flipped, seen) < 1e-5
    assert world_face(flipped, seen).mirrored


def test_mirrored_pictures_twice_are_the_pictures(scene):
    _, seen, _ = scene
    assert np.abs(mirrored_pictures(mirrored_pictures(seen, 512), 512).pixels - seen.pixels).max() < 1e-9


def test_similarity_and_turns():
    rng = np.random.default_rng(0)
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("yxz", [25, -10, 5], degrees=True).as_matrix()
    scale, rotation, shift, left = similarity(PLACES, 3.0 * PLACES @ turn.T + (1, 2, 3))
    assert (scale, left) == (pytest.approx(3.0), pytest.approx(0.0, abs=1e-9))
    assert rotation == pytest.approx(turn)
    assert shift == pytest.approx([1, 2, 3])
    assert similarity(PLACES, PLACES * (-1, 1, 1), mirrored=True)[3] < 1e-9
    from capture.checking.face_points import INDICES

    points = rng.normal(size=(478, 3)).astype(np.float32)
    image = np.array([1.0, -1.0, -1.0])
    points[INDICES] = 900 * (PLACES @ Rotation.from_euler("y", 30, degrees=True).as_matrix().T) * image + 256
    yaw, pitch = yaw_pitch(head_turn(points))
    assert yaw == pytest.approx(30, abs=0.1)
    assert pitch == pytest.approx(0, abs=0.1)
