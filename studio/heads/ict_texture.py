"""A painted texture for ICT-FaceKit: colours by part and place, evaluated at the surface point behind every texel.

Shape comes from the mesh and its 68 landmarks, so nothing is stored. Crevices are darkened by ambient occlusion, which
is what makes nostrils, lids and the inside of the mouth read well under any light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial import cKDTree

from studio.cameras import Camera, intrinsics, orbit
from studio.heads.ict_anatomy import DIVERGENCE_RADIANS, ear_margin, hairline
from studio.heads.model import vertex_normals
from studio.kernels.mesh_raster import rasterize_mesh
from studio.media.images import to_uint8

WIDTH, HEIGHT = 1536, 768
# Material -> left, top, size of its square of the atlas in texels; the other materials are not drawn.
TILES: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "M_Face": (0, 0, 768),
        "M_BackHead": (768, 0, 512),
        "M_GumsTongue": (1280, 0, 256),
        "M_Teeth": (1280, 256, 256),
        "M_ScleraLeft": (768, 512, 256),
        "M_ScleraRight": (1024, 512, 256),
    }
)
SKIN, BLUSH, LIPS = (0.80, 0.60, 0.50), (0.80, 0.44, 0.38), (0.70, 0.36, 0.35)
HAIR, LASHES = (0.17, 0.115, 0.085), (0.12, 0.08, 0.07)
GUMS, TONGUE, CAVITY, TEETH = (0.72, 0.38, 0.38), (0.74, 0.40, 0.40), (0.42, 0.14, 0.14), (0.93, 0.89, 0.82)
SCLERA, IRIS, LIMBUS, PUPIL = (0.93, 0.91, 0.89), (0.36, 0.47, 0.50), (0.13, 0.15, 0.17), (0.02, 0.02, 0.02)
IRIS_RADIANS, PUPIL_RADIANS = 0.385, 0.15  # as seen from the middle of the eyeball


@dataclass(frozen=True)
class HeadMesh:
    """What is painted on: metres, head frame.

    Args:
        vertices: [V, 3].
        faces: [F, 3].
        uvs: [U, 2] in the atlas, origin at the top left.
        faces_uv: [F, 3].
        regions: [F] name of each face's part.
        landmarks: [68] vertex indices in Multi-PIE order.
        eyes: [2, 3] centres of the left and right eyeball.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray
    faces_uv: np.ndarray
    regions: np.ndarray
    landmarks: np.ndarray
    eyes: np.ndarray


def atlas_uvs(
    uvs: np.ndarray,  # [U, 2] tiles, v upwards
    faces_uv: np.ndarray,  # [F, 4]
    materials: np.ndarray,  # [F]
) -> np.ndarray:
    """Texture coordinates [U, 2] in the atlas, origin at the top left; coordinates that no face uses stay in 0..1."""
    result = np.mod(uvs, 1.0).astype(np.float64)
    for material, (left, top, size) in TILES.items():
        used = np.unique(faces_uv[materials == material])
        used = used[used >= 0]
        u, v = result[used].T
        result[used] = np.stack(((left + u * size) / WIDTH, (top + (1 - v) * size) / HEIGHT), -1)
    return result


def paint(mesh: HeadMesh) -> np.ndarray:
    """The texture [HEIGHT, WIDTH, 3] uint8."""
    face_id, bary = _texels(mesh)
    covered = face_id >= 0
    corners, bary = mesh.faces[face_id[covered]], bary[covered].astype(np.float64)
    where = (mesh.vertices[corners] * bary[..., None]).sum(1)
    open_air = (ambient_visibility(mesh)[corners] * bary).sum(1)
    faces = face_id[covered]
    colours, floor = np.zeros((len(where), 3)), np.zeros(len(where))
    painters = (
        (("face", "neck", "scalp", "ear_left", "ear_right"), _skin, 0.45),
        (("mouth_interior",), _cavity, 0.35),
        (("gums",), lambda _, at: _mottled(GUMS, at, 0.05), 0.65),
        (("tongue",), lambda _, at: _mottled(TONGUE, at, 0.1), 0.5),
        (("teeth_upper", "teeth_lower"), lambda _, at: _mottled(TEETH, at, 0.02), 0.85),
        (("eye_left",), lambda mesh, at: _eye(at - mesh.eyes[0], 1.0), 0.85),
        (("eye_right",), lambda mesh, at: _eye(at - mesh.eyes[1], -1.0), 0.85),
    )
    for names, painter, shade in painters:
        chosen = np.isin(mesh.regions, names)[faces]
        colours[chosen], floor[chosen] = painter(mesh, where[chosen]), shade
    image = np.zeros((HEIGHT, WIDTH, 3))
    image[covered] = colours * (floor + (1 - floor) * open_air)[:, None]
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return to_uint8(image[tuple(nearest)])


def _texels(mesh: HeadMesh) -> tuple[np.ndarray, np.ndarray]:
    """Which triangle [HEIGHT, WIDTH] each texel lies in (-1: none), and where on it [HEIGHT, WIDTH, 3]."""
    flat = np.column_stack((mesh.uvs * (WIDTH, HEIGHT), np.ones(len(mesh.uvs))))
    camera = Camera(torch.eye(4)[None], torch.eye(3)[None], WIDTH, HEIGHT)
    fragments = rasterize_mesh(torch.from_numpy(flat), torch.from_numpy(mesh.faces_uv), camera)
    return fragments.face_id[0].numpy(), fragments.bary[0].numpy()


def ambient_visibility(mesh: HeadMesh, directions: int = 40, size: int = 192) -> np.ndarray:
    """How much of the surroundings each vertex [V] sees, 0..1, from depth maps out of evenly spread directions."""
    vertices, faces = torch.from_numpy(mesh.vertices).float(), torch.from_numpy(mesh.faces)
    middle = 0.5 * (vertices.amax(0) + vertices.amin(0))
    reach, distance = float((vertices - middle).norm(dim=1).max()), 4.0
    steps = torch.arange(directions) + 0.5
    azimuths, elevations = steps * 2.39996, torch.asin(1 - 2 * steps / directions)  # golden angle
    K = intrinsics(0.5 * size * distance / reach, size, size)
    cameras = orbit(middle, distance, azimuths, elevations, K, size, size)
    depth = rasterize_mesh(vertices, faces, cameras).depth
    xy, z = cameras.project(vertices)
    column, row = (xy.floor().long().clamp(0, size - 1)).unbind(-1)
    seen_depth = depth[torch.arange(directions)[:, None], row, column]
    visible = (z < seen_depth + 0.004) | (seen_depth == 0)
    toward = torch.nn.functional.normalize(cameras.centers - middle, dim=1)
    facing = (vertex_normals(vertices, faces) @ toward.T).clamp(min=0).T  # [directions, V]
    return ((visible * facing).sum(0) / facing.sum(0).clamp(min=1e-6)).double().numpy()


def _skin(mesh: HeadMesh, at: np.ndarray) -> np.ndarray:
    colours = _mottled(SKIN, at, 0.05)
    marks = mesh.vertices[mesh.landmarks]
    for centre, radius, strength in (
        (marks[30], 0.014, 0.5),
        (marks[[2, 31, 41]].mean(0), 0.022, 0.45),
        (marks[[14, 35, 46]].mean(0), 0.022, 0.45),
        (marks[8], 0.02, 0.25),
    ):
        near = np.exp(-0.5 * ((at - centre) ** 2).sum(1) / radius**2)
        colours = _mix(colours, BLUSH, strength * near)
    front = at[:, 2] > marks[[48, 54], 2].mean() - 0.012
    front &= np.abs(at - marks[62]).max(1) < 0.05
    lips = np.zeros(len(at))
    lips[front] = _step(_inside(_smooth_loop(marks[48:60, :2]), at[front, :2]), -0.0012, 0.0008)
    colours = _mix(colours, LIPS, 0.9 * lips)
    around_eyes = (np.abs(at[:, 1] - 0.01) < 0.045) & (np.abs(at[:, 0]) < 0.08) & (at[:, 2] > -0.03)
    there, painted = at[around_eyes], colours[around_eyes]
    for loop in (marks[36:42], marks[42:48]):
        painted = _mix(painted, LASHES, 0.8 * _lash_line(_smooth_loop(loop), there))
    for brow in (marks[17:22], marks[26:21:-1]):
        painted = _mix(painted, HAIR, 0.9 * _brow(brow, there))
    colours[around_eyes] = painted
    colours = _mix(colours, BLUSH, 0.35 * _step(-ear_margin(at * 100), -0.5, 0.5))
    strands = 0.5 * noise(at * (1.0, 0.35, 1.0), 0.003) + noise(at, 0.02) * 0.4
    hair = np.array(HAIR) * (1 + 0.5 * strands[:, None])
    return _mix(colours, hair, 0.96 * _step(hairline(at * 100) + 0.35 * strands, -0.4, 0.5))


def _cavity(mesh: HeadMesh, at: np.ndarray) -> np.ndarray:
    """Lip colour near the opening, dark red further in."""
    rim = mesh.vertices[mesh.landmarks[60:68]]
    distance = cKDTree(_smooth_loop(rim)).query(at)[0]
    return _mix(_mottled(LIPS, at, 0.04), CAVITY, _step(distance, 0.002, 0.013))


def _eye(around: np.ndarray, outward: float) -> np.ndarray:
    """Sclera, iris and pupil by the angle from the eye's axis; ``around`` [N, 3] is relative to its centre."""
    axis = np.array((outward * np.sin(DIVERGENCE_RADIANS), 0.0, np.cos(DIVERGENCE_RADIANS)))
    direction = around / np.linalg.norm(around, axis=1, keepdims=True)
    angle = np.arccos(np.clip(direction @ axis, -1, 1))
    turn = np.arctan2(direction[:, 1], direction[:, 0])
    spokes = noise(np.stack((np.cos(turn), np.sin(turn), 0.2 * angle), -1), 0.08)
    sclera = _mix(np.tile(SCLERA, (len(around), 1)), BLUSH, 0.35 * _step(angle, 0.55, 1.2))
    iris = np.array(IRIS) * (1 + 0.35 * spokes + 0.25 * (1 - angle / IRIS_RADIANS))[:, None]
    iris = _mix(iris, LIMBUS, _step(angle, 0.78 * IRIS_RADIANS, IRIS_RADIANS))
    iris = _mix(iris, PUPIL, _step(-angle, -PUPIL_RADIANS - 0.015, -PUPIL_RADIANS + 0.015))
    return _mix(iris, sclera, _step(angle, IRIS_RADIANS - 0.015, IRIS_RADIANS + 0.03))


def _brow(line: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Cover [N] of a brow along its five landmarks [5, 3], from the outer end inwards."""
    spline = _resample(line, 60)
    distance, index = cKDTree(spline).query(at)
    along = index / (len(spline) - 1)
    half = 0.0016 + 0.0034 * np.sqrt(np.clip(along, 0, 1)) * (1 - 0.35 * along**4)
    strands = noise(at * (1.0, 2.2, 1.0), 0.0016)
    edge = half - distance - 0.0012 * strands
    return _step(edge, -0.0014, 0.0018) * np.clip(0.82 + 0.3 * strands, 0, 1)


def _lash_line(loop: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Cover [N] of the lashes' roots along a lid rim [N, 3]; stronger on the upper lid."""
    distance, index = cKDTree(loop).query(at)
    upper = loop[index, 1] > loop[:, 1].mean()
    return _step(-distance, -0.0022, -0.0008) * np.where(upper, 1.0, 0.45)


def _mottled(colour: tuple[float, float, float], at: np.ndarray, strength: float) -> np.ndarray:
    """A colour [N, 3] with coarse and fine variation; red varies least."""
    variation = 0.6 * noise(at, 0.022) + 0.4 * noise(at, 0.006) + 0.35 * noise(at, 0.0018)
    return np.array(colour) * (1 + strength * variation[:, None] * np.array((0.7, 1.1, 1.2)))


def noise(
    at: np.ndarray,  # [N, 3] metres
    size: float,
) -> np.ndarray:
    """Smooth random values [N] of unit variance over space, about ``size`` metres wide; the same at every call."""
    lattice = np.random.default_rng(7).normal(size=(32, 32, 32))
    return 1.6 * map_coordinates(lattice, (at / size).T, order=1, mode="grid-wrap")


def _mix(base: np.ndarray, colour: np.ndarray | tuple[float, float, float], amount: np.ndarray) -> np.ndarray:
    return base + (np.asarray(colour) - base) * amount[:, None]


def _step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _resample(line: np.ndarray, count: int) -> np.ndarray:
    """A smooth curve [count, D] through the points of an open line."""
    knots = np.arange(len(line))
    return CubicSpline(knots, line)(np.linspace(0, len(line) - 1, count))


def _smooth_loop(points: np.ndarray) -> np.ndarray:
    """A smooth closed curve [16 N, D] through N points."""
    closed = np.concatenate((points, points[:1]))
    return CubicSpline(np.arange(len(closed)), closed, bc_type="periodic")(np.arange(0, len(points), 1 / 16))


def _inside(loop: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Signed distance [N] from a closed curve [M, 2], positive inside (the curve turns once around)."""
    distance, index = cKDTree(loop).query(at)
    ahead = np.roll(loop, -1, axis=0) - np.roll(loop, 1, axis=0)
    away = at - loop[index]
    turning = np.sign(np.sum(loop[:, 0] * np.roll(loop[:, 1], -1) - loop[:, 1] * np.roll(loop[:, 0], -1)))
    side = ahead[index, 0] * away[:, 1] - ahead[index, 1] * away[:, 0]
    return distance * np.sign(side) * turning
