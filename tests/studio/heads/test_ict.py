"""ICT-FaceKit: both forms of its files, its anatomy, and MediaPipe's points on it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.codes import ARKIT52, Codes
from studio.errors import StudioError
from studio.heads import ict, mediapipe_points
from studio.heads.ict_files import read_ict, read_obj
from studio.heads.model import HeadModel

QUAD = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvn 0 0 1\nusemtl skin\n"


@pytest.fixture(scope="module")
def compact(shared: Path) -> Path:
    return shared / "assets" / "ict_facekit" / "ict_facekit_light.npz"


@pytest.fixture(scope="module")
def head(compact: Path) -> HeadModel:
    return ict.load_ict(compact)


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the texture out, which takes most of the time."""
    monkeypatch.setattr(ict, "paint", lambda mesh: np.zeros((2, 2, 3), dtype=np.uint8))


def posed(head: HeadModel, **channels: float) -> torch.Tensor:
    codes = Codes.neutral().with_channels(**channels)
    return head.vertices_head(torch.zeros(head.num_identity), codes)


def test_obj_files_keep_their_order_and_materials(tmp_path: Path) -> None:
    path = tmp_path / "a mesh.obj"
    path.write_text(QUAD + "f 1/1/1 2/2/1 3/3/1 4/1/1\r\nusemtl hair\nf 1/1 2/2 3/3\n")
    mesh = read_obj(path)
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2, 3], [0, 1, 2, -1]]
    assert mesh.faces_uv.tolist() == [[0, 1, 2, 0], [0, 1, 2, -1]]
    assert mesh.materials.tolist() == ["skin", "hair"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (QUAD + "f 1/1 2/2\n", "faces of three or four corners with uvs"),
        (QUAD + "f 1 2 3\n", "faces of three or four corners with uvs"),
        (QUAD + "f 1/1 2/2 9/3\n", "a face beyond the vertices"),
        ("v 0 zero 0\n", "a bad 'v' line"),
    ],
)
def test_damaged_obj_files_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "bad.obj").write_text(text)
    with pytest.raises(StudioError, match=problem):
        read_obj(tmp_path / "bad.obj")


def test_the_original_folder_gives_the_same_head_as_the_compact_file(compact: Path) -> None:
    small, original = read_ict(compact), read_ict(compact.parent / "FaceXModel")
    assert np.array_equal(small.faces, original.faces)
    assert np.array_equal(small.faces_uv, original.faces_uv)
    assert np.array_equal(small.materials, original.materials)
    assert np.abs(small.vertices - original.vertices).max() == 0
    for name, offsets in original.expressions.items():
        assert np.abs(offsets - small.expressions[name]).max() < 2e-3  # the compact file holds float16
    assert len(original.missing) == 53 - 3 + 98
    assert "mouthSmile_R" in original.missing
    assert "identity042" in original.missing


@pytest.mark.usefixtures("unpainted")
def test_an_incomplete_folder_loads_and_says_what_is_missing(compact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = ict.load_ict(compact.parent / "FaceXModel")
    assert "148 shapes of ICT-FaceKit are missing and stay at zero (browDown_L" in capsys.readouterr().err
    assert head.num_identity == 2
    assert "mouthSmileLeft" not in head.absent
    assert {"tongueOut", "mouthSmileRight", "cheekPuff"} <= set(head.absent)


def test_what_is_not_the_model_is_refused(compact: Path, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=r"no ICT-FaceKit model in .*; expected ict_facekit_light.npz or generic"):
        ict.load_ict(tmp_path)
    with pytest.raises(StudioError, match="no such file"):
        ict.load_ict(tmp_path / "nothing.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(StudioError, match="expected the compact ICT-FaceKit npz"):
        ict.load_ict(tmp_path / "broken.npz")
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    for name in ("generic_neutral_mesh.obj", "vertex_indices.json"):
        shutil.copy(compact.parent / "FaceXModel" / name, folder)
    with pytest.raises(StudioError, match="got no jawOpen"):
        ict.load_ict(folder)


@pytest.mark.usefixtures("unpainted")
def test_channels_are_the_sums_of_their_sides(head: HeadModel, compact: Path) -> None:
    assert head.absent == ("tongueOut",)
    whole = head.expression_basis[ARKIT52.index("browInnerUp")]
    assert whole[head.template[:, 0] > 0.01].norm(dim=1).max() > 0.004
    assert whole[head.template[:, 0] < -0.01].norm(dim=1).max() > 0.004
    smile = head.expression_basis[ARKIT52.index("mouthSmileLeft")].norm(dim=1)
    assert head.template[smile.argmax(), 0] > 0.01  # the subject's left is +x
    files = read_ict(compact)
    missing = replace(files, expressions={name: files.expressions[name] for name in ("jawOpen",)})
    assert len(ict.assemble(missing).absent) == 51


def test_it_claims_no_torso_so_that_avatars_give_it_shoulders(head: HeadModel) -> None:
    assert "torso" not in head.region_names
    lowest = head.template[:, 1] < head.template[:, 1].min() + 0.03
    assert head.skin_weights[lowest, 1].min() > 0.95


def test_gaze_turns_the_eyeballs_and_leaves_their_shape(head: HeadModel) -> None:
    ball = torch.unique(head.faces[head.region_faces("eye_left")])
    centre = head.joint_positions[3]
    rest, turned = head.template[ball] - centre, posed(head, eyeLookOutLeft=1.0)[ball] - centre
    assert torch.allclose(torch.cdist(rest[:200], rest[:200]), torch.cdist(turned[:200], turned[:200]), atol=1e-5)
    apex = rest.norm(dim=1).argmax()
    angle = torch.atan2(turned[apex, 0], turned[apex, 2]) - torch.atan2(rest[apex, 0], rest[apex, 2])
    assert angle.item() == pytest.approx(0.6, abs=0.02)
    other = torch.unique(head.faces[head.region_faces("eye_right")])
    assert torch.equal(posed(head, eyeLookOutLeft=1.0)[other], posed(head)[other])


def test_the_jaw_joint_turns_the_lower_teeth_as_jaw_open_does(head: HeadModel) -> None:
    teeth = torch.unique(head.faces[head.region_faces("teeth_lower")])
    upper = torch.unique(head.faces[head.region_faces("teeth_upper")])
    by_shape = posed(head, jawOpen=1.0)
    codes = replace(Codes.neutral(), jaw_pose=torch.tensor([0.442, 0.0, 0.0]))
    by_joint = head.vertices_head(torch.zeros(head.num_identity), codes)
    assert (by_shape - by_joint)[teeth].norm(dim=1).max() < 0.002
    assert (by_joint - head.template)[teeth].norm(dim=1).mean() > 0.02
    assert (by_joint - head.template)[upper].norm(dim=1).max() < 1e-3


def test_landmarks_lie_where_their_names_say(head: HeadModel) -> None:
    assert head.landmark_valid.all()
    region = np.array(head.region_names)[head.face_region[head.landmark_faces].numpy()]
    assert set(region[list(mediapipe_points.IRIS_LEFT)]) == {"eye_left"}
    assert set(region[list(mediapipe_points.IRIS_RIGHT)]) == {"eye_right"}
    assert set(region[:468]) <= {"face", "neck", "scalp", "ear_left", "ear_right"}
    points = head.landmarks(head.template)
    irises = points[[mediapipe_points.IRIS_LEFT[0], mediapipe_points.IRIS_RIGHT[0]]]
    assert (irises[:, :2] - head.joint_positions[3:, :2]).norm(dim=1).max() < 0.0025
    lips = (mediapipe_points.LIPS_INNER_UPPER[1:-1], mediapipe_points.LIPS_INNER_LOWER[1:-1])
    for side, moves in zip(lips, (False, True), strict=True):
        opened = head.landmarks(posed(head, jawOpen=1.0))[list(side)] - points[list(side)]
        assert bool((opened.norm(dim=1) > 0.015).all()) == moves
    for upper, lower in (
        (mediapipe_points.LID_UPPER_LEFT, mediapipe_points.LID_LOWER_LEFT),
        (mediapipe_points.LID_UPPER_RIGHT, mediapipe_points.LID_LOWER_RIGHT),
    ):
        assert (points[list(upper[2:-2]), 1] > points[list(lower[2:-2]), 1] + 0.005).all()
        shut = head.landmarks(posed(head, eyeBlinkLeft=1.0, eyeBlinkRight=1.0))
        gap = (shut[list(upper[2:-2])] - shut[list(lower[2:-2])]).norm(dim=1)
        assert gap.max() < 0.004


def test_the_texture_shows_a_face(head: HeadModel) -> None:
    corners = head.uvs[head.faces_uv[head.landmark_faces]]
    uv = (corners * head.landmark_bary[..., None]).sum(1)
    height, width = head.texture.shape[:2]
    column, row = (uv * torch.tensor([width, height])).long().clamp(min=0).unbind(1)
    colour = head.texture[row.clamp(max=height - 1), column.clamp(max=width - 1)].float()
    cheek, lip, pupil = colour[205], colour[17 - 1], colour[468]
    assert cheek.mean() > 110
    assert lip[0] - lip[1] > cheek[0] - cheek[1]
    assert pupil.mean() < 60
