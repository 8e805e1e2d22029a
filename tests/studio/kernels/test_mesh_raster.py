"""The mesh rasteriser against a brute-force float64 reference, and its rules at edges and at the near plane."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.cameras import Camera, intrinsics, orbit
from studio.errors import StudioError
from studio.kernels.mesh_raster import rasterize_mesh
from studio.kernels.mesh_render import Lighting, MeshSurface, render_mesh


def flat_camera(width: int, height: int) -> Camera:
    """A camera at the origin looking along +z; at depth 1 one metre spans 10 pixels."""
    K = torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 1.0]])
    return Camera(torch.eye(4)[None], K[None], width, height)


def on_plane(*pixels: tuple[float, float], z: float = 1.0) -> torch.Tensor:
    """Points of ``flat_camera`` that project to the given pixels."""
    return torch.tensor([(x / 10 * z, y / 10 * z, z) for x, y in pixels])


def brute_force(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> tuple[np.ndarray, ...]:
    """Cast a float64 ray through every pixel centre of the first camera at every triangle."""
    viewmat, K = camera.viewmats[0].double().numpy(), camera.Ks[0].double().numpy()
    points = vertices @ viewmat[:3, :3].T + viewmat[:3, 3]
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(K).T
    corners = points[faces].transpose(0, 2, 1)  # columns are the corners: corners @ bary = depth * ray
    bary_over_depth = np.einsum("fij,hwj->hwfi", np.linalg.inv(corners), rays)
    depth = 1 / bary_over_depth.sum(-1)
    hit = (bary_over_depth > 0).all(-1) & (depth > 0.01)
    depth = np.where(hit, depth, np.inf)
    face = depth.argmin(-1)
    chosen = np.take_along_axis(bary_over_depth, face[..., None, None], 2)[:, :, 0]
    nearest = depth.min(-1)
    seen = np.isfinite(nearest)
    bary = np.where(seen[..., None], chosen / chosen.sum(-1, keepdims=True), 0)
    return np.where(seen, face, -1), bary, np.where(seen, nearest, 0)


def test_agrees_with_a_float64_ray_caster() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 0.25, (150, 1, 3))
    vertices = (centres + rng.normal(0, 0.12, (150, 3, 3))).reshape(-1, 3)
    faces = np.arange(450).reshape(-1, 3)
    camera = orbit(torch.zeros(3), 1.3, torch.tensor([0.4]), torch.tensor([0.2]), intrinsics(90.0, 80, 64), 80, 64)
    fragments = rasterize_mesh(torch.from_numpy(vertices), torch.from_numpy(faces), camera)
    face_id, bary, depth = brute_force(vertices, faces, camera)
    same = fragments.face_id[0].numpy() == face_id
    assert same.mean() > 0.995  # positions are snapped to 1/256 pixel
    assert np.abs(fragments.bary[0].numpy() - bary)[same].max() < 1e-5
    assert np.abs(fragments.depth[0].numpy() - depth)[same].max() < 1e-5


def test_triangles_that_share_edges_cover_every_sample_once() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:9, 0:9].astype(float)
    inner = (x > 0) & (x < 8) & (y > 0) & (y < 8)
    x, y = x * 5 + inner * rng.normal(0, 1.2, x.shape), y * 5 + inner * rng.normal(0, 1.2, y.shape)
    x, y = np.round(x * 2) / 2, np.round(y * 2) / 2  # many vertices and edges run exactly through pixel centres
    vertices = on_plane(*zip(x.ravel(), y.ravel()))
    quads = [(r * 9 + c, r * 9 + c + 1, r * 9 + c + 10, r * 9 + c + 9) for r in range(8) for c in range(8)]
    faces = torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    camera = flat_camera(40, 40)
    seen = torch.stack([rasterize_mesh(vertices, face[None], camera).face_id >= 0 for face in faces])
    assert (seen.sum(0) == 1).all()


def test_top_left_rule_by_hand() -> None:
    # A square from pixel centre to pixel centre owns its top and left samples only: 4 x 3 of them.
    vertices = on_plane((2.5, 1.5), (6.5, 1.5), (6.5, 4.5), (2.5, 4.5))
    seen = rasterize_mesh(vertices, torch.tensor([[0, 3, 2], [0, 2, 1]]), flat_camera(10, 8)).face_id[0] >= 0
    expected = torch.zeros(8, 10, dtype=torch.bool)
    expected[1:4, 2:6] = True
    assert torch.equal(seen, expected)


def test_perspective_correct_interpolation_by_hand() -> None:
    # From (-1, 0, 1) to (3, 0, 3): the ray through x = 0 meets the edge where -1 + 4 t = 0, at t = 1/4, depth 1.5.
    vertices = torch.tensor([[-1.0, -1.0, 1.0], [-1.0, 1.0, 1.0], [3.0, 3.0, 3.0], [3.0, -3.0, 3.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    camera = flat_camera(40, 40).cropped(-20.5, -20.5, 41, 41)
    fragments = rasterize_mesh(vertices, faces, camera)
    along = fragments.interpolate(torch.tensor([[0.0], [0.0], [1.0], [1.0]]), faces)
    assert along[0, 20, 20, 0].item() == pytest.approx(0.25, abs=1e-6)
    assert fragments.depth[0, 20, 20].item() == pytest.approx(1.5, abs=1e-6)


def test_a_floor_that_passes_under_the_camera_is_cut_at_the_near_plane() -> None:
    floor = torch.tensor([[-50.0, 1.0, -50.0], [50.0, 1.0, -50.0], [50.0, 1.0, 50.0], [-50.0, 1.0, 50.0]])
    camera = flat_camera(20, 20).cropped(-10, -10, 20, 20)
    fragments = rasterize_mesh(floor, torch.tensor([[0, 1, 2], [0, 2, 3]]), camera)
    rows = torch.arange(20) + 0.5 - 10
    assert (fragments.face_id[0, rows < 0] == -1).all()
    assert (fragments.face_id[0, rows > 0.5] >= 0).all()
    below = rows > 0.5
    assert torch.allclose(fragments.depth[0, below, 7], 10 / rows[below], rtol=1e-4)


def test_back_faces_are_drawn_only_where_asked() -> None:
    vertices = on_plane((1, 1), (1, 9), (9, 1))  # counter-clockwise in the image: seen from outside
    front, back = torch.tensor([[0, 1, 2]]), torch.tensor([[0, 2, 1]])
    count = [
        (rasterize_mesh(vertices, faces, flat_camera(10, 10), two_sided=two_sided).face_id >= 0).sum().item()
        for faces, two_sided in ((front, False), (back, True), (back, False))
    ]
    assert count[0] == count[1] > 20
    assert count[2] == 0


def test_equal_depths_keep_the_first_triangle_and_a_camera_batch_equals_single_cameras() -> None:
    rng = np.random.default_rng(2)
    vertices = torch.from_numpy(rng.normal(0, 0.2, (60, 3))).float()
    faces = torch.arange(60).reshape(-1, 3).repeat(2, 1)
    cameras = orbit(torch.zeros(3), 1.0, torch.tensor([-0.5, 0.0, 0.5]), torch.zeros(3), intrinsics(80, 70, 70), 70, 70)
    together = rasterize_mesh(vertices, faces, cameras, supersample=2)
    assert together.face_id.max() < 20
    for index in range(3):
        alone = rasterize_mesh(vertices, faces, cameras[index], supersample=2)
        assert torch.equal(alone.face_id[0], together.face_id[index])
        assert torch.equal(alone.depth[0], together.depth[index])


def test_a_bad_mesh_is_refused() -> None:
    with pytest.raises(StudioError, match=r"faces point outside of the vertices; got indices 0\.\.7; expected 0\.\.2"):
        rasterize_mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 7]]), flat_camera(4, 4))
    with pytest.raises(StudioError, match="the mesh has the wrong shape"):
        rasterize_mesh(torch.zeros(3, 2), torch.tensor([[0, 1, 2]]), flat_camera(4, 4))


def square(texture: np.ndarray) -> tuple[torch.Tensor, MeshSurface]:
    """A square that fills pixels 2..10 of ``flat_camera``, with the texture upright on it."""
    faces = torch.tensor([[0, 3, 2], [0, 2, 1]])
    uvs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    surface = MeshSurface(faces, uvs, faces, torch.from_numpy(texture), torch.zeros(2))
    return on_plane((2, 2), (10, 2), (10, 10), (2, 10)), surface


def test_even_light_shows_the_texture_upright_and_unchanged() -> None:
    texture = np.random.default_rng(3).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    vertices, surface = square(texture)
    even = Lighting(key=0.0, sky=1.0, ground=1.0)
    output = render_mesh(vertices, surface, flat_camera(12, 12), even, supersample=1)
    assert np.abs(output.rgb[0, 2:10, 2:10].numpy() - texture / 255.0).max() < 2e-3
    assert output.alpha[0].sum() == 64
    assert torch.allclose(output.depth[0, 2:10, 2:10], torch.tensor(1.0))


def test_alpha_is_the_covered_part_of_a_pixel_and_colour_is_premultiplied() -> None:
    vertices, surface = square(np.full((1, 1, 3), 255, dtype=np.uint8))
    shifted = vertices + torch.tensor([0.05, 0.025, 0.0])  # half a pixel right, a quarter down
    output = render_mesh(shifted, surface, flat_camera(12, 12), Lighting(key=0.0, sky=1.0, ground=1.0), supersample=4)
    assert output.alpha[0, 5, 2].item() == pytest.approx(0.5)
    assert output.alpha[0, 10, 5].item() == pytest.approx(0.25)
    assert output.rgb[0, 5, 2, 1].item() == pytest.approx(0.5, abs=1e-3)
    assert output.depth[0, 5, 2].item() == pytest.approx(1.0)
