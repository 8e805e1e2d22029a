"""Reading ICT-FaceKit: the compact npz, or the OBJ folder of the original download (FaceXModel).

Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020; github.com/ICT-VGL/ICT-FaceKit (MIT).
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio.errors import StudioError

LIGHT_VERTICES = 26719
_NEUTRAL, _INDICES = "generic_neutral_mesh.obj", "vertex_indices.json"


@dataclass(frozen=True)
class IctFiles:
    """The model as it is stored: centimetres, y up, z forward, quads.

    Args:
        vertices: [26719, 3] float32.
        uvs: [U, 2] with v upwards; parts of the head lie in neighbouring unit tiles.
        faces: [F, 4] int64, -1 in the last place of triangles.
        faces_uv: [F, 4] int64.
        materials: [F] name of each face's material.
        expressions: file name without suffix -> [26719, 3] offsets.
        identities: [I, 26719, 3] offsets for one standard deviation.
        landmarks: [68] vertex indices in Multi-PIE order.
        missing: names of shapes that the model has and these files lack.
    """

    vertices: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray
    faces_uv: np.ndarray
    materials: np.ndarray
    expressions: dict[str, np.ndarray]
    identities: np.ndarray
    landmarks: np.ndarray
    missing: tuple[str, ...]


def read_ict(path: Path) -> IctFiles:
    """Read the compact npz, or a FaceXModel folder (or a folder that holds either).

    Raises:
        StudioError: neither is there, a file is damaged, or the mesh is another one.
    """
    if path.is_file():
        return _read_compact(path)
    for folder in (path, path / "FaceXModel"):
        if (folder / _NEUTRAL).is_file():
            return _read_folder(folder)
    compact = path / "ict_facekit_light.npz"
    if compact.is_file():
        return _read_compact(compact)
    raise StudioError(
        f"no ICT-FaceKit model in {path}", expected=f"ict_facekit_light.npz or {_NEUTRAL}", next="check the path"
    )


def _read_compact(path: Path) -> IctFiles:
    try:
        with np.load(path, allow_pickle=False) as data:
            files = IctFiles(
                data["vertices"],
                data["uvs"],
                data["faces"].astype(np.int64),
                data["faces_uv"].astype(np.int64),
                data["material_names"][data["face_material"]],
                dict(zip(data["expression_names"].tolist(), data["expression_deltas"].astype(np.float32))),
                data["identity_deltas"].astype(np.float32),
                data["landmarks_multipie68"].astype(np.int64),
                (),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StudioError(
            f"cannot read {path}", got=repr(error), expected="the compact ICT-FaceKit npz", next="fetch it again"
        ) from error
    _check(files.vertices, path)
    return files


def _read_folder(folder: Path) -> IctFiles:
    neutral = read_obj(folder / _NEUTRAL)
    _check(neutral.vertices, folder / _NEUTRAL)
    try:
        indices = json.loads((folder / _INDICES).read_text())
        names, landmarks = indices["expressions"], np.array(indices["idx_to_landmark_verts"], dtype=np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise StudioError(
            f"cannot read {folder / _INDICES}", got=repr(error), expected="ICT-FaceKit's index file"
        ) from error
    wanted = [*names, *(f"identity{number:03d}" for number in range(100))]
    shapes = {name: folder / f"{name}.obj" for name in wanted}
    found = {name: _offsets(path, neutral.vertices) for name, path in shapes.items() if path.is_file()}
    identities = [offsets for name, offsets in found.items() if name.startswith("identity")]
    return IctFiles(
        neutral.vertices,
        neutral.uvs,
        neutral.faces,
        neutral.faces_uv,
        neutral.materials,
        {name: found[name] for name in names if name in found},
        np.stack(identities) if identities else np.zeros((0, *neutral.vertices.shape), dtype=np.float32),
        landmarks,
        tuple(name for name in wanted if name not in found),
    )


def _offsets(path: Path, neutral: np.ndarray) -> np.ndarray:
    vertices = _numbers(_text(path), "v", 3)
    _check(vertices, path)
    return vertices - neutral


def _check(vertices: np.ndarray, path: Path) -> None:
    if vertices.shape != (LIGHT_VERTICES, 3) or not np.isfinite(vertices).all():
        raise StudioError(
            f"{path} is not the ICT-FaceKit mesh",
            got=f"vertices {vertices.shape}",
            expected=f"{LIGHT_VERTICES} finite vertices",
            next="use the light model of FaceXModel",
        )


@dataclass(frozen=True)
class ObjMesh:
    """A Wavefront OBJ with its vertices in file order.

    Args:
        vertices: [V, 3] float32.
        uvs: [U, 2] float32, v upwards.
        faces: [F, 4] int64, -1 in the last place of triangles.
        faces_uv: [F, 4] int64.
        materials: [F] the material in use, "" before the first.
    """

    vertices: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray
    faces_uv: np.ndarray
    materials: np.ndarray


def read_obj(path: Path) -> ObjMesh:
    """Read vertices, uvs, triangles and quads, and materials of an OBJ (general loaders split and reorder vertices).

    Raises:
        StudioError: missing or damaged file, or polygons of more than four corners or without uvs.
    """
    text = _text(path)
    faces, materials, material = [], [], ""
    for line in re.findall(r"^(?:f|usemtl)\s.*$", text, flags=re.MULTILINE):
        keyword, *items = line.split()
        if keyword == "usemtl":
            material = items[0] if items else ""
            continue
        corners = [item.split("/")[:2] for item in items]
        if len(corners) not in (3, 4) or any(len(corner) < 2 or not corner[1] for corner in corners):
            raise StudioError(f"cannot use {path}", got=line, expected="faces of three or four corners with uvs")
        faces.append([[int(v) - 1, int(t) - 1] for v, t in corners] + [[-1, -1]] * (4 - len(corners)))
        materials.append(material)
    indices = np.array(faces, dtype=np.int64).reshape(-1, 4, 2)
    vertices, uvs = _numbers(text, "v", 3), _numbers(text, "vt", 2)
    if len(indices) and (indices.max(axis=(0, 1)) >= (len(vertices), len(uvs))).any():
        raise StudioError(f"damaged file: {path}", got="a face beyond the vertices", expected="a whole OBJ file")
    return ObjMesh(vertices, uvs, indices[..., 0], indices[..., 1], np.array(materials))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise StudioError(f"cannot read {path}", got=error, expected="an OBJ file", next="check the path") from error


def _numbers(text: str, keyword: str, columns: int) -> np.ndarray:
    """The first numbers [N, columns] of all lines that begin with a keyword."""
    lines = re.findall(rf"^{keyword}[ \t]+(.*)$", text, flags=re.MULTILINE)
    try:
        rows = [line.split()[:columns] for line in lines]
        return np.array(rows, dtype=np.float32).reshape(-1, columns)
    except ValueError as error:
        raise StudioError(
            "damaged OBJ file", got=f"a bad '{keyword}' line", expected=f"{columns} numbers in each"
        ) from error
