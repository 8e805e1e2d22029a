"""What every head model must be: of human size in our frame, with parts, joints, shapes and points in place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.assets import find_asset
from studio.cameras import intrinsics, orbit
from studio.codes import ARKIT52, Codes
from studio.heads import HEADS, load_head
from studio.heads import mediapipe_points as points
from studio.heads.model import JOINTS, LANDMARKS, HeadModel
from studio.kernels.mesh_render import render_mesh

PARTS = ("face", "scalp", "neck", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue", "mouth_interior")
LEFT = torch.tensor([1.0, 0.0, 0.0])


# FLAME brings a face only, from the user's file: tests/studio/heads/test_flame.py.
@pytest.fixture(scope="module", params=[name for name in HEADS if name not in ("auto", "flame")])
def head(request: pytest.FixtureRequest) -> HeadModel:
    if request.param == "ict" and find_asset("ict_facekit") is None:
        pytest.skip("ICT-FaceKit is not on this machine (set STUDIO_ASSETS)")
    return load_head(request.param)


def shape(head: HeadModel, **channels: float) -> torch.Tensor:
    """Vertices [V, 3] in the head frame with some channels set."""
    return head.vertices_head(torch.zeros(head.num_identity), Codes.neutral().with_channels(**channels))


def part(head: HeadModel, *names: str) -> torch.Tensor:
    """Vertex indices of some regions."""
    return torch.unique(head.faces[head.region_faces(*names)])


def test_it_is_in_metres_in_our_frame(head: HeadModel) -> None:
    eyes = head.joint_positions[[JOINTS.index("eye_left"), JOINTS.index("eye_right")]]
    assert torch.allclose(eyes.mean(0), torch.zeros(3), atol=1e-4)  # the origin is between the eyeballs
    assert 0.055 < (eyes[0] - eyes[1]).norm() < 0.072
    assert eyes[0, 0] > 0.02  # the left eye is at +x
    face = head.template[part(head, "face")]
    assert 0.12 < (face[:, 0].max() - face[:, 0].min()) < 0.20
    assert face[:, 2].max() == pytest.approx(head.template[:, 2].max().item())  # the nose points along +z
    assert 0.20 < head.template[part(head, "face", "scalp", "hair")][:, 1].max() - face[:, 1].min() < 0.40
    weights = head.skin_weights
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-5)
    assert weights.min() >= 0


def test_it_has_the_parts_and_every_face_belongs_to_one(head: HeadModel) -> None:
    assert set(PARTS) <= set(head.region_names)
    for name in PARTS:
        assert head.region_faces(name).any(), name
    assert head.face_region.min() >= 0
    assert head.face_region.max() < len(head.region_names)
    assert head.uvs[head.faces_uv].min() >= 0
    assert head.uvs[head.faces_uv].max() <= 1
    corners = head.template[head.faces]
    doubled = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    assert (doubled < 1e-10).float().mean() < 0.01  # next to no degenerate triangles


def test_faces_are_counter_clockwise_from_outside(head: HeadModel) -> None:
    for name, centre in (("scalp", torch.tensor([0.0, 0.02, -0.08])), ("eye_left", head.joint_positions[3])):
        corners = head.template[head.faces[head.region_faces(name)]]
        normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        outward = (normals * (corners.mean(1) - centre)).sum(1) > 0
        assert outward.float().mean() > 0.9, name


def test_every_channel_moves_the_face_unless_it_is_absent(head: HeadModel) -> None:
    assert head.space == ARKIT52
    reach = head.expression_basis.norm(dim=2).amax(1)
    turned_by_joint = {name for name in ARKIT52.channels if name.startswith("eyeLook")}
    still = {name for name, moved in zip(ARKIT52.channels, (reach > 0.001).tolist(), strict=True) if not moved}
    assert still - turned_by_joint == set(head.absent)
    assert reach.max() < 0.06
    for channel in ("mouthSmile", "eyeBlink", "browDown", "mouthUpperUp", "cheekSquint"):
        for side, sign in (("Left", 1), ("Right", -1)):
            moved = head.expression_basis[ARKIT52.index(channel + side)].norm(dim=1)
            middle = (moved[:, None] * head.template).sum(0) / moved.sum()
            assert sign * middle[0] > 0.008, channel + side


def test_left_and_right_channels_mirror_each_other(head: HeadModel) -> None:
    for name in (channel for channel in ARKIT52.channels if channel.endswith("Left") and channel not in head.absent):
        if name in ("jawLeft", "mouthLeft"):
            continue
        sizes = [
            head.expression_basis[ARKIT52.index(channel)].norm(dim=1).sum().item()
            for channel in (name, name.replace("Left", "Right"))
        ]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.1), name
    for name in ("jawLeft", "mouthLeft"):
        assert (head.expression_basis[ARKIT52.index(name)] @ LEFT).sum() > 0, name


def test_the_jaw_opens_downwards_and_takes_the_lower_teeth_along(head: HeadModel) -> None:
    opened = shape(head, jawOpen=1.0) - shape(head)
    assert opened[part(head, "teeth_lower"), 1].mean() < -0.008
    assert opened[part(head, "teeth_upper")].norm(dim=1).max() < 1e-3
    codes = replace(Codes.neutral(), jaw_pose=torch.tensor([0.2, 0.0, 0.0]))
    turned = head.vertices_head(torch.zeros(head.num_identity), codes) - shape(head)
    assert turned[part(head, "teeth_lower"), 1].mean() < -0.004
    assert turned[part(head, "scalp", "eye_left")].norm(dim=1).max() < 1e-3


def test_eyeballs_are_rigid_and_look_where_the_channels_say(head: HeadModel) -> None:
    iris = (
        head.landmarks(shape(head, eyeLookOutLeft=1.0, eyeLookInRight=1.0))[[473, 468]]
        - head.landmarks(shape(head))[[473, 468]]
    )
    assert (iris[:, 0] > 0.004).all()  # both look to the subject's left
    up = (
        head.landmarks(shape(head, eyeLookUpLeft=1.0, eyeLookUpRight=1.0))[[473, 468]]
        - head.landmarks(shape(head))[[473, 468]]
    )
    assert (up[:, 1] > 0.003).all()
    for name, joint in (("eye_left", 3), ("eye_right", 4)):
        ball, centre = part(head, name), head.joint_positions[joint]
        rest, turned = shape(head)[ball], shape(head, eyeLookOutLeft=0.8, eyeLookUpRight=0.7)[ball]
        assert torch.allclose((rest - centre).norm(dim=1), (turned - centre).norm(dim=1), atol=1e-5)


def test_the_neck_turns_the_torso_and_leaves_the_face(head: HeadModel) -> None:
    codes = replace(Codes.neutral(), neck_pose=torch.tensor([0.1, 0.3, 0.0]))
    moved = (head.vertices_head(torch.zeros(head.num_identity), codes) - shape(head)).norm(dim=1)
    assert moved[part(head, "eye_left", "teeth_upper", "mouth_interior")].max() < 1e-3
    lowest = head.template[:, 1] < head.template[:, 1].min() + 0.02
    assert moved[lowest].mean() > 0.01
    edges = torch.cat([head.faces[:, [0, 1]], head.faces[:, [1, 2]]])
    assert (moved[edges[:, 0]] - moved[edges[:, 1]]).abs().max() < 0.02  # nothing tears


def test_identities_differ_and_stay_human(head: HeadModel) -> None:
    assert head.num_identity >= 10
    assert len(set(head.identity_names)) == head.num_identity
    for seed in range(4):
        identity = torch.from_numpy(np.random.default_rng(seed).normal(0, 0.8, head.num_identity)).float()
        changed = head.with_identity(identity)
        distance = (changed.joint_positions[3] - changed.joint_positions[4]).norm()
        assert 0.05 < distance < 0.078
        moved = (changed.template - head.template).norm(dim=1)
        assert 0.001 < moved.mean() < 0.03
        codes = Codes.neutral().with_channels(jawOpen=0.4, eyeLookUpLeft=0.5)
        assert torch.allclose(changed.vertices(torch.zeros(0), codes), head.vertices(identity, codes), atol=1e-5)


def test_landmarks_lie_on_the_surface_in_order(head: HeadModel) -> None:
    assert head.landmark_valid.all()
    assert head.landmark_bary.min() >= 0
    assert torch.allclose(head.landmark_bary.sum(1), torch.ones(LANDMARKS), atol=1e-4)
    places = head.landmarks(head.template)
    chin, forehead, tip = places[152], places[10], places[4]
    assert chin[1] < -0.08
    assert forehead[1] > 0.04
    assert tip[2] > places[:468, 2].median() + 0.02
    assert places[points.EYE_CORNERS[1], 0] > 0.035
    assert places[points.EYE_CORNERS[0], 0] < -0.035
    iris = places[[points.IRIS_LEFT[0], points.IRIS_RIGHT[0]]]
    assert (iris[:, :2] - head.joint_positions[3:, :2]).norm(dim=1).max() < 0.004
    upper, lower = places[list(points.LIPS_INNER_UPPER[3:8]), 1], places[list(points.LIPS_INNER_LOWER[3:8]), 1]
    assert (upper >= lower - 5e-4).all()
    opened = head.landmarks(shape(head, jawOpen=0.8))
    assert (opened[13] - opened[14]).norm() > (places[13] - places[14]).norm() + 0.015
    small = head.landmark_submodel()
    assert torch.allclose(small.landmarks(small.template), places, atol=1e-6)


def test_it_looks_like_somebody(head: HeadModel) -> None:
    assert head.texture.ndim == 3
    camera = orbit(torch.zeros(3), 1.0, torch.tensor([0.0]), torch.tensor([0.0]), intrinsics(300.0, 128, 128), 128, 128)
    image = render_mesh(shape(head), head, camera).over(torch.ones(3))[0]
    assert image.std() > 0.1
    assert image.unflatten(0, (16, 8)).std() > 0.05
