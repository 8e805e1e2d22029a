"""Triangle rasterisation on the CPU: which triangle each sample sees, where on it, and how deep.

Coverage is decided in integers (vertices snapped to 1/256 of a sample, top-left rule), so that neighbours neither
overlap nor leave cracks; barycentric coordinates and depth come from the unsnapped triangle by homogeneous coordinates
(Olano and Greer, "Triangle Scan Conversion using 2D Homogeneous Coordinates", 1997), so that they are
perspective-correct and need no special case where the near plane cuts a triangle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from studio.cameras import Camera
from studio.errors import StudioError
from studio.kernels.compiled import inlined, kernel
from studio.kernels.vectors import cross, dot, minus
from studio.kernels.vectors import row as row_of
from studio.kernels.workers import run, worker_count

_MIN_BAND_ROWS = 64  # a band repeats the set-up of all triangles, so it must be worth it


@dataclass(frozen=True)
class MeshFragments:
    """What each sample of C images sees.

    Args:
        face_id: [C, H, W] int32 triangle index, -1 where nothing is.
        bary: [C, H, W, 3] float32 perspective-correct barycentric coordinates, 0 where nothing is.
        depth: [C, H, W] float32 camera z in metres, 0 where nothing is.
    """

    face_id: Tensor
    bary: Tensor
    depth: Tensor

    def interpolate(
        self,
        values: Tensor,  # [V, K] one row for each vertex
        faces: Tensor,  # [F, 3]
    ) -> Tensor:
        """Vertex values at the samples, [C, H, W, K]; 0 where nothing is."""
        corners = values[faces[self.face_id.clamp(min=0).long()]]
        return (corners * self.bary[..., None]).sum(-2)


def rasterize_mesh(
    vertices: Tensor,  # [V, 3] or [C, V, 3] world, metres
    faces: Tensor,  # [F, 3] counter-clockwise from outside
    camera: Camera,  # C cameras
    *,
    supersample: int = 1,
    two_sided: bool = True,
) -> MeshFragments:
    """Find the nearest triangle at every sample.

    Args:
        vertices: one mesh for all cameras, or one for each.
        faces: triangles.
        camera: the views; the result has ``supersample`` times their width and height.
        supersample: samples along each side of a pixel.
        two_sided: also draw triangles seen from behind.

    Raises:
        StudioError: wrong shapes, or faces that point outside of the vertices.
    """
    check_mesh(vertices, faces, camera)
    view = camera.resized(camera.width * supersample, camera.height * supersample)
    placed = vertices.expand(len(view), *vertices.shape[-2:]).double().numpy()
    viewmats, Ks = view.viewmats.double().numpy(), view.Ks.double().numpy()
    triangles = np.ascontiguousarray(faces.numpy(), dtype=np.int64)
    face_id = np.full((len(view), view.height, view.width), -1, dtype=np.int32)
    bary = np.zeros((*face_id.shape, 3), dtype=np.float32)
    depth = np.zeros(face_id.shape, dtype=np.float32)

    def draw(index: int, rows: slice) -> None:
        targets = (face_id[index, rows], bary[index, rows], depth[index, rows])
        lens = (viewmats[index], Ks[index], np.linalg.inv(Ks[index]))
        _fragments(placed[index], *lens, triangles, two_sided, rows.start, *targets)

    for_image_bands(draw, len(view), view.height)
    return MeshFragments(torch.from_numpy(face_id), torch.from_numpy(bary), torch.from_numpy(depth))


def check_mesh(vertices: Tensor, faces: Tensor, camera: Camera) -> None:
    """Raise StudioError unless vertices [V, 3] or [C, V, 3] and faces [F, 3] make a mesh that the cameras can draw."""
    shaped = vertices.ndim in (2, 3) and vertices.shape[-1] == 3 and faces.ndim == 2 and faces.shape[1] == 3
    if not shaped or (vertices.ndim == 3 and len(vertices) != len(camera)):
        raise StudioError(
            "the mesh has the wrong shape",
            got=f"vertices {tuple(vertices.shape)}, faces {tuple(faces.shape)}, {len(camera)} cameras",
            expected="vertices [V, 3] or [C, V, 3] and faces [F, 3]",
        )
    if len(faces) and (int(faces.min()) < 0 or int(faces.max()) >= vertices.shape[-2]):
        raise StudioError(
            "faces point outside of the vertices",
            got=f"indices {int(faces.min())}..{int(faces.max())}",
            expected=f"0..{vertices.shape[-2] - 1}",
        )


def for_image_bands(work: Callable[[int, slice], None], count: int, height: int) -> None:
    """Call ``work(image index, rows)`` for all rows of ``count`` images, in threads; exceptions are raised here."""
    workers = worker_count()
    bands = 1 if count >= workers else min(workers, max(1, height // _MIN_BAND_ROWS))
    edges = [int(edge) for edge in np.linspace(0, height, bands + 1)]
    jobs = [(index, slice(*rows)) for index in range(count) for rows in pairwise(edges)]

    def share(worker: int, workers: int) -> None:
        for job in jobs[worker::workers]:
            work(*job)

    run(share, min(workers, len(jobs)))


@kernel
def _fragments(vertices, viewmat, K, inverse_K, faces, two_sided, first_row, face_id, bary, depth):  # type: ignore[no-untyped-def]
    """Draw world points [V, 3] into the rows of one image that start at ``first_row``."""
    points, grid = np.empty((len(vertices), 3)), np.zeros((len(vertices), 2), dtype=np.int64)
    for i in range(len(vertices)):
        for k in range(3):
            points[i, k] = dot(row_of(viewmat, k), row_of(vertices, i)) + viewmat[k, 3]
        if points[i, 2] >= 0.01:
            grid[i, 0], grid[i, 1] = _snapped(row_of(points, i), K)
    nearest = np.zeros(face_id.shape, dtype=np.float64)  # inverse depth; 0 is infinitely far
    polygon = np.zeros((4, 2), dtype=np.int64)
    for face in range(len(faces)):
        corners = _clipped(points, grid, K, row_of(faces, face), polygon)
        for third in range(2, corners):
            a, b = (polygon[0, 0], polygon[0, 1]), (polygon[third - 1, 0], polygon[third - 1, 1])
            triangle = (a, b, (polygon[third, 0], polygon[third, 1]))
            _fill(triangle, points, inverse_K, row_of(faces, face), face, two_sided, first_row, face_id, nearest)
    for row in range(face_id.shape[0]):
        for column in range(face_id.shape[1]):
            if face_id[row, column] >= 0:
                corner = row_of(faces, face_id[row, column])
                a, b, c = row_of(points, corner[0]), row_of(points, corner[1]), row_of(points, corner[2])
                weights = _barycentric(_ray(inverse_K, column + 0.5, row + first_row + 0.5), a, b, c)
                depth[row, column] = weights[0] * a[2] + weights[1] * b[2] + weights[2] * c[2]
                bary[row, column, 0], bary[row, column, 1], bary[row, column, 2] = weights


@inlined
def _ray(inverse_K, x, y):  # type: ignore[no-untyped-def]
    """The point of depth 1 that an image position shows."""
    return inverse_K[0, 0] * x + inverse_K[0, 1] * y + inverse_K[0, 2], inverse_K[1, 1] * y + inverse_K[1, 2], 1.0


@inlined
def _barycentric(ray, a, b, c):  # type: ignore[no-untyped-def]
    """Where a ray meets a triangle, moved onto it where the ray passes just outside of it."""
    u, v, w = dot(ray, cross(b, minus(c, b))), dot(ray, cross(c, minus(a, c))), dot(ray, cross(a, minus(b, a)))
    if u + v + w < 0.0:
        u, v, w = -u, -v, -w
    u, v, w = max(u, 0.0), max(v, 0.0), max(w, 0.0)
    total = u + v + w
    if total == 0.0:
        return 1.0, 0.0, 0.0
    return u / total, v / total, w / total


@inlined
def _snapped(point, K):  # type: ignore[no-untyped-def]
    """Image position in 1/256 samples, limited so that products of two positions fit into 64 bits."""
    u = (K[0, 0] * point[0] + K[0, 1] * point[1]) / point[2] + K[0, 2]
    v = K[1, 1] * point[1] / point[2] + K[1, 2]
    u, v = min(max(u * 256.0, -5.0e8), 5.0e8), min(max(v * 256.0, -5.0e8), 5.0e8)
    return np.int64(np.rint(u)), np.int64(np.rint(v))


@inlined
def _clipped(points, grid, K, corners, polygon):  # type: ignore[no-untyped-def]
    """Write the image polygon of a triangle in front of the near plane (0.01 m); returns its number of corners.

    A cut point is computed from the near end of its edge to the far one, so both neighbours get the same.
    """
    count = 0
    for k in range(3):
        here, there = corners[k], corners[(k + 1) % 3]
        visible = points[here, 2] >= 0.01
        if visible:
            polygon[count, 0], polygon[count, 1] = grid[here, 0], grid[here, 1]
            count += 1
        if visible != (points[there, 2] >= 0.01):
            front, behind = (here, there) if visible else (there, here)
            t = (points[front, 2] - 0.01) / (points[front, 2] - points[behind, 2])
            x = points[front, 0] + t * (points[behind, 0] - points[front, 0])
            y = points[front, 1] + t * (points[behind, 1] - points[front, 1])
            polygon[count, 0], polygon[count, 1] = _snapped((x, y, 0.01), K)
            count += 1
    return count


@inlined
def _edge(a, b, column, row):  # type: ignore[no-untyped-def]
    """The edge function at a sample and its steps to the next column and row.

    It is not negative where the sample belongs to the triangle: inside, or on a top or left edge.
    """
    dx, dy = b[0] - a[0], b[1] - a[1]
    owns = dy < 0 or (dy == 0 and dx > 0)
    value = dx * (row * 256 + 128 - a[1]) - dy * (column * 256 + 128 - a[0])
    return value - (0 if owns else 1), -dy * 256, dx * 256


@inlined
def _fill(triangle, points, inverse_K, corners, face, two_sided, first_row, face_id, nearest):  # type: ignore[no-untyped-def]
    """Depth-tested coverage of one snapped triangle; of equal depths the triangle that came first stays."""
    a, b, c = triangle
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if area == 0 or (area > 0 and not two_sided):  # y points down: counter-clockwise triangles have negative area
        return
    if area < 0:
        b, c = c, b
    # Sample i lies at 256 i + 128: the first at or after p is (p + 127) >> 8, the last at or before it (p - 128) >> 8.
    left = max((min(a[0], b[0], c[0]) + 127) >> 8, 0)
    right = min((max(a[0], b[0], c[0]) - 128) >> 8, face_id.shape[1] - 1)
    top = max((min(a[1], b[1], c[1]) + 127) >> 8, first_row)
    bottom = min((max(a[1], b[1], c[1]) - 128) >> 8, first_row + face_id.shape[0] - 1)
    if left > right or top > bottom:
        return
    p, q, r = row_of(points, corners[0]), row_of(points, corners[1]), row_of(points, corners[2])
    normal = cross(minus(q, p), minus(r, p))
    distance = dot(normal, p)
    if distance == 0.0:
        return
    shallow = 1.0 / max(p[2], q[2], r[2])
    deep = 1.0 / max(min(p[2], q[2], r[2]), 0.01)
    edge_0, across_0, down_0 = _edge(b, c, left, top)
    edge_1, across_1, down_1 = _edge(c, a, left, top)
    edge_2, across_2, down_2 = _edge(a, b, left, top)
    slope = (normal[0] * inverse_K[0, 0]) / distance
    for row in range(top, bottom + 1):
        inverse = dot(normal, _ray(inverse_K, left + 0.5, row + 0.5)) / distance  # inverse depth is affine in x
        e0, e1, e2 = edge_0, edge_1, edge_2
        for column in range(left, right + 1):
            if (e0 | e1 | e2) >= 0:
                # A triangle seen edge-on has a steep plane: keep its samples within its own depths.
                value = min(max(inverse, shallow), deep)
                if value > nearest[row - first_row, column]:
                    nearest[row - first_row, column] = value
                    face_id[row - first_row, column] = face
            inverse += slope
            e0, e1, e2 = e0 + across_0, e1 + across_1, e2 + across_2
        edge_0, edge_1, edge_2 = edge_0 + down_0, edge_1 + down_1, edge_2 + down_2
