"""What the ICT-FaceKit files do not say: where the joints are, what they move, and which part of a head each face is.

Everything here is in the file's frame: centimetres, y up, z forward, origin inside the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from studio.heads.ict_files import IctFiles
from studio.heads.model import JOINTS

REGIONS = (
    "face",
    "scalp",
    "ear_left",
    "ear_right",
    "neck",
    "eye_left",
    "eye_right",
    "teeth_upper",
    "teeth_lower",
    "gums",
    "tongue",
    "mouth_interior",
)
HEAD, TORSO, JAW, EYE_LEFT, EYE_RIGHT = range(len(JOINTS))
# Vertex ranges of the ICT-FaceKit topology (its README).
_SKIN, _MOUTH_SOCKET, _SKIN_AND_MOUTH = slice(0, 11248), slice(11248, 13294), slice(0, 21451)
EYEBALLS = {EYE_LEFT: slice(21451, 22221), EYE_RIGHT: slice(23021, 23791)}  # sclera and cornea, without the iris
_CHIN, _TONGUE_CENTRE = 8, np.array((0.0, -4.02, 6.62))  # Multi-PIE index; middle of the tongue's uv island
# The modelled eyeballs diverge by 8 degrees; people who look far ahead show about 2 (angle kappa).
DIVERGENCE_RADIANS = 0.035


@dataclass(frozen=True)
class Anatomy:
    """Joints and their reach.

    Args:
        vertices: [V, 3] the template with eyeballs that look straight ahead.
        joints: [5, 3] in the order of ``JOINTS``; the head joint is midway between the eyeballs.
        joint_modes: [I, 5, 3] how the joints move with identity.
        weights: [V, 5] skin weights.
        regions: [F] indices into ``REGIONS`` for the faces asked about.
    """

    vertices: np.ndarray
    joints: np.ndarray
    joint_modes: np.ndarray
    weights: np.ndarray
    regions: np.ndarray


def find_anatomy(
    files: IctFiles,
    kept: np.ndarray,  # [F] bool: the faces whose regions are asked for
) -> Anatomy:
    """Find joints, weights and regions of the model."""
    hinge, turn = _jaw_hinge(files)
    centres = {joint: _sphere_centre(files.vertices[part]) for joint, part in EYEBALLS.items()}
    joints = np.zeros((len(JOINTS), 3))
    joints[TORSO], joints[JAW] = _neck_pivot(files), hinge
    joints[EYE_LEFT], joints[EYE_RIGHT] = centres[EYE_LEFT], centres[EYE_RIGHT]
    joints[HEAD] = joints[[EYE_LEFT, EYE_RIGHT]].mean(0)
    vertices = _straight_eyes(files.vertices, centres)
    weights = _skin_weights(files, joints, turn)
    modes = [_joint_offsets(files.vertices, joints, mode) for mode in files.identities]
    joint_modes = np.stack(modes) if modes else np.zeros((0, *joints.shape))
    return Anatomy(vertices, joints, joint_modes, weights, _regions(files, kept, weights, joints[HEAD]))


def _jaw_hinge(files: IctFiles) -> tuple[np.ndarray, np.ndarray]:
    """The hinge [3] and the rotation [3, 3] that jawOpen is for the lower teeth (it is rigid there)."""
    opening = files.expressions["jawOpen"]
    teeth = np.unique(files.faces[files.materials == "M_Teeth"][:, :3])
    lower = teeth[np.linalg.norm(opening[teeth], axis=1) > 1.0]
    before, after = files.vertices[lower], files.vertices[lower] + opening[lower]
    turn = Rotation.align_vectors(after - after.mean(0), before - before.mean(0))[0].as_matrix()
    shift = after.mean(0) - turn @ before.mean(0)
    sagittal = np.linalg.solve((np.eye(3) - turn)[1:, 1:], shift[1:])
    return np.array((0.0, *sagittal)), turn


def _neck_pivot(files: IctFiles) -> np.ndarray:
    """Where the head turns on the neck: at the height of the chin, two fifths from the nape to the throat."""
    height = files.vertices[files.landmarks[_CHIN], 1] - 1.0
    skin = files.vertices[_SKIN]
    around = skin[(np.abs(skin[:, 1] - (height - 1.5)) < 1.0) & (np.abs(skin[:, 0]) < 3.0), 2]
    return np.array((0.0, height, 0.6 * around.min() + 0.4 * around.max()))


def _sphere_centre(points: np.ndarray) -> np.ndarray:
    """Centre of the sphere through an eyeball [N, 3], without the cornea that stands out at its front."""
    back = points[points[:, 2] < np.quantile(points[:, 2], 0.5)]
    system = np.column_stack((2 * back, np.ones(len(back))))
    return np.linalg.lstsq(system, (back**2).sum(1), rcond=None)[0][:3]


def _straight_eyes(vertices: np.ndarray, centres: dict[int, np.ndarray]) -> np.ndarray:
    vertices = vertices.astype(np.float64)
    for joint, part in EYEBALLS.items():
        around = vertices[part] - centres[joint]
        apex = around[np.linalg.norm(around, axis=1).argmax()]
        outward = 1.0 if joint == EYE_LEFT else -1.0
        wanted = np.array((outward * np.sin(DIVERGENCE_RADIANS), 0.0, np.cos(DIVERGENCE_RADIANS)))
        turn, _ = Rotation.align_vectors(wanted[None], apex[None])
        vertices[part] = centres[joint] + turn.apply(around)
    return vertices


def _skin_weights(files: IctFiles, joints: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """[V, 5]: the jaw takes what jawOpen moves along its rotation, the torso what lies below the neck joint."""
    vertices = files.vertices.astype(np.float64)
    weights = np.zeros((len(vertices), len(JOINTS)))
    arc = (vertices - joints[JAW]) @ (turn - np.eye(3)).T
    along = (files.expressions["jawOpen"] * arc).sum(1) / ((arc**2).sum(1) + 0.05)
    weights[_SKIN_AND_MOUTH, JAW] = np.clip(along, 0.0, 1.0)[_SKIN_AND_MOUTH]
    # Below the joint, on a plane that rises towards the nape: the floor of the mouth stays with the head.
    below = (joints[TORSO, 1] - vertices[:, 1]) - 0.5 * (vertices[:, 2] - joints[TORSO, 2])
    ramp = np.clip((below + 1.5) / 6.5, 0.0, 1.0)
    torso = (ramp * ramp * (3 - 2 * ramp))[_SKIN]
    weights[_SKIN, TORSO] = torso
    weights[_SKIN, JAW] *= 1 - torso
    for joint, part in EYEBALLS.items():
        weights[part, joint] = 1.0
    weights[:, HEAD] = 1 - weights.sum(1)
    return weights


def _joint_offsets(vertices: np.ndarray, joints: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """How an identity mode [V, 3] moves the joints [5, 3]: as it moves what lies around them, evenly on both sides."""
    offsets = np.zeros_like(joints)
    for joint, part in EYEBALLS.items():
        offsets[joint] = _sphere_centre(vertices[part] + mode[part]) - joints[joint]
    skin = cKDTree(vertices[_SKIN])
    for joint in (TORSO, JAW):
        sides = joints[joint] + np.array([[6.0, 0.0, 0.0], [-6.0, 0.0, 0.0]])
        nearest = skin.query(sides, k=40)[1].ravel()
        offsets[joint, 1:] = mode[nearest, 1:].mean(0)
    return offsets


def _regions(files: IctFiles, kept: np.ndarray, weights: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """[F] the region of each kept face."""
    quads, materials = files.faces[kept], files.materials[kept]
    corners = quads[:, :3]
    centre = files.vertices[corners].mean(1)
    x = centre[:, 0]
    jaw, torso = weights[corners, JAW].mean(1), weights[corners, TORSO].mean(1)
    skin = corners.min(1) < _SKIN.stop
    ear = skin & (ear_margin(centre - origin) < 0)
    hair = skin & (hairline(centre - origin) > 0)
    islands = _uv_islands(files.faces_uv[kept], len(files.uvs))
    gums = materials == "M_GumsTongue"
    middle = np.linalg.norm(centre - _TONGUE_CENTRE, axis=1)
    tongue = gums & (islands == islands[gums][middle[gums].argmin()])
    chosen = {
        "face": skin | (corners.min(1) >= _MOUTH_SOCKET.stop),  # the sockets of the eyes are inner lid
        "mouth_interior": (corners.min(1) >= _MOUTH_SOCKET.start) & (corners.max(1) < _MOUTH_SOCKET.stop),
        "scalp": hair,
        "ear_left": ear & (x > 0),
        "ear_right": ear & (x < 0),
        "neck": skin & (torso > 0.02),
        "gums": gums,
        "tongue": tongue,
        "teeth_upper": (materials == "M_Teeth") & (jaw < 0.5),
        "teeth_lower": (materials == "M_Teeth") & (jaw >= 0.5),
        "eye_left": materials == "M_ScleraLeft",
        "eye_right": materials == "M_ScleraRight",
    }
    regions = np.zeros(len(quads), dtype=np.int64)
    for name, mask in chosen.items():
        regions[mask] = REGIONS.index(name)
    return regions


def hairline(
    points: np.ndarray,  # [..., 3] centimetres from between the eyes
) -> np.ndarray:
    """How far inside the hair a point of the skin lies [...]: about its distance in centimetres, negative outside."""
    x, y, z = np.moveaxis(points, -1, 0)
    forehead = y - (6.8 - 0.05 * x * x)
    temple = np.minimum(0.9 * (-4.4 - z) + 0.35 * y, y - 0.6 * (z + 5.9) + 2.6)
    nape = y + 9.1 + 0.15 * (z + 7.9)
    return np.minimum(np.minimum(np.maximum(forehead, temple), nape), ear_margin(points))


def ear_margin(
    points: np.ndarray,  # [..., 3] centimetres from between the eyes
) -> np.ndarray:
    """How far outside of the ears a point of the skin lies [...]: about its distance in centimetres."""
    x, y, z = np.moveaxis(points, -1, 0)
    up = (y + 2.5) / 3.1
    back = (z + 7.9 + 0.18 * (y + 2.5)) / 1.9
    return np.where(np.abs(x) > 6.2, 2.0 * (np.hypot(up, back) - 1.0), 10.0)


def _uv_islands(faces_uv: np.ndarray, count: int) -> np.ndarray:
    """[F] which connected piece of the texture a face belongs to."""
    a, b, c = faces_uv[:, 0], faces_uv[:, 1], faces_uv[:, 2]
    links = np.stack((np.concatenate((a, b)), np.concatenate((b, c))))
    graph = coo_matrix((np.ones(links.shape[1]), links), shape=(count, count))
    return connected_components(graph, directed=False)[1][a]
