"""Faces that most cameras in front of them do not find, on exact sightings of an average face."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from capture.checking.evidence import Evidence
from capture.checking.face_points import INDICES, PLACES
from capture.checking.look import Look
from capture.checking.mistaken import without_mistaken_faces
from capture.landmarker import POINTS, Face
from studio.cameras import Camera, intrinsics, orbit

CAMERAS = 8
GOOD, BAD = {(0, 1): 0.3}, {(0, 1): 9.0}  # pixels from epipolar lines


def evidence_of(finding: set[int], features: dict[tuple[int, int], float]) -> Evidence:
    """Eight cameras within 35 degrees of the front, of which some find the face."""
    K = intrinsics(900.0, 512, 512)
    around = torch.linspace(-0.6, 0.6, CAMERAS)
    rig = orbit(torch.zeros(3), 1.0, around, torch.zeros(CAMERAS), K, 512, 512)
    rig = Camera(rig.viewmats, rig.Ks, 512, 512, tuple(f"{index}" for index in range(CAMERAS)))
    places = torch.from_numpy(PLACES).float()
    pixels, _ = rig.project(places)
    depths = torch.einsum("cij,pj->cpi", rig.viewmats[:, :3, :3], places)[..., 2:] * 900.0
    looks = []
    for camera, seen in enumerate(torch.cat((pixels, depths), dim=-1).numpy()):
        points = np.repeat(seen.mean(0, keepdims=True), POINTS, axis=0)
        points[INDICES] = seen
        face = Face(points.astype(np.float32), np.zeros(52, np.float32)) if camera in finding else None
        looks.append(Look("", face=face))
    return Evidence(SimpleNamespace(cameras=rig), np.arange(1), [looks], features=features)


@pytest.mark.parametrize("finding", [{3, 4}, {0, 4, 7}])
def test_what_few_cameras_in_front_take_for_a_face_is_none(finding):
    found = without_mistaken_faces(evidence_of(finding, GOOD))
    assert not found.sees_face.any()
    assert f"what {len(finding)} take for one, {CAMERAS - len(finding)} see none" in found.no_face
    assert found.features == GOOD


def test_what_most_cameras_find_is_a_face():
    evidence = evidence_of({0, 2, 3, 4, 6}, GOOD)
    assert without_mistaken_faces(evidence) is evidence


@pytest.mark.parametrize("features", [BAD, {}])
def test_faces_are_kept_where_the_calibration_is_not_known_to_be_right(features):
    """Nobody knows then which cameras are in front."""
    evidence = evidence_of({3, 4}, features)
    assert without_mistaken_faces(evidence) is evidence
    alone = evidence_of({3}, GOOD)
    assert without_mistaken_faces(alone) is alone
