"""Meshes of an avatar, opened by other libraries: names, shapes, weights, joints and times as the studio has them."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import trimesh

from recon.avatars import load_avatar
from recon.binding import compacted, sample_surface
from recon.bust import has_torso, with_bust
from recon.train import train
from recon.train_config import TrainConfig
from reenact.exporters import Subject, export
from reenact.exporters.glb import Glb
from reenact.exporters.obj import Obj
from reenact.exporters.usdz import Usdz, joint_paths
from reenact.mesh.person import matched, whole_head
from reenact.mesh.puppet import puppet_of
from reenact.mesh.surface import surface_of, with_all_uvs
from studio.codes import ARKIT52, CodeTrack
from studio.errors import StudioError
from studio.heads import load_head
from studio.heads.personal import with_offsets
from studio.provenance.claims import MODEL
from studio.provenance.seal import Claim, verify
from studio.rotations import axis_angle_to_matrix, rigid
from tests.node import node_package, run_node
from tests.recon.ball import ball_head, ball_track, write_ball_capture

TEXTURE = 64


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A ball of 300 Gaussians, and everything in motion."""
    folder = tmp_path_factory.mktemp("ball")
    capture = write_ball_capture(folder / "capture")
    run = train(capture, ball_track(), ball_head(), TrainConfig(gaussians=300, iterations=3), folder / "run")
    track, random = ball_track(), torch.Generator().manual_seed(0)

    def turns(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(len(track), *shape, generator=random)

    codes = replace(
        track.codes,
        neck_pose=turns(3),
        jaw_pose=turns(3),
        eye_pose=turns(2, 3),
        neck_translation=0.05 * turns(3),
        head_to_world=rigid(axis_angle_to_matrix(turns(3)), turns(3)),
    )
    codes = codes.with_channels(eyeLookOutLeft=0.5, eyeLookDownRight=0.25)
    claim = Claim(MODEL, consent="nobody")
    return Subject(load_avatar(run), "ball", replace(track, codes=codes), load_head=ball_head, claim=claim)


def _truth(subject: Subject, index: int) -> np.ndarray:
    """World positions [V, 3] of the studio's own mesh."""
    assert subject.track is not None
    return whole_head(subject).vertices(torch.zeros(0), subject.track.codes[index]).numpy()


def test_the_whole_head_is_found_again(subject: Subject) -> None:
    truth = ball_head().with_identity(torch.tensor([0.3])).template
    for avatar in (subject.avatar, replace(cast(Any, subject.avatar), shape=None)):
        found = whole_head(replace(subject, avatar=avatar)).template[: len(truth)]
        torch.testing.assert_close(found, truth, atol=1e-6, rtol=0)
    other = replace(subject, load_head=lambda: load_head("procedural"))
    with pytest.raises(StudioError, match="another head model; got procedural; expected ball"):
        whole_head(other)


def test_a_face_that_the_model_cannot_say_is_found_again(subject: Subject) -> None:
    """Landmarks that a track moved off the model; and of an avatar that did not keep its whole shape, what it has."""
    model = load_head("procedural")
    identity = torch.linspace(-1.5, 1.5, model.num_identity)
    alone = model.with_identity(identity)
    places = alone.landmarks(alone.template)
    offsets = 0.003 * torch.sin(40 * places)  # smooth over the face, up to 3 mm
    truth = with_offsets(alone, offsets)
    truth = truth if has_torso(truth) else with_bust(truth)
    assert float((truth.template[: len(alone.template)] - alone.template).norm(dim=-1).max()) > 0.002
    placed = sample_surface(truth, torch.ones(len(truth.faces)), 6000, torch.Generator().manual_seed(0))
    small, _ = compacted(truth, placed)
    avatar = replace(cast(Any, subject.avatar), head=small, head_hash=model.hash, shape=truth.template)
    torch.testing.assert_close(
        whole_head(replace(subject, avatar=avatar, load_head=lambda: model)).template, truth.template
    )
    before = replace(subject, avatar=replace(avatar, shape=None), load_head=lambda: model)
    found = whole_head(before)
    kept, index = matched(small, found)
    assert len(kept) > 0.4 * len(small.template)
    torch.testing.assert_close(small.template[kept], truth.template[index])  # none is taken for another
    torch.testing.assert_close(found.template[index], truth.template[index])
    face = torch.unique(truth.faces[truth.region_faces("face")])
    off = (found.template - truth.template)[face].norm(dim=-1)
    assert float(off.mean()) < 2e-4
    torch.testing.assert_close(found.joint_positions, truth.joint_positions)


def test_shoulders_get_a_place_of_their_own_in_the_texture(subject: Subject) -> None:
    head = with_all_uvs(whole_head(subject))
    corners = head.uvs[head.faces_uv]
    assert bool(((corners.amax(1) - corners.amin(1)).amax(1) > 0).all())
    assert float(head.uvs.min()) >= 0
    assert float(head.uvs.max()) <= 1
    torso = head.region_faces("torso")
    assert float(corners[torso][..., 1].min()) > 0.8 > float(corners[~torso][..., 1].max()) - 1e-6
    surface = surface_of(head)
    assert (surface.vertices[surface.faces] == head.faces.numpy()).all()
    np.testing.assert_allclose(surface.uvs[surface.faces], head.uvs[head.faces_uv], atol=0)


@pytest.fixture(scope="module")
def glb(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Glb(TEXTURE, "png"), subject, tmp_path_factory.mktemp("glb") / "ball.glb")


class _Gltf:
    """A glTF file as pygltflib reads it."""

    def __init__(self, path: Path) -> None:
        library = pytest.importorskip("pygltflib", reason="pygltflib is not installed")
        self.file: Any = library.GLTF2().load(str(path))
        self.blob = self.file.binary_blob()

    def values(self, index: int) -> np.ndarray:
        """An accessor as float64 [N, C], sparse or not."""
        accessor = self.file.accessors[index]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
        result = np.zeros((accessor.count, width))
        if accessor.bufferView is not None:
            result = self._array(accessor.bufferView, accessor.componentType, accessor.count * width).reshape(-1, width)
        if accessor.sparse is not None:
            sparse = accessor.sparse
            rows = self._array(sparse.indices.bufferView, sparse.indices.componentType, sparse.count).astype(int)
            stored = self._array(sparse.values.bufferView, accessor.componentType, sparse.count * width)
            result[rows] = stored.reshape(-1, width)
        return result

    def _array(self, view: int, kind: int, count: int) -> np.ndarray:
        dtype = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5121: "u1"}[kind]
        found = np.frombuffer(self.blob, dtype, count, self.file.bufferViews[view].byteOffset)
        return found.astype(np.float64)


def _matrix(place: np.ndarray, quat_xyzw: np.ndarray) -> np.ndarray:
    x, y, z, w = quat_xyzw
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = place
    return matrix


def _posed(gltf: _Gltf, frame: int) -> np.ndarray:
    """Vertices of a frame of the animation, by the rules of the glTF standard."""
    file, animation = gltf.file, gltf.file.animations[0]
    moved = {
        (channel.target.node, channel.target.path): gltf.values(animation.samplers[channel.sampler].output)
        for channel in animation.channels
    }
    primitive, skin = file.meshes[0].primitives[0], file.skins[0]
    weights = moved[(len(file.nodes) - 1, "weights")].reshape(-1, len(primitive.targets))[frame]
    points = gltf.values(primitive.attributes.POSITION)
    for weight, target in zip(weights, primitive.targets):
        points = points + weight * gltf.values(target["POSITION"] if isinstance(target, dict) else target.POSITION)
    worlds: dict[int, np.ndarray] = {}

    def visit(index: int, above: np.ndarray) -> None:
        node = file.nodes[index]
        place = moved[index, "translation"][frame] if (index, "translation") in moved else np.array(node.translation)
        worlds[index] = above @ _matrix(place, moved[index, "rotation"][frame])
        for child in node.children or []:
            visit(child, worlds[index])

    visit(skin.skeleton, np.eye(4))
    binds = gltf.values(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    transforms = np.stack([worlds[joint] @ bind for joint, bind in zip(skin.joints, binds)])
    joints, shares = gltf.values(primitive.attributes.JOINTS_0).astype(int), gltf.values(primitive.attributes.WEIGHTS_0)
    blended = (transforms[joints] * shares[..., None, None]).sum(1)
    return (blended[:, :3, :3] @ points[..., None])[..., 0] + blended[:, :3, 3]


def test_gltf_moves_as_the_studio_does(subject: Subject, glb: Path) -> None:
    gltf, vertices = _Gltf(glb), puppet_of(subject, TEXTURE, "glb").surface.vertices
    for frame in (0, 3, 7):
        np.testing.assert_allclose(_posed(gltf, frame), _truth(subject, frame)[vertices], atol=2e-6)


def test_gltf_has_the_names_and_times(subject: Subject, glb: Path) -> None:
    gltf = _Gltf(glb)
    assert gltf.file.meshes[0].extras["targetNames"] == list(ARKIT52.channels)
    assert [gltf.file.nodes[joint].name for joint in gltf.file.skins[0].joints] == [
        "torso",
        "head",
        "jaw",
        "eye_left",
        "eye_right",
    ]
    animation = gltf.file.animations[0]
    np.testing.assert_array_equal(gltf.values(animation.samplers[0].input)[:, 0], np.float32(np.arange(8) / 25.0))
    assert subject.track is not None
    weights = next(channel for channel in animation.channels if channel.target.path == "weights")
    stored = gltf.values(animation.samplers[weights.sampler].output).reshape(8, 52)
    np.testing.assert_array_equal(stored, subject.track.codes.expression.numpy())
    jaw = gltf.file.meshes[0].primitives[0].targets[ARKIT52.index("jawOpen")]
    moved = gltf.values(jaw["POSITION"] if isinstance(jaw, dict) else jaw.POSITION)
    assert moved[:, 1].min() == np.float32(-0.03)
    assert gltf.file.asset.extras["consent"] == "nobody"
    assert (verify(glb).state, verify(glb).claim) == ("intact", subject.claim)


def test_khronos_finds_no_fault(glb: Path, subject: Subject, tmp_path: Path) -> None:
    package = node_package("gltf-validator")
    still = export(Glb(TEXTURE), replace(subject, track=None), tmp_path / "still.glb")
    for path in (glb, still):
        script = (
            f"const v = require({json.dumps(str(package.resolve()))});"
            f"v.validateBytes(new Uint8Array(require('fs').readFileSync({json.dumps(str(path))})))"
            ".then(r => console.log(JSON.stringify(r.issues)))"
        )
        issues = json.loads(run_node("-e", script))
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"][:5]


def test_trimesh_opens_gltf_and_obj_with_their_texture(subject: Subject, glb: Path, tmp_path: Path) -> None:
    export(Obj(TEXTURE), replace(subject, frame=3), tmp_path / "ball.obj")
    for path in (glb, tmp_path / "ball.obj"):
        loaded: Any = trimesh.load(path, process=False, force="mesh")
        assert len(loaded.faces) == len(whole_head(subject).faces)
        material = loaded.visual.material
        image = getattr(material, "baseColorTexture", None) or material.image
        assert image.size == (TEXTURE, TEXTURE)
        assert np.asarray(image)[..., :3].std() > 5
    corners = loaded.vertices[loaded.faces].astype(np.float64)
    truth = _truth(subject, 3)[whole_head(subject).faces.numpy()]
    assert np.abs(np.sort(corners.mean(1), 0) - np.sort(truth.mean(1), 0)).max() < 2e-6  # OBJ groups by region


def test_usd_moves_as_the_studio_does(subject: Subject, tmp_path: Path) -> None:
    usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    from pxr import Gf, UsdGeom, UsdSkel

    path = export(Usdz(TEXTURE), subject, tmp_path / "ball.usdz")
    stage = usd.Stage.Open(str(path))
    assert (stage.GetTimeCodesPerSecond(), stage.GetEndTimeCode()) == (25.0, 7.0)
    assert (UsdGeom.GetStageUpAxis(stage), UsdGeom.GetStageMetersPerUnit(stage)) == ("Y", 1.0)
    root, mesh = UsdSkel.Root(stage.GetPrimAtPath("/avatar")), UsdGeom.Mesh(stage.GetPrimAtPath("/avatar/head"))
    assert UsdSkel.BindingAPI(mesh).GetBlendShapesAttr().Get() == list(ARKIT52.channels)
    assert UsdSkel.Skeleton(stage.GetPrimAtPath("/avatar/skeleton")).GetJointsAttr().Get() == joint_paths()
    # USD's own evaluation of shapes and skin, baked into points.
    assert UsdSkel.BakeSkinning(root, Gf.Interval(0, 7))
    vertices = puppet_of(subject, TEXTURE, "usdz").surface.vertices
    for frame in (0, 3, 7):
        points = np.array(mesh.GetPointsAttr().Get(frame))
        np.testing.assert_allclose(points, _truth(subject, frame)[vertices], atol=5e-5)
    assert [Path(name).name for name in zipfile.ZipFile(path).namelist()] == ["avatar.usdc", "texture.png"]


def test_usds_own_validators_find_no_fault(subject: Subject, tmp_path: Path) -> None:
    """All that come with USD, those of packages (.usdz) among them; and one of them does find a fault where one is."""
    usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    validation = pytest.importorskip("pxr.UsdValidation", reason="this usd-core has no validators")

    def faults(stage: Any) -> dict[str, str]:
        registry = validation.ValidationRegistry()
        context = validation.ValidationContext(registry.GetOrLoadAllValidators())
        return {str(error.GetIdentifier()): error.GetErrorAsString() for error in context.Validate(stage)}

    for name, track in (("moving", subject.track), ("still", None)):
        path = export(Usdz(TEXTURE), replace(subject, track=track), tmp_path / f"{name}.usdz")
        assert faults(usd.Stage.Open(str(path))) == {}
    wrong = usd.Stage.CreateNew(str(tmp_path / "wrong.usda"))
    wrong.DefinePrim("/a", "Mesh")
    wrong.ClearDefaultPrim()
    assert any("StageMetadataChecker" in name for name in faults(wrong))


def test_what_has_no_mesh_is_refused(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="has no mesh"):
        export(Glb(), replace(subject, load_head=None), tmp_path / "a.glb")
    with pytest.raises(StudioError, match="no such texture"):
        Glb(texture=3)
    assert not list(tmp_path.iterdir())


def test_a_frame_beyond_the_track_is_refused(subject: Subject, tmp_path: Path) -> None:
    assert isinstance(subject.track, CodeTrack)
    with pytest.raises(StudioError, match="no such frame; got 8; expected 0 to 7"):
        export(Obj(TEXTURE), replace(subject, frame=8), tmp_path / "a.obj")
