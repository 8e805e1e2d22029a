"""The built-in head: a stylised person made by code, so that a fresh machine needs no download.

``build()`` gives the head model; ``paint(appearance)`` the texture of another subject.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from torch import Tensor

from studio.codes import ARKIT52
from studio.heads.model import HeadModel, to_tensor
from studio.heads.procedural.appearance import Appearance
from studio.heads.procedural.identity import identity_basis
from studio.heads.procedural.landmarks import landmarks
from studio.heads.procedural.mesh import JOINTS, REGIONS, Mesh, build_mesh
from studio.heads.procedural.shapes import expression_basis
from studio.heads.procedural.texture import build_texture

__all__ = ["Appearance", "build", "paint"]
_METRES = 1e-3  # the modules of this package work in millimetres


@lru_cache(maxsize=1)
def _mesh() -> Mesh:
    return build_mesh()


@lru_cache(maxsize=1)
def build() -> HeadModel:
    """The built-in head with all 52 ARKit shapes and named identity parameters, textured as the default subject."""
    mesh = _mesh()
    names, identity, joint_identity = identity_basis(mesh)
    landmark_faces, landmark_bary = landmarks(mesh)
    return HeadModel(
        name="procedural",
        space=ARKIT52,
        template=to_tensor(mesh.vertices * _METRES),
        identity_basis=to_tensor(identity * _METRES),
        identity_names=names,
        expression_basis=to_tensor(expression_basis(mesh) * _METRES),
        absent=(),
        joint_positions=to_tensor(np.array(list(JOINTS.values())) * _METRES),
        joint_identity_basis=to_tensor(joint_identity * _METRES),
        skin_weights=to_tensor(mesh.weights),
        faces=to_tensor(mesh.faces),
        uvs=to_tensor(mesh.uvs),
        faces_uv=to_tensor(mesh.faces_uv),
        face_region=to_tensor(mesh.face_region),
        region_names=REGIONS,
        texture=paint(Appearance()),
        landmark_faces=to_tensor(landmark_faces),
        landmark_bary=to_tensor(landmark_bary),
        landmark_valid=to_tensor(np.ones(len(landmark_faces), bool)),
    )


def paint(appearance: Appearance, size: int = 1024) -> Tensor:
    """The texture [size, size, 3] uint8 of a subject, for the atlas of the built-in head.

    Args:
        appearance: colours and details; ``Appearance.random(seed)`` makes up a person.
        size: edge length in texels.
    """
    return to_tensor(build_texture(_mesh(), appearance, size))
