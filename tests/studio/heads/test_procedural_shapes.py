"""The built-in head's 52 shapes: sides, symmetry, lids over eyeballs, lips that close, and no torn or folded skin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.codes import ARKIT_CHANNELS, Codes
from studio.heads.model import HeadModel
from studio.heads.procedural import build

MIDLINE = 0.012  # metres: how far a one-sided shape may reach across
SIDED = [name for name in ARKIT_CHANNELS if name.endswith("Left") and name not in ("jawLeft", "mouthLeft")]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return build()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """[N, M], exact (cdist's default goes through squares and loses a tenth of a millimetre)."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def posed(head: HeadModel, **channels: float) -> Tensor:
    codes = Codes.neutral(head.space)
    for name, value in channels.items():
        codes.expression[head.space.index(name)] = value
    return head.vertices_head(torch.zeros(head.num_identity), codes)


def skin(head: HeadModel) -> Tensor:
    return head.faces[head.region_faces("face", "neck", "scalp")]


def normals(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return torch.linalg.cross(b - a, c - a)


@pytest.mark.parametrize("name", ARKIT_CHANNELS)
def test_every_shape_moves_the_face_by_a_visible_amount(head: HeadModel, name: str) -> None:
    reach = head.expression_basis[head.space.index(name)].norm(dim=-1).max()
    assert 0.0006 < reach < 0.06


@pytest.mark.parametrize("name", SIDED)
def test_one_sided_shapes_stay_on_their_side(head: HeadModel, name: str) -> None:
    moved = head.expression_basis[head.space.index(name)].norm(dim=-1)
    other_side = head.template[:, 0] < -MIDLINE
    assert moved[other_side].max() < 2e-4


@pytest.mark.parametrize("name", [*SIDED, "jawLeft", "mouthLeft"])
def test_left_and_right_are_mirror_images(head: HeadModel, name: str) -> None:
    flip = torch.tensor([-1.0, 1.0, 1.0])
    used = torch.unique(skin(head))
    left = (head.template + head.expression_basis[head.space.index(name)])[used]
    right = (head.template + head.expression_basis[head.space.index(name.replace("Left", "Right"))])[used]
    assert distances(left * flip, right).min(1).values.max() < 2e-5


@pytest.mark.parametrize("name", ARKIT_CHANNELS)
def test_no_shape_folds_or_collapses_the_skin(head: HeadModel, name: str) -> None:
    faces = skin(head)
    jaw = {"jawOpen": 1.0} if name == "mouthClose" else {}  # which only has a meaning with an open jaw
    rest, moved = normals(head.template, faces), normals(posed(head, **{name: 1.0}, **jaw), faces)
    turned = torch.cosine_similarity(rest, moved, dim=-1)
    large = rest.norm(dim=-1) > 1e-7  # slivers in the corners of mouth and eyes may turn freely
    assert (turned[large] < -0.2).float().mean() < 0.002
    assert moved.norm(dim=-1).min() > 1e-11


def test_random_states_neither_tear_nor_collapse(head: HeadModel) -> None:
    generator = torch.Generator().manual_seed(0)
    faces = skin(head)
    edges = torch.cat([faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    for _ in range(10):
        active = (torch.rand(52, generator=generator) < 0.2).float()
        codes = Codes.neutral(head.space)
        codes.expression[:] = active * torch.rand(52, generator=generator) * 0.8
        identity = 0.8 * torch.randn(head.num_identity, generator=generator)
        vertices = head.vertices_head(identity, codes)
        assert torch.isfinite(vertices).all()
        assert (vertices[edges[:, 0]] - vertices[edges[:, 1]]).norm(dim=-1).max() < 0.06
        assert normals(vertices, faces).norm(dim=-1).min() > 1e-12


@pytest.mark.parametrize("amount", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_lids_stay_outside_the_eyeball_while_they_close(head: HeadModel, amount: float) -> None:
    vertices = posed(head, eyeBlinkLeft=amount)
    local = vertices - head.joint_positions[3]
    radius = (head.template[torch.unique(head.faces[head.region_faces("eye_left")])] - head.joint_positions[3]).norm(
        dim=-1
    )
    lid = torch.unique(skin(head))
    ahead = (local[lid, :2].norm(dim=-1) < 0.011) & (local[lid, 2] > 0)
    distance = local[lid][ahead].norm(dim=-1)
    visible = distance > radius.max() + 3e-4  # the rest is the inner edge, which lies on the eyeball
    assert visible.sum() > 20
    assert distance.min() > radius.max() - 0.0012


@pytest.mark.parametrize("parameter", [None, "eye_size", "eye_tilt", "eye_spacing"])
def test_closed_lids_cover_the_eyeball_seen_from_ahead(head: HeadModel, parameter: str | None) -> None:
    """Every front-facing point of the eyeball has skin ahead of it, for large and slanting eyes too."""
    identity = torch.zeros(head.num_identity)
    if parameter:
        identity[head.identity_names.index(parameter)] = 2.0
    person = head.with_identity(identity)
    vertices = posed(person, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    for index, name in ((3, "eye_left"), (4, "eye_right")):
        ball = vertices[torch.unique(head.faces[head.region_faces(name)])]
        front = ball[(ball - person.joint_positions[index])[:, 2] > 0.004]
        assert skin_ahead(vertices, skin(head), front).all()


def skin_ahead(vertices: Tensor, faces: Tensor, points: Tensor) -> Tensor:
    """[N] bool: a ray from the point along +z meets a triangle."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    p = points[:, None]

    def side(u: Tensor, v: Tensor) -> Tensor:
        return (v[:, 0] - u[:, 0]) * (p[..., 1] - u[:, 1]) - (v[:, 1] - u[:, 1]) * (p[..., 0] - u[:, 0])

    w = torch.stack((side(b, c), side(c, a), side(a, b)), dim=-1)
    total = w.sum(-1, keepdim=True)
    bary = w / torch.where(total.abs() < 1e-14, torch.ones_like(total), total)
    depth = (bary * torch.stack((a[:, 2], b[:, 2], c[:, 2]), dim=-1)).sum(-1)
    return ((bary >= -1e-4).all(-1) & (depth > p[..., 2])).any(1)


def test_jaw_open_opens_the_mouth_and_mouth_close_closes_it_again(head: HeadModel) -> None:
    def gap(**channels: float) -> float:
        points = head.landmarks(posed(head, **channels))
        return float((points[13] - points[14]).norm())

    assert gap() < 0.0025
    assert gap(jawOpen=1.0) > 0.03
    assert gap(jawOpen=1.0, mouthClose=1.0) < 0.005


def test_jaw_open_turns_lower_teeth_and_tongue_as_one(head: HeadModel) -> None:
    moved = posed(head, jawOpen=1.0)
    lower = torch.unique(head.faces[head.region_faces("teeth_lower", "tongue")])
    rest, now = head.template[lower], moved[lower]
    assert torch.allclose(distances(rest, rest), distances(now, now), atol=1e-4)
    upper = torch.unique(head.faces[head.region_faces("teeth_upper")])
    assert torch.equal(moved[upper], head.template[upper])


def test_tongue_comes_out(head: HeadModel) -> None:
    tongue = torch.unique(head.faces[head.region_faces("tongue")])
    lips = head.landmarks(posed(head, tongueOut=1.0))[[13, 14], 2].max()
    assert posed(head, tongueOut=1.0)[tongue, 2].max() > lips + 0.008
    assert head.template[tongue, 2].max() < lips


@pytest.mark.parametrize(
    ("name", "point", "axis", "sign"),
    [
        ("mouthSmileLeft", 291, 1, 1),
        ("mouthSmileLeft", 291, 0, 1),
        ("mouthFrownRight", 61, 1, -1),
        ("mouthPucker", 291, 0, -1),
        ("mouthPucker", 0, 2, 1),
        ("mouthStretchLeft", 291, 0, 1),
        ("mouthLeft", 0, 0, 1),
        ("jawRight", 152, 0, -1),
        ("jawForward", 152, 2, 1),
        ("browInnerUp", 107, 1, 1),
        ("browDownLeft", 334, 1, -1),
        ("browOuterUpRight", 70, 1, 1),
        ("eyeWideLeft", 386, 1, 1),
        ("eyeSquintLeft", 374, 1, 1),
        ("eyeLookDownRight", 159, 1, -1),
        ("eyeLookUpRight", 159, 1, 1),
        ("mouthUpperUpLeft", 312, 1, 1),
        ("mouthLowerDownLeft", 317, 1, -1),
        ("mouthRollLower", 17, 1, 1),
        ("mouthShrugLower", 14, 1, 1),
        ("noseSneerLeft", 327, 1, 1),
    ],
)
def test_shapes_mean_what_their_names_say(head: HeadModel, name: str, point: int, axis: int, sign: int) -> None:
    motion = head.landmarks(head.expression_basis[head.space.index(name)])[point, axis]
    assert sign * motion > 8e-4


def test_gaze_channels_turn_the_eyeballs_where_they_say(head: HeadModel) -> None:
    for name, point, axis, sign in (
        ("eyeLookOutLeft", 473, 0, 1),
        ("eyeLookInLeft", 473, 0, -1),
        ("eyeLookOutRight", 468, 0, -1),
        ("eyeLookUpLeft", 473, 1, 1),
        ("eyeLookDownRight", 468, 1, -1),
    ):
        motion = head.landmarks(posed(head, **{name: 1.0})) - head.landmarks(head.template)
        assert sign * motion[point, axis] > 0.004, name
