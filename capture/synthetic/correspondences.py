"""Where MediaPipe's 478 points lie on a head model, measured: render the head, detect the points, see what they hit.

Heads of many identities and expressions are rendered from many sides. Each detected point is carried back to the
template through the triangle that it is near, and the robust mean over all renders, put back onto the surface, becomes
the correspondence. Points of lips, lids and irises are kept on the part of the mesh that they belong to.

    python -m capture.synthetic.correspondences ict           # writes studio/heads/ict_landmarks.npz
    python -m capture.synthetic.correspondences procedural    # writes studio/heads/procedural/landmark_table.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from torch import Tensor

from capture.landmarker import MIRROR, Landmarker
from studio.assets import require_asset
from studio.cameras import Camera, focal_from_fov, intrinsics, orbit
from studio.codes import Codes
from studio.errors import StudioError
from studio.heads import load_head
from studio.heads import mediapipe_points as points
from studio.heads.ict import write_landmark_table
from studio.heads.model import LANDMARKS, HeadModel
from studio.heads.procedural.landmarks import write_table as write_procedural_table
from studio.heads.procedural.mesh import build_mesh
from studio.kernels.mesh_raster import rasterize_mesh
from studio.kernels.mesh_render import Lighting, render_mesh
from studio.logs import progress, say
from studio.media.images import to_uint8

_SIZE = 512
_EYES = ("eye_left", "eye_right")
_SKIN = ("face", "ear_left", "ear_right", "neck", "scalp")


@dataclass(frozen=True)
class View:
    """One render and what MediaPipe saw on it.

    Args:
        vertices: [V, 3] world.
        camera: C = 1.
        detected: [478, 2] pixels.
        turn: angle in radians between the line of sight and the front of the face.
    """

    vertices: Tensor
    camera: Camera
    detected: np.ndarray
    turn: float


@dataclass(frozen=True)
class Correspondences:
    """Triangles [478] and barycentric coordinates [478, 3] of the landmarks on a head model."""

    faces: np.ndarray
    bary: np.ndarray

    def project(self, head: HeadModel, view: View) -> np.ndarray:
        """Pixels [478, 2] at which the landmarks appear in a view."""
        corners = view.vertices[head.faces[torch.from_numpy(self.faces)]]
        placed = (corners * torch.from_numpy(self.bary).float()[..., None]).sum(1)
        return view.camera.project(placed)[0][0].numpy()


def measure(head: HeadModel, views: list[View], rounds: int = 8) -> Correspondences:
    """Find the surface point behind each landmark: cast the detections back, then refine by reprojection."""
    carriers = _carriers(head)
    places = _first_guess(head, views)
    found = _snap(head, places, carriers)
    for _ in range(rounds):
        places = places_of(head, found)
        shifts = np.stack([_shift_on_template(head, found, view) for view in views])  # [views, 478, 3]
        places = places + _robust_mean(shifts)
        found = _snap(head, _symmetric(places), carriers)
    return found


def places_of(head: HeadModel, found: Correspondences) -> np.ndarray:
    """The landmarks [478, 3] on the template."""
    return (head.template.numpy()[head.faces.numpy()[found.faces]] * found.bary[..., None]).sum(1).astype(np.float64)


def _first_guess(head: HeadModel, views: list[View]) -> np.ndarray:
    """Template points [478, 3] that the detections hit, or pass nearest to, in views from about the front."""
    eyes = head.region_faces(*_EYES).numpy()
    skin = head.region_faces(*_SKIN).numpy()
    corners = head.template.numpy()[head.faces.numpy()]
    hits = []
    for view in (view for view in views if view.turn < 0.3):
        fragments = rasterize_mesh(view.vertices, head.faces, view.camera)
        face_id, bary = fragments.face_id[0].numpy(), fragments.bary[0].numpy()
        column, row = np.clip(view.detected.astype(int), 0, _SIZE - 1).T
        hit = np.zeros((LANDMARKS, 3))
        for mask, chosen in ((skin, np.arange(468)), (eyes, np.arange(468, LANDMARKS))):
            allowed = (face_id >= 0) & mask[face_id]
            nearest = distance_transform_edt(~allowed, return_distances=False, return_indices=True)
            y, x = nearest[:, row[chosen], column[chosen]]
            hit[chosen] = (corners[face_id[y, x]] * bary[y, x][..., None]).sum(1)
        hits.append(hit)
    if len(hits) < 5:
        raise StudioError("too few faces were found on the renders", got=len(hits), expected="at least 5")
    return np.median(np.stack(hits), axis=0)


def _shift_on_template(head: HeadModel, found: Correspondences, view: View) -> np.ndarray:
    """How far each landmark [478, 3] would have to move on the template to appear where it was detected.

    NaN where the surface is seen too obliquely, and for points of the silhouette unless seen from the front.
    """
    triangles = head.faces.numpy()[found.faces]
    pixels, _ = view.camera.project(view.vertices)
    image = pixels[0].numpy()[triangles]  # [478, 3 corners, 2]
    miss = view.detected - (image * found.bary[..., None]).sum(1)
    edges = np.stack((image[:, 1] - image[:, 0], image[:, 2] - image[:, 0]), axis=-1)  # [478, 2, 2]
    template = head.template.numpy()[triangles].astype(np.float64)
    spans = np.stack((template[:, 1] - template[:, 0], template[:, 2] - template[:, 0]), axis=-1)  # [478, 3, 2]
    posed = view.vertices.numpy()[triangles]
    normal = np.cross(posed[:, 1] - posed[:, 0], posed[:, 2] - posed[:, 0])
    toward = view.camera.centers[0].numpy() - posed.mean(1)
    facing = (normal * toward).sum(1) / (np.linalg.norm(normal, axis=1) * np.linalg.norm(toward, axis=1) + 1e-12)
    usable = facing > 0.35
    if view.turn > 0.15:
        usable[list(points.CONTOUR)] = False
    shift = np.full((LANDMARKS, 3), np.nan)
    solved = np.linalg.solve(edges[usable], miss[usable][..., None])
    shift[usable] = (spans[usable] @ solved)[..., 0]
    return shift


def _robust_mean(samples: np.ndarray) -> np.ndarray:
    """Mean over the first axis, ignoring NaN, of the samples within three median deviations of the median."""
    samples = np.where(np.isnan(samples).all(0), 0.0, samples)
    middle = np.nanmedian(samples, axis=0)
    distance = np.linalg.norm(samples - middle, axis=-1)
    spread = np.nanmedian(distance, axis=0)
    kept = distance <= 3 * spread + 1e-9  # False for NaN
    return np.where(kept[..., None], samples, 0).sum(0) / np.maximum(kept.sum(0), 1)[:, None]


def _carriers(head: HeadModel) -> list[tuple[np.ndarray, np.ndarray]]:
    """Groups of landmarks and the faces [F] bool that each may lie on."""
    skin, eyes = head.region_faces(*_SKIN).numpy(), head.region_faces(*_EYES).numpy()
    jaw = head.skin_weights[head.faces].mean(1)[:, 2].numpy()
    upper = _without_corners((*points.LIPS_OUTER_UPPER, *points.LIPS_INNER_UPPER))
    lower = _without_corners((*points.LIPS_OUTER_LOWER, *points.LIPS_INNER_LOWER))
    others = np.setdiff1d(np.arange(468), np.concatenate((upper, lower)))
    irises = np.arange(468, LANDMARKS)
    return [(others, skin), (upper, skin & (jaw < 0.4)), (lower, skin & (jaw > 0.6)), (irises, eyes)]


def _without_corners(indices: tuple[int, ...]) -> np.ndarray:
    return np.setdiff1d(indices, (61, 291, 78, 308))


def _snap(head: HeadModel, places: np.ndarray, carriers: list[tuple[np.ndarray, np.ndarray]]) -> Correspondences:
    """The nearest points of the template's permitted triangles."""
    corners = head.template.numpy().astype(np.float64)[head.faces.numpy()]
    faces, bary = np.zeros(LANDMARKS, np.int64), np.zeros((LANDMARKS, 3))
    for chosen, mask in carriers:
        candidates = np.flatnonzero(mask)
        near = cKDTree(corners[candidates].mean(1)).query(places[chosen], k=40)[1]
        triangles = corners[candidates[near]]  # [n, 40, 3, 3]
        weights = closest_barycentric(places[chosen][:, None], triangles)
        reached = (triangles * weights[..., None]).sum(2)
        best = np.linalg.norm(reached - places[chosen][:, None], axis=-1).argmin(1)
        rows = np.arange(len(chosen))
        faces[chosen], bary[chosen] = candidates[near[rows, best]], weights[rows, best]
    return Correspondences(faces, bary)


def closest_barycentric(
    point: np.ndarray,  # [..., 3]
    triangle: np.ndarray,  # [..., 3, 3] corners
) -> np.ndarray:
    """Barycentric coordinates [..., 3] of the triangles' points that are closest to ``point``."""
    a, b, c = (triangle[..., k, :] for k in range(3))
    normal = np.cross(b - a, c - a)
    square = np.maximum((normal**2).sum(-1, keepdims=True), 1e-30)
    inside = [(np.cross(q - p, point - p) * normal).sum(-1) for p, q in ((b, c), (c, a), (a, b))]
    weights = np.stack(inside, -1) / square
    best, result = np.full(weights.shape[:-1], np.inf), np.clip(weights, 0, None)
    outside = (weights < 0).any(-1)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        p, q = triangle[..., first, :], triangle[..., second, :]
        t = ((point - p) * (q - p)).sum(-1) / np.maximum(((q - p) ** 2).sum(-1), 1e-30)
        t = np.clip(t, 0, 1)[..., None]
        distance = np.linalg.norm(p + t * (q - p) - point, axis=-1)
        on_edge = np.zeros_like(weights)
        on_edge[..., first], on_edge[..., second] = 1 - t[..., 0], t[..., 0]
        better = outside & (distance < best)
        result = np.where(better[..., None], on_edge, result)
        best = np.where(better, distance, best)
    return result / result.sum(-1, keepdims=True)


def _symmetric(places: np.ndarray) -> np.ndarray:
    """Points averaged with their mirror images, for a template that is symmetric about x = 0."""
    return 0.5 * (places + places[MIRROR] * (-1, 1, 1))


def sample_views(head: HeadModel, count: int, seed: int) -> Iterator[View]:
    """Views of random identities, expressions, sides and lights on which MediaPipe found the face."""
    rng = np.random.default_rng(seed)
    with closing(Landmarker()) as landmarker:
        yield from _views(head, landmarker, count, rng)


def _views(head: HeadModel, landmarker: Landmarker, count: int, rng: np.random.Generator) -> Iterator[View]:
    for _ in progress(range(count), "views"):
        codes = random_codes(rng)
        identity = torch.from_numpy(rng.normal(0, 0.7, head.num_identity)).float()
        vertices = head.vertices(identity, codes)
        azimuth, elevation = rng.uniform(-0.6, 0.6), rng.uniform(-0.3, 0.35)
        K = intrinsics(focal_from_fov(rng.uniform(0.35, 0.7), _SIZE), _SIZE, _SIZE)
        radius = float(0.17 * K[0, 0] / _SIZE * rng.uniform(1.5, 2.2))
        target = torch.tensor((0.0, -0.03, 0.0))
        camera = orbit(target, radius, torch.tensor([azimuth]), torch.tensor([elevation]), K, _SIZE, _SIZE)
        light = Lighting(key_direction=(rng.uniform(-1, 1), rng.uniform(0.1, 1), 1.0), key=rng.uniform(0.3, 0.7))
        output = render_mesh(vertices, head, camera, light)
        background = torch.from_numpy(rng.uniform(0.1, 0.9, 3)).float()
        image = to_uint8(output.over(background)[0].numpy())
        face = next((landmarker.refine(image, face.center, face.size) for face in landmarker.detect(image)), None)
        if face is not None:
            yield View(vertices, camera, face.points[:, :2].astype(np.float64), float(np.hypot(azimuth, elevation)))


def random_codes(rng: np.random.Generator) -> Codes:
    """A mild random expression; the mouth is open in more than half of them."""
    codes = Codes.neutral()
    weights = torch.from_numpy(rng.uniform(0, 0.6, len(codes.space)) * (rng.random(len(codes.space)) < 0.12)).float()
    codes = Codes(**{**codes.tensors(), "expression": weights}, space=codes.space)
    return codes.with_channels(jawOpen=max(0.0, rng.uniform(-0.3, 0.6)), mouthClose=0.0)


def errors(head: HeadModel, found: Correspondences, views: list[View]) -> dict[str, float]:
    """Mean miss of the predicted landmarks by group, as a share of the distance between the outer eye corners."""
    misses = []
    for view in views:
        predicted = found.project(head, view)
        right, left = (predicted[index] for index in points.EYE_CORNERS)
        scale = np.linalg.norm(right - left) / max(np.cos(view.turn), 0.5)
        misses.append(np.linalg.norm(predicted - view.detected, axis=1) / scale)
    mean = np.mean(misses, axis=0)
    inner = np.setdiff1d(np.arange(468), points.CONTOUR)
    groups = {**points.GROUPS, "all but contour": tuple(inner), "all": tuple(range(LANDMARKS))}
    return {name: float(mean[list(indices)].mean()) for name, indices in groups.items()}


def main(name: str) -> None:
    """Measure a head's correspondences, say how good they are on fresh views, and store them in the package."""
    head = load_head(name)
    found = measure(head, list(sample_views(head, 240, seed=0)))
    for group, share in errors(head, found, list(sample_views(head, 80, seed=1))).items():
        say(f"{group:16s} {100 * share:.2f} % of the distance between the outer eye corners")
    if name == "procedural":
        write_procedural_table(build_mesh(), found.faces, found.bary)
    else:
        write_landmark_table(require_asset("ict_facekit"), found.faces, found.bary)


if __name__ == "__main__":
    main(sys.argv[1])
