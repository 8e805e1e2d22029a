"""ICT-FaceKit as a head model: face, neck, mouth interior, teeth, tongue and eyeballs; no hair and no chest.

What differs from the files: metres and our head frame; the 52 ARKit channels (left and right halves of browInnerUp and
cheekPuff are added up, tongueOut is absent); eyeballs that look straight ahead and are turned by joints; a jaw and a
neck joint; a painted texture. Parts that only make sense with transparent shading (tear fluid, lash cards, occlusion
shells, the inner iris sphere) are left out; iris and lash line are painted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from studio.assets import require_asset
from studio.codes import ARKIT52
from studio.errors import StudioError
from studio.heads.ict_anatomy import EYE_LEFT, EYE_RIGHT, HEAD, REGIONS, find_anatomy
from studio.heads.ict_files import IctFiles, read_ict
from studio.heads.ict_texture import TILES, HeadMesh, atlas_uvs, paint
from studio.heads.model import LANDMARKS, HeadModel, to_tensor
from studio.logs import say

LANDMARK_TABLE = Path(__file__).with_name("ict_landmarks.npz")
_METRES = 0.01  # the files are in centimetres


def load_ict(path: Path | None = None) -> HeadModel:
    """ICT-FaceKit from its compact npz or the original OBJ folder.

    Args:
        path: file or folder; found through ``studio.assets`` when not given.

    Raises:
        StudioError: not found, damaged, or without the jawOpen shape (jaw joint and mouth parts derive from it).
    """
    return _load(require_asset("ict_facekit", path).resolve())


@lru_cache(maxsize=2)
def _load(path: Path) -> HeadModel:
    files = read_ict(path)
    if files.missing:
        shown = ", ".join(files.missing[:6])
        say(f"{path}: {len(files.missing)} shapes of ICT-FaceKit are missing and stay at zero ({shown}, …)")
    if "jawOpen" not in files.expressions:
        raise StudioError(f"{path} lacks a shape that nothing replaces", got="no jawOpen", expected="jawOpen.obj")
    return assemble(files)


def assemble(files: IctFiles) -> HeadModel:
    """Build the head model from what was read."""
    kept = np.isin(files.materials, list(TILES))
    anatomy = find_anatomy(files, kept)
    corners, corners_uv, owner = triangles(files.faces[kept], files.faces_uv[kept])
    used, faces = np.unique(corners, return_inverse=True)
    faces = faces.reshape(-1, 3)
    uvs = atlas_uvs(files.uvs, files.faces_uv[kept], files.materials[kept])
    expressions, absent = _arkit(files.expressions, len(files.vertices))
    joints = (anatomy.joints - anatomy.joints[HEAD]) * _METRES
    template = (anatomy.vertices - anatomy.joints[HEAD])[used] * _METRES
    region = anatomy.regions[owner]
    marks = np.searchsorted(used, files.landmarks)
    mesh = HeadMesh(template, faces, uvs, corners_uv, np.array(REGIONS)[region], marks, joints[[EYE_LEFT, EYE_RIGHT]])
    landmark_faces, landmark_bary, landmark_valid = _landmarks(corners)
    return HeadModel(
        name="ict",
        space=ARKIT52,
        template=to_tensor(template),
        identity_basis=to_tensor(files.identities[:, used] * _METRES),
        identity_names=tuple(f"identity{number:03d}" for number in range(len(files.identities))),
        expression_basis=to_tensor(expressions[:, used] * _METRES),
        absent=absent,
        joint_positions=to_tensor(joints),
        joint_identity_basis=to_tensor(anatomy.joint_modes * _METRES),
        skin_weights=to_tensor(anatomy.weights[used]),
        faces=to_tensor(faces),
        uvs=to_tensor(uvs),
        faces_uv=to_tensor(corners_uv),
        face_region=to_tensor(region),
        region_names=REGIONS,
        texture=to_tensor(paint(mesh)),
        landmark_faces=to_tensor(landmark_faces),
        landmark_bary=to_tensor(landmark_bary),
        landmark_valid=to_tensor(landmark_valid),
    )


def triangles(
    quads: np.ndarray,  # [Q, 4], -1 in the last place of triangles
    quads_uv: np.ndarray,  # [Q, 4]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut quads along their first diagonal: corners [F, 3], texture corners [F, 3] and the quad [F] each came from."""
    second = np.flatnonzero(quads[:, 3] >= 0)
    owner = np.concatenate((np.arange(len(quads)), second))
    halves = [np.concatenate((items[:, [0, 1, 2]], items[second][:, [0, 2, 3]])) for items in (quads, quads_uv)]
    return halves[0], halves[1], owner


def write_landmark_table(
    path: Path,  # the model's file or folder
    faces: np.ndarray,  # [478]
    bary: np.ndarray,  # [478, 3]
) -> None:
    """Store measured correspondences as the package's table, in terms of the vertices of the original files."""
    files = read_ict(path)
    kept = np.isin(files.materials, list(TILES))
    corners, _, _ = triangles(files.faces[kept], files.faces_uv[kept])
    np.savez_compressed(LANDMARK_TABLE, corners=corners[faces].astype(np.uint16), bary=bary.astype(np.float32))


def _arkit(shapes: Mapping[str, np.ndarray], count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """ICT's shapes as the 52 channels [52, V, 3], and the channels that none of them makes."""
    basis, absent = np.zeros((len(ARKIT52), count, 3), dtype=np.float32), []
    for index, channel in enumerate(ARKIT52.channels):
        one_sided = channel.replace("Left", "_L").replace("Right", "_R")
        parts = [name for name in (channel, one_sided, f"{channel}_L", f"{channel}_R") if name in shapes]
        for name in dict.fromkeys(parts):
            basis[index] += shapes[name]
        if not parts:
            absent.append(channel)
    return basis, tuple(absent)


def _landmarks(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles [478], barycentric coordinates [478, 3] and validity [478] from the table of corners in the files.

    The table was measured by ``capture.synthetic.correspondences``: renders of this head, seen by MediaPipe.
    """
    if not LANDMARK_TABLE.exists():
        return np.zeros(LANDMARKS, np.int64), np.full((LANDMARKS, 3), 1 / 3), np.zeros(LANDMARKS, np.bool_)
    index_of = {tuple(sorted(triple)): index for index, triple in enumerate(corners.tolist())}
    with np.load(LANDMARK_TABLE, allow_pickle=False) as table:
        corners_of = table["corners"].astype(np.int64)
        order = np.argsort(corners_of, axis=1)
        ordered = np.take_along_axis(corners_of, order, axis=1)
        bary = np.take_along_axis(table["bary"].astype(np.float64), order, axis=1)
    faces = np.array([index_of[tuple(triple)] for triple in ordered.tolist()])
    place = np.argsort(np.argsort(corners[faces], axis=1), axis=1)
    return faces, np.take_along_axis(bary, place, axis=1), np.ones(LANDMARKS, np.bool_)
