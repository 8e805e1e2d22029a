"""The head as a USD package (UsdSkel): baked texture, ARKit's shapes, a skeleton, and a motion; through usd-core.

Metres, y up, the face looks along z. Time codes are frames, at the track's rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from reenact.exporters import Subject
from reenact.mesh.puppet import Puppet, puppet_of
from reenact.mesh.skeleton import PARENTS
from studio.errors import StudioError
from studio.media.whole_files import whole_file

_ROOT = "/avatar"
_LAYER, _IMAGE = "avatar.usdc", "texture.png"


@dataclass(frozen=True)
class Usdz:
    """USD package.

    Args:
        texture: width and height of the texture.
    """

    texture: int = 1024
    endings: ClassVar[tuple[str, ...]] = (".usdz",)

    def write(self, subject: Subject, out: Path) -> None:
        """Write the head, with the subject's motion if it has one."""
        _pxr("Usd")
        write_usdz(out, puppet_of(subject, self.texture, "usdz"))


def _pxr(name: str) -> Any:
    try:
        return import_module(f"pxr.{name}")
    except ImportError as error:
        raise StudioError(
            "USD needs the package usd-core", got="not installed", next='pip install "head-avatar-studio[formats]"'
        ) from error


def write_usdz(path: Path, puppet: Puppet) -> None:
    """Write a puppet as .usdz, whole or not at all."""
    usd, utils = _pxr("Usd"), _pxr("UsdUtils")
    with TemporaryDirectory(prefix="usd") as work, whole_file(path) as temporary:
        folder = Path(work)
        (folder / _IMAGE).write_bytes(puppet.texture_file(".png"))
        stage = usd.Stage.CreateNew(str(folder / _LAYER))
        _describe(stage, puppet)
        _add_mesh(stage, puppet)
        _add_material(stage)
        _add_skeleton(stage, puppet)
        if puppet.track is not None:
            _add_motion(stage, puppet)
        stage.GetRootLayer().Save()
        if not utils.CreateNewUsdzPackage(_pxr("Sdf").AssetPath(str(folder / _LAYER)), str(temporary)):
            raise StudioError(f"cannot write {path}", got="an error of usd-core")


def joint_paths() -> list[str]:
    """The joints as USD names them: with all that they hang on."""
    paths: dict[str, str] = {}
    for name, parent in PARENTS.items():
        paths[name] = f"{paths[parent]}/{name}" if parent else name
    return list(paths.values())


def _describe(stage: Any, puppet: Puppet) -> None:
    geom = _pxr("UsdGeom")
    geom.SetStageUpAxis(stage, geom.Tokens.y)
    geom.SetStageMetersPerUnit(stage, 1.0)
    root = _pxr("UsdSkel").Root.Define(stage, _ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    note = {"name": puppet.name, **puppet.note}
    stage.GetRootLayer().customLayerData = note
    if puppet.track is not None:
        stage.SetTimeCodesPerSecond(puppet.track.fps)
        stage.SetFramesPerSecond(puppet.track.fps)
        stage.SetStartTimeCode(0)
        stage.SetEndTimeCode(len(puppet.track) - 1)


def _add_mesh(stage: Any, puppet: Puppet) -> None:
    geom, skel, types, vt = _pxr("UsdGeom"), _pxr("UsdSkel"), _pxr("Sdf").ValueTypeNames, _pxr("Vt")
    mesh, surface = geom.Mesh.Define(stage, f"{_ROOT}/head"), puppet.surface
    points = vt.Vec3fArray.FromNumpy(puppet.positions)
    mesh.CreatePointsAttr(points)
    mesh.CreateExtentAttr(geom.PointBased.ComputeExtent(points))
    mesh.CreateNormalsAttr(vt.Vec3fArray.FromNumpy(puppet.normals))
    mesh.SetNormalsInterpolation(geom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(geom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    mesh.CreateFaceVertexCountsAttr(vt.IntArray.FromNumpy(np.full(len(surface.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(vt.IntArray.FromNumpy(surface.faces.astype(np.int32).reshape(-1)))
    st = geom.PrimvarsAPI(mesh).CreatePrimvar("st", types.TexCoord2fArray, geom.Tokens.vertex)
    flipped = np.stack((surface.uvs[:, 0], 1 - surface.uvs[:, 1]), axis=1)  # USD counts from the bottom
    st.Set(vt.Vec2fArray.FromNumpy(np.ascontiguousarray(flipped)))
    binding = skel.BindingAPI.Apply(mesh.GetPrim())
    joints, identity = len(PARENTS), _pxr("Gf").Matrix4d(1.0)
    indices = np.tile(np.arange(joints, dtype=np.int32), len(puppet.positions))
    binding.CreateJointIndicesPrimvar(False, joints).Set(vt.IntArray.FromNumpy(indices))
    weights = np.ascontiguousarray(puppet.skin.reshape(-1))
    binding.CreateJointWeightsPrimvar(False, joints).Set(vt.FloatArray.FromNumpy(weights))
    binding.CreateGeomBindTransformAttr(identity)
    binding.CreateSkeletonRel().SetTargets([f"{_ROOT}/skeleton"])
    binding.CreateBlendShapesAttr(list(puppet.channels))
    targets = [_add_shape(stage, puppet, index) for index in range(len(puppet.channels))]
    binding.CreateBlendShapeTargetsRel().SetTargets(targets)


def _add_shape(stage: Any, puppet: Puppet, index: int) -> str:
    vt, values = _pxr("Vt"), puppet.shape(index)
    path = f"{_ROOT}/head/{puppet.channels[index]}"
    shape = _pxr("UsdSkel").BlendShape.Define(stage, path)
    moved = np.flatnonzero(np.abs(values).max(axis=1) > 0)
    shape.CreateOffsetsAttr(vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values[moved])))
    shape.CreatePointIndicesAttr(vt.IntArray.FromNumpy(moved.astype(np.int32)))
    return path


def _add_material(stage: Any) -> None:
    shade, types = _pxr("UsdShade"), _pxr("Sdf").ValueTypeNames
    material = shade.Material.Define(stage, f"{_ROOT}/material")
    surface, texture, reader = (
        shade.Shader.Define(stage, f"{_ROOT}/material/{name}") for name in ("surface", "texture", "reader")
    )
    surface.CreateIdAttr("UsdPreviewSurface")
    texture.CreateIdAttr("UsdUVTexture")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", types.String).Set("st")
    texture.CreateInput("file", types.Asset).Set(f"./{_IMAGE}")
    texture.CreateInput("sourceColorSpace", types.Token).Set("sRGB")
    texture.CreateInput("wrapS", types.Token).Set("clamp")
    texture.CreateInput("wrapT", types.Token).Set("clamp")
    texture.CreateInput("st", types.Float2).ConnectToSource(reader.CreateOutput("result", types.Float2))
    color = texture.CreateOutput("rgb", types.Float3)
    surface.CreateInput("diffuseColor", types.Color3f).ConnectToSource(color)
    surface.CreateInput("roughness", types.Float).Set(0.7)
    surface.CreateInput("metallic", types.Float).Set(0.0)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", types.Token))
    mesh = stage.GetPrimAtPath(f"{_ROOT}/head")
    shade.MaterialBindingAPI.Apply(mesh).Bind(material)


def _add_skeleton(stage: Any, puppet: Puppet) -> None:
    gf, skel = _pxr("Gf"), _pxr("UsdSkel")
    skeleton = skel.Skeleton.Define(stage, f"{_ROOT}/skeleton")
    skeleton.CreateJointsAttr(joint_paths())

    def placed(place: np.ndarray) -> Any:
        return gf.Matrix4d(1.0).SetTranslate(gf.Vec3d(*map(float, place)))

    skeleton.CreateBindTransformsAttr([placed(puppet.joints[name]) for name in PARENTS])
    local = [puppet.joints[name] - (puppet.joints[parent] if parent else 0.0) for name, parent in PARENTS.items()]
    skeleton.CreateRestTransformsAttr([placed(place) for place in local])


def _add_motion(stage: Any, puppet: Puppet) -> None:
    skel, vt, motion, track = _pxr("UsdSkel"), _pxr("Vt"), puppet.motion(), puppet.track
    assert track is not None
    assert motion is not None
    animation = skel.Animation.Define(stage, f"{_ROOT}/performance")
    animation.CreateJointsAttr(joint_paths())
    animation.CreateBlendShapesAttr(list(puppet.channels))
    places, turns, sizes, weights = (
        animation.CreateTranslationsAttr(),
        animation.CreateRotationsAttr(),
        animation.CreateScalesAttr(),
        animation.CreateBlendShapeWeightsAttr(),
    )
    sizes.Set(vt.Vec3hArray(len(PARENTS), _pxr("Gf").Vec3h(1.0)))
    quatf = _pxr("Gf").Quatf
    for index in range(len(track)):
        moved = np.stack([motion[name].translations[index].numpy() for name in PARENTS]).astype(np.float32)
        places.Set(vt.Vec3fArray.FromNumpy(moved), index)
        turns.Set([quatf(*map(float, motion[name].quats[index])) for name in PARENTS], index)
        weights.Set(vt.FloatArray.FromNumpy(np.ascontiguousarray(track.codes.expression[index].numpy())), index)
    skel.BindingAPI.Apply(stage.GetPrimAtPath(f"{_ROOT}/skeleton")).CreateAnimationSourceRel().SetTargets(
        [f"{_ROOT}/performance"]
    )


EXPORTER = Usdz
