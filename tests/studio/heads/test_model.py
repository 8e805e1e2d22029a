"""Laws of the head model, on a small one made by hand: four triangles, one for each moving part."""

import math

import pytest
import torch

from studio.codes import ARKIT52, Codes, CodeSpace
from studio.errors import StudioError
from studio.heads.model import EYE_YAW_RADIANS, JOINTS, LANDMARKS, HeadModel, vertex_normals
from studio.rotations import axis_angle_to_matrix, rigid


@pytest.fixture(scope="module")
def head() -> HeadModel:
    """Twelve vertices: three each of skull, torso, jaw and left eye; two identities; random small shapes."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.01

    weights = torch.zeros(12, len(JOINTS), dtype=torch.float64)
    for vertex in range(12):
        weights[vertex, (0, 1, 2, 3)[vertex // 3]] = 1.0
    joints = torch.tensor([[0, 0, 0], [0, -0.15, -0.05], [0, -0.03, -0.06], [0.03, 0, 0], [-0.03, 0, 0]]).double()
    bary = torch.rand(LANDMARKS, 3, generator=generator, dtype=torch.float64)
    return HeadModel(
        name="handmade",
        space=ARKIT52,
        template=random(12, 3) * 10,
        identity_basis=random(2, 12, 3),
        identity_names=("wide", "long"),
        expression_basis=random(52, 12, 3),
        absent=(),
        joint_positions=joints,
        joint_identity_basis=random(2, len(JOINTS), 3),
        skin_weights=weights,
        faces=torch.arange(12).reshape(4, 3),
        uvs=torch.zeros(1, 2),
        faces_uv=torch.zeros(4, 3, dtype=torch.int64),
        face_region=torch.arange(4),
        region_names=("face", "torso", "teeth_lower", "eye_left"),
        texture=torch.zeros(1, 1, 3, dtype=torch.uint8),
        landmark_faces=torch.randint(4, (LANDMARKS,), generator=generator),
        landmark_bary=bary / bary.sum(1, keepdim=True),
        landmark_valid=torch.ones(LANDMARKS, dtype=torch.bool),
    )


def _codes(**changes: torch.Tensor) -> Codes:
    tensors = {name: value.double() for name, value in Codes.neutral().tensors().items()}
    return Codes(ARKIT52, **{**tensors, **{name: value.double() for name, value in changes.items()}})


NOBODY = torch.zeros(2, dtype=torch.float64)
SOMEBODY = torch.tensor([1.5, -0.5], dtype=torch.float64)


def test_at_rest_it_is_the_template(head):
    assert torch.allclose(head.vertices(NOBODY, _codes()), head.template)


def test_shapes_add_up(head):
    smile, jaw = (_codes().with_channels(**{name: 1.0}) for name in ("mouthSmileLeft", "cheekPuff"))
    both = _codes().with_channels(mouthSmileLeft=1.0, cheekPuff=1.0)
    rest = head.vertices(NOBODY, _codes())
    total = head.vertices(NOBODY, smile) + head.vertices(NOBODY, jaw) - rest
    assert torch.allclose(head.vertices(NOBODY, both), total)


def test_the_place_in_the_world_is_a_rigid_motion(head):
    turn = rigid(axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2]).double()), torch.tensor([1.0, 2.0, 3.0]).double())
    codes = _codes(jaw_pose=torch.tensor([0.2, 0.0, 0.0]), neck_pose=torch.tensor([0.1, 0.2, 0.0]))
    placed = Codes(ARKIT52, **{**codes.tensors(), "head_to_world": turn})
    expected = head.vertices(SOMEBODY, codes) @ turn[:3, :3].T + turn[:3, 3]
    assert torch.allclose(head.vertices(SOMEBODY, placed), expected)
    assert torch.allclose(head.vertices_head(SOMEBODY, placed), head.vertices_head(SOMEBODY, codes))


def test_the_neck_moves_the_torso_and_leaves_the_skull(head):
    moved = head.vertices(
        NOBODY, _codes(neck_pose=torch.tensor([0.0, 0.4, 0.0]), neck_translation=torch.tensor([0.0, 0.0, 0.01]))
    )
    assert torch.allclose(moved[:3], head.template[:3])
    pivot = head.joint_positions[JOINTS.index("torso")]
    back = axis_angle_to_matrix(torch.tensor([0.0, -0.4, 0.0]).double())
    expected = (head.template[3:6] - pivot) @ back.T + pivot + torch.tensor([0.0, 0.0, 0.01]).double()
    assert torch.allclose(moved[3:6], expected)


def test_the_jaw_turns_about_its_joint(head):
    moved = head.vertices(NOBODY, _codes(jaw_pose=torch.tensor([0.3, 0.0, 0.0])))
    pivot = head.joint_positions[JOINTS.index("jaw")]
    assert torch.allclose((moved[6:9] - pivot).norm(dim=-1), (head.template[6:9] - pivot).norm(dim=-1))
    assert not torch.allclose(moved[6:9], head.template[6:9])
    assert torch.allclose(moved[[0, 1, 2, 3, 4, 5, 9, 10, 11]], head.template[[0, 1, 2, 3, 4, 5, 9, 10, 11]])


def test_looking_out_turns_the_left_eye_to_the_subjects_left(head):
    codes = _codes().with_channels(eyeLookOutLeft=1.0)
    transform = head.joint_transforms(NOBODY, codes)[JOINTS.index("eye_left")]
    gaze = transform[:3, :3] @ torch.tensor([0.0, 0.0, 1.0]).double()
    assert torch.allclose(
        gaze, torch.tensor([math.sin(EYE_YAW_RADIANS), 0.0, math.cos(EYE_YAW_RADIANS)]).double(), atol=1e-7
    )
    up = head.joint_transforms(NOBODY, _codes().with_channels(eyeLookUpRight=1.0))[JOINTS.index("eye_right")]
    assert (up[:3, :3] @ torch.tensor([0.0, 0.0, 1.0]).double())[1] > 0.4


def test_opposite_looks_cancel(head):
    codes = _codes().with_channels(eyeLookInLeft=0.7, eyeLookOutLeft=0.7)
    transform = head.joint_transforms(NOBODY, codes)[JOINTS.index("eye_left")]
    assert torch.allclose(transform, torch.eye(4).double(), atol=1e-9)


def test_a_baked_identity_is_the_same_head(head):
    codes = _codes(jaw_pose=torch.tensor([0.1, 0.0, 0.0]), neck_pose=torch.tensor([0.0, 0.3, 0.0]))
    person = head.with_identity(SOMEBODY)
    assert person.num_identity == 0
    assert torch.allclose(person.vertices(NOBODY[:0], codes), head.vertices(SOMEBODY, codes))


def test_batches_are_their_single_states(head):
    states = [_codes().with_channels(jawOpen=0.1 * index, eyeLookUpLeft=0.2) for index in range(3)]
    batch = head.vertices(SOMEBODY, Codes.stack(states))
    assert torch.allclose(batch, torch.stack([head.vertices(SOMEBODY, state) for state in states]))


def test_the_landmark_model_has_the_same_landmarks(head):
    codes = _codes(jaw_pose=torch.tensor([0.2, 0.0, 0.0])).with_channels(jawOpen=0.5)
    small = head.landmark_submodel()
    full = head.landmarks(head.vertices(SOMEBODY, codes))
    assert full.shape == (LANDMARKS, 3)
    assert torch.allclose(small.landmarks(small.vertices(SOMEBODY, codes)), full)


def test_storage_is_a_round_trip(head):
    again = HeadModel.from_parts(ARKIT52, head.labels(), head.tensors())
    assert again.hash == head.hash
    assert again.labels() == head.labels()


def test_the_hash_is_of_geometry_and_names(head):
    other = HeadModel.from_parts(ARKIT52, {**head.labels(), "identity_names": ["wide", "tall"]}, head.tensors())
    moved = HeadModel.from_parts(ARKIT52, head.labels(), {**head.tensors(), "template": head.template + 1e-6})
    assert len({head.hash, other.hash, moved.hash}) == 3


def test_regions(head):
    assert head.region_faces("face", "eye_left", "hair").tolist() == [True, False, False, True]


def test_gradients_reach_every_code(head):
    tensors = {name: value.clone().requires_grad_() for name, value in _codes().tensors().items()}
    head.vertices(SOMEBODY, Codes(ARKIT52, **tensors)).square().sum().backward()
    assert all(value.grad is not None and bool(value.grad.isfinite().all()) for value in tensors.values())


def test_what_does_not_fit_is_refused(head):
    with pytest.raises(StudioError, match=r"skin_weights \(12, 4\); expected skin_weights \(12, 5\)"):
        HeadModel.from_parts(
            ARKIT52, head.labels(), {**head.tensors(), "skin_weights": head.skin_weights[:, :4].contiguous()}
        )
    other = CodeSpace("other", ARKIT52.channels)
    codes = Codes(other, **_codes().tensors())
    with pytest.raises(StudioError, match="of another space"):
        head.vertices(NOBODY, codes)


def test_normals_point_out_of_counter_clockwise_triangles():
    triangle = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    normals = vertex_normals(triangle, torch.tensor([[0, 1, 2]]))
    assert torch.allclose(normals, torch.tensor([0.0, 0.0, 1.0]).expand(3, 3))
