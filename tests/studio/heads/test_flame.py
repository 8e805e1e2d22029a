"""FLAME, from files laid out as the original's (made of the built-in head, see ``flame_fixture``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.codes import ARKIT52, FLAME2020_100, Codes
from studio.errors import StudioError
from studio.heads import load_head
from studio.heads.flame import native
from studio.heads.flame_files import FlameFiles, read_flame
from studio.heads.mesh_codes import fit_codes
from studio.heads.model import JOINTS, HeadModel
from studio.rotations import axis_angle_to_matrix
from tests.studio.heads.flame_fixture import FACES, ORIGIN, arrays, write_hostile, write_pickle


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    path = tmp_path_factory.mktemp("flame") / "generic_model.pkl"
    return path, write_pickle(path, chumpy=True)


@pytest.fixture(scope="module")
def files(stored: tuple[Path, dict[str, np.ndarray]]) -> FlameFiles:
    return read_flame(stored[0])


@pytest.fixture(scope="module")
def own(files: FlameFiles) -> HeadModel:
    return native(files, load_head("procedural"))


def test_variables_and_sparse_matrices_are_read_as_arrays(
    stored: tuple[Path, dict[str, np.ndarray]], files: FlameFiles
) -> None:
    made = stored[1]
    assert files.edition == "2020"
    assert files.shapes.shape == (300, 5023, 3)
    assert files.expressions.shape == (100, 5023, 3)
    np.testing.assert_allclose(files.vertices, made["v_template"], atol=1e-6)
    np.testing.assert_allclose(files.regressor, made["J_regressor"], atol=1e-5)
    np.testing.assert_allclose(files.expressions[7], made["shapedirs"][..., 307], atol=1e-7)
    np.testing.assert_array_equal(files.faces, made["f"])


def test_an_npz_of_the_same_arrays_is_read_alike(tmp_path: Path, files: FlameFiles) -> None:
    np.savez(tmp_path / "flame2023_Open.npz", **arrays())  # type: ignore[arg-type]
    again = read_flame(tmp_path / "flame2023_Open.npz")
    assert again.edition == "2023"
    np.testing.assert_allclose(again.shapes, files.shapes)
    np.testing.assert_allclose(again.regressor, files.regressor, atol=1e-6)


def test_teeth_come_after_flames_own(own: HeadModel) -> None:
    assert len(own.template) == 5143
    assert len(own.faces) == FACES + 168 == 10144
    assert int(own.faces[:FACES].max()) < 5023
    middle = own.landmarks(own.template)[[13, 14]].mean(0)
    teeth = own.template[5023:]
    assert (teeth - middle).norm(dim=-1).max() < 0.04
    assert teeth[:, 2].max() < middle[2]
    weights = own.skin_weights[5023:]
    assert (weights[:60, JOINTS.index("head")] == 1).all()
    assert (weights[60:, JOINTS.index("jaw")] == 1).all()
    person = 0.7 * torch.randn(own.num_identity, generator=torch.Generator().manual_seed(0))
    moved = own.with_identity(person)
    lips = moved.landmarks(moved.template)[[13, 14]].mean(0)
    assert (moved.template[5023:].mean(0) - lips - (teeth.mean(0) - middle)).norm() < 0.003  # teeth go with the lips


def test_joints_and_points_lie_where_they_belong(own: HeadModel) -> None:
    donor = load_head("procedural")
    assert own.space == FLAME2020_100
    torch.testing.assert_close(own.joint_positions[1:], donor.joint_positions[1:], atol=1e-4, rtol=0)
    points = own.landmarks(own.template)
    away = (points - donor.landmarks(donor.template)).norm(dim=-1)
    assert away[:468].median() < 0.002
    assert away[468:].max() < 0.004
    assert points[473, 0] > 0 > points[468, 0]  # irises of the subject's left and right
    cells = own.face_region[own.landmark_faces]
    assert (cells[:468] == 0).all()
    assert set(cells[468:].tolist()) == {1, 2}


def test_it_poses_as_flame_does(own: HeadModel, files: FlameFiles) -> None:
    """Against skinning as FLAME's authors write it: root, neck, jaw and eyes in a chain (pose correctives left out)."""
    random = torch.Generator().manual_seed(1)
    codes = Codes.neutral(own.space)
    codes = replace(
        codes,
        expression=0.5 * torch.randn(100, generator=random),
        jaw_pose=torch.tensor([0.2, 0.02, 0.0]),
        neck_pose=torch.tensor([0.1, 0.2, -0.05]),
        eye_pose=torch.tensor([[0.1, 0.2, 0.0], [0.1, 0.2, 0.0]]),
    )
    shape = 0.5 * torch.randn(300, generator=random)
    found = own.vertices_head(shape, codes)[:5023].double().numpy()
    rest = files.vertices + np.tensordot(shape.numpy(), files.shapes, 1)
    joints = files.regressor @ rest
    rest = rest + np.tensordot(codes.expression.numpy(), files.expressions, 1)
    turns = [torch.zeros(3), codes.neck_pose, codes.jaw_pose, codes.eye_pose[0], codes.eye_pose[1]]
    chain: list[np.ndarray] = []
    for joint, (turn, parent) in enumerate(zip(turns, (-1, 0, 1, 1, 1), strict=True)):
        move = np.eye(4)
        move[:3, :3] = axis_angle_to_matrix(turn.double()).numpy()
        move[:3, 3] = joints[joint] - move[:3, :3] @ joints[joint]
        chain.append(move if parent < 0 else chain[parent] @ move)
    blended = np.einsum("vj,jab->vab", files.weights, np.stack(chain))
    posed = (blended[:, :3, :3] @ rest[..., None])[..., 0] + blended[:, :3, 3]
    back = np.linalg.inv(chain[1])  # the skull at rest, as head coordinates have it
    expected = posed @ back[:3, :3].T + back[:3, 3] - ORIGIN
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_arkits_channels_move_it_as_they_move_the_donor(
    stored: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import studio.assets

    monkeypatch.setattr(studio.assets, "asset_folders", lambda: [])
    head, donor = load_head("flame", stored[0]), load_head("procedural")
    assert head.space == ARKIT52
    for channel in ("jawOpen", "mouthSmileLeft", "browInnerUp", "mouthPucker"):
        codes = Codes.neutral(ARKIT52).with_channels(**{channel: 1.0})
        moves = [
            model.landmarks(model.vertices_head(torch.zeros(model.num_identity), codes))
            - model.landmarks(model.template)
            for model in (head, donor)
        ]
        alike = torch.nn.functional.cosine_similarity(moves[0][:468].flatten(), moves[1][:468].flatten(), dim=0)
        assert alike > 0.9, channel


def test_codes_go_to_flame_and_back(own: HeadModel) -> None:
    donor = load_head("procedural")
    codes = Codes.neutral(ARKIT52, (3,)).with_channels(
        jawOpen=torch.tensor([0.0, 0.5, 0.2]),
        mouthSmileLeft=torch.tensor([0.0, 0.0, 0.7]),
        browInnerUp=torch.tensor([0.0, 0.6, 0.0]),
        eyeLookOutLeft=torch.tensor([0.0, 0.0, 0.5]),
    )
    there, first = fit_codes(donor, own, codes)
    assert first.error < 0.4 * first.motion
    assert first.errors[0] < 1e-4  # rest stays rest
    assert there.eye_pose[2, 0, 1] == pytest.approx(0.3)  # 0.5 of 0.6 radians, to the subject's left
    back, _ = fit_codes(own, donor, there)
    for channel in ("jawOpen", "mouthSmileLeft", "browInnerUp", "eyeLookOutLeft"):
        index = ARKIT52.index(channel)
        assert (back.expression[:, index] - codes.expression[:, index]).abs().max() < 0.3, channel
    assert (back.expression >= 0).all()


@pytest.mark.parametrize("damage", ["posedirs", "kintree_table", "J_regressor", "f"])
def test_another_model_is_refused(damage: str, tmp_path: Path) -> None:
    made = dict(arrays())
    made[damage] = made[damage][:-1] if damage != "f" else made["f"] + 9000
    np.savez(tmp_path / "model.npz", **made)  # type: ignore[arg-type]
    with pytest.raises(StudioError, match="not a FLAME model"):
        read_flame(tmp_path / "model.npz")


def test_nothing_is_executed(tmp_path: Path) -> None:
    write_hostile(tmp_path / "flame.pkl", tmp_path / "touched")
    with pytest.raises(StudioError):
        read_flame(tmp_path / "flame.pkl")
    assert not (tmp_path / "touched").exists()


def test_a_file_that_is_cut_off_is_refused(stored: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    data = stored[0].read_bytes()
    (tmp_path / "cut.pkl").write_bytes(data[: len(data) // 2])
    with pytest.raises(StudioError):
        read_flame(tmp_path / "cut.pkl")
