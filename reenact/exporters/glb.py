"""The head as a binary glTF 2.0: baked texture, ARKit's shapes, a skeleton, and a motion.

Axes and unit are glTF's own: metres, y up, the face looks along z. The material is unlit, since the texture holds the
light of the recording. The eyes turn by their joints; eyeLook shapes move the lids only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from reenact.exporters import Subject
from reenact.mesh.gltf import INDICES, VERTICES, GltfFile
from reenact.mesh.puppet import Puppet, puppet_of
from reenact.mesh.skeleton import PARENTS
from studio.errors import StudioError

_MOST_JOINTS = 4  # of a vertex


@dataclass(frozen=True)
class Glb:
    """Binary glTF.

    Args:
        texture: width and height of the texture.
        image: how it is stored in the file.
    """

    texture: int = 1024
    image: Literal["jpg", "png"] = "jpg"
    endings: ClassVar[tuple[str, ...]] = (".glb",)

    def __post_init__(self) -> None:
        if not 64 <= self.texture <= 8192:
            raise StudioError("no such texture", got=self.texture, expected="64 to 8192 texels")

    def write(self, subject: Subject, out: Path) -> None:
        """Write the head, with the subject's motion if it has one."""
        write_glb(out, puppet_of(subject, self.texture, "glb"), self.image)


def write_glb(path: Path, puppet: Puppet, image: str = "jpg") -> None:
    """Write a puppet as .glb, whole or not at all."""
    file = GltfFile()
    nodes, joints = _nodes(puppet)
    mesh: dict[str, Any] = {
        "name": "head",
        "primitives": [_primitive(file, puppet)],
        "weights": [0.0] * len(puppet.channels),
    }
    mesh["extras"] = {"targetNames": list(puppet.channels)}
    mime = {"jpg": "image/jpeg", "png": "image/png"}[image]
    file.document |= {
        "asset": {
            "version": "2.0",
            "generator": "head avatar studio",
            "extras": dict(puppet.note),
        },
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"name": puppet.name, "nodes": [0, len(nodes) - 1]}],
        "nodes": nodes,
        "meshes": [mesh],
        "skins": [{"joints": joints, "skeleton": joints[0], "inverseBindMatrices": _inverse_binds(file, puppet)}],
        "images": [{"mimeType": mime, "name": "texture", "bufferView": file.view(puppet.texture_file(f".{image}"))}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "textures": [{"source": 0, "sampler": 0}],
        "materials": [
            {
                "name": "head",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.7,
                },
                "doubleSided": True,
                "extensions": {"KHR_materials_unlit": {}},
            }
        ],
    }
    if puppet.track is not None:
        file.document["animations"] = [_animation(file, puppet, joints, len(nodes) - 1)]
    file.write(path)


def _nodes(puppet: Puppet) -> tuple[list[dict[str, Any]], list[int]]:
    """The joints from the root on, then the mesh; and which nodes are the joints."""
    names = list(PARENTS)
    nodes: list[dict[str, Any]] = []
    for name, parent in PARENTS.items():
        place = puppet.joints[name] - (puppet.joints[parent] if parent else 0.0)
        node: dict[str, Any] = {"name": name, "translation": place.tolist()}
        children = [names.index(other) for other, owner in PARENTS.items() if owner == name]
        nodes.append(node | ({"children": children} if children else {}))
    nodes.append({"name": puppet.name, "mesh": 0, "skin": 0})
    return nodes, list(range(len(names)))


def _inverse_binds(file: GltfFile, puppet: Puppet) -> int:
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(PARENTS), 1, 1))
    for index, name in enumerate(PARENTS):
        matrices[index, :3, 3] = -puppet.joints[name]
    return file.accessor(matrices.transpose(0, 2, 1).reshape(-1, 16))  # column by column


def _primitive(file: GltfFile, puppet: Puppet) -> dict[str, Any]:
    chosen = np.argsort(-puppet.skin, axis=1, kind="stable")[:, :_MOST_JOINTS]
    weights = np.take_along_axis(puppet.skin, chosen, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    chosen = np.where(weights > 0, chosen, 0)
    attributes = {
        "POSITION": file.accessor(puppet.positions, VERTICES, bounds=True),
        "NORMAL": file.accessor(puppet.normals, VERTICES),
        "TEXCOORD_0": file.accessor(puppet.surface.uvs, VERTICES),
        "JOINTS_0": file.accessor(chosen.astype(np.uint8), VERTICES),
        "WEIGHTS_0": file.accessor(weights.astype("<f4"), VERTICES),
    }
    return {
        "attributes": attributes,
        "indices": file.accessor(puppet.surface.faces.astype("<u4").reshape(-1), INDICES),
        "material": 0,
        "targets": [{"POSITION": file.sparse(puppet.shape(index))} for index in range(len(puppet.channels))],
    }


def _animation(file: GltfFile, puppet: Puppet, joints: list[int], mesh_node: int) -> dict[str, Any]:
    track, motion = puppet.track, puppet.motion()
    assert track is not None
    assert motion is not None
    times = file.accessor((np.arange(len(track)) / track.fps).astype("<f4"), bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    def add(node: int, path: str, values: np.ndarray) -> None:
        samplers.append({"input": times, "output": file.accessor(values.astype("<f4")), "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    for node, name in zip(joints, PARENTS):
        if name in ("torso", "head"):
            add(node, "translation", motion[name].translations.numpy())
        add(node, "rotation", motion[name].quats.numpy()[:, [1, 2, 3, 0]])
    add(mesh_node, "weights", track.codes.expression.numpy().reshape(-1))
    return {"name": "performance", "samplers": samplers, "channels": channels}


EXPORTER = Glb
