"""Pictures of textured meshes: smooth normals, bilinear texture, a key light under a soft sky, soft edges.

Light is added up in linear values and encoded to sRGB for each sample; samples are then averaged encoded, as every
compositing step of the program works on encoded values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.heads.model import HeadModel, vertex_normals
from studio.kernels.compiled import inlined, kernel
from studio.kernels.mesh_raster import for_image_bands, rasterize_mesh
from studio.kernels.vectors import cross, dot, minus, mix, unit
from studio.kernels.vectors import row as row_of
from studio.rotations import rigid_inverse

# How wet each part of a head looks: 0 is matt; skin is the default.
GLOSS: Mapping[str, float] = MappingProxyType(
    {
        "eye_left": 1.0,
        "eye_right": 1.0,
        "teeth_upper": 0.6,
        "teeth_lower": 0.6,
        "tongue": 0.4,
        "gums": 0.4,
        "mouth_interior": 0.1,
        "hair": 0.2,
        "torso": 0.03,
    }
)
_SKIN_GLOSS = 0.12


@dataclass(frozen=True)
class MeshSurface:
    """What a mesh is covered with.

    Args:
        faces: [F, 3] int64, counter-clockwise from outside.
        uvs: [U, 2] in 0..1, origin at the top left of the texture.
        faces_uv: [F, 3] int64.
        texture: [H, W, 3] uint8 sRGB.
        gloss: [F] 0 (matt) to 1 (wet).
    """

    faces: Tensor
    uvs: Tensor
    faces_uv: Tensor
    texture: Tensor
    gloss: Tensor

    @staticmethod
    def of(head: HeadModel) -> MeshSurface:
        """The surface of a head model; plain grey where it has no texture."""
        table = torch.tensor([GLOSS.get(name, _SKIN_GLOSS) for name in head.region_names])
        texture = head.texture if head.texture.numel() else torch.full((1, 1, 3), 180, dtype=torch.uint8)
        return MeshSurface(head.faces, head.uvs, head.faces_uv, texture, table[head.face_region])


@dataclass(frozen=True)
class Lighting:
    """One key light under a sky, in the world frame, in linear units (1 shows the texture as it is).

    Args:
        key_direction: from the scene towards the key light; any length.
        key: strength of the key light.
        sky: light from above (the surrounding is a gradient from ground to sky).
        ground: light from below.
        specular: strength of highlights.
        wrap: how far the key light reaches round the horizon, 0 (hard) to 1.
        tint: colour of all light.
    """

    key_direction: tuple[float, float, float] = (0.35, 0.6, 0.9)
    key: float = 0.55
    sky: float = 0.55
    ground: float = 0.35
    specular: float = 0.5
    wrap: float = 0.4
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


def render_mesh(
    vertices: Tensor,  # [V, 3] or [C, V, 3] world, metres
    surface: MeshSurface | HeadModel,
    camera: Camera,  # C cameras
    lighting: Lighting | None = None,
    *,
    supersample: int = 2,
    two_sided: bool = True,
) -> RenderOutput:
    """Draw a mesh; edges are softened by ``supersample`` squared samples for each pixel.

    Raises:
        StudioError: shapes do not fit together.
    """
    surface = MeshSurface.of(surface) if isinstance(surface, HeadModel) else surface
    lighting = lighting or Lighting()
    fragments = rasterize_mesh(vertices, surface.faces, camera, supersample=supersample, two_sided=two_sided)
    count = len(camera)
    positions = vertices.expand(count, *vertices.shape[-2:]).float().contiguous().numpy()
    normals = vertex_normals(vertices.float(), surface.faces).expand(count, -1, -1).contiguous().numpy()
    eyes = rigid_inverse(camera.viewmats)[:, :3, 3].float().contiguous().numpy()
    material = _material(surface)
    lights = _lights(lighting)
    images = np.zeros((count, camera.height, camera.width, 5), dtype=np.float32)
    face_id, bary, depth = fragments.face_id.numpy(), fragments.bary.numpy(), fragments.depth.numpy()

    def shade(index: int, rows: slice) -> None:
        samples = slice(rows.start * supersample, rows.stop * supersample)
        seen = (face_id[index, samples], bary[index, samples], depth[index, samples])
        _shade(*seen, positions[index], normals[index], eyes[index], *material, lights, images[index, rows])

    for_image_bands(shade, count, camera.height)
    result = torch.from_numpy(images)
    return RenderOutput(result[..., :3].contiguous(), result[..., 3].contiguous(), lambda: result[..., 4].contiguous())


def _material(surface: MeshSurface) -> tuple[np.ndarray, ...]:
    levels = np.arange(256) / 255.0
    decoded = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    steps = np.arange(4098) / 4096.0
    encoded = np.where(steps <= 0.0031308, 12.92 * steps, 1.055 * steps ** (1 / 2.4) - 0.055)
    return (
        surface.faces.contiguous().numpy(),
        surface.uvs.float().contiguous().numpy(),
        surface.faces_uv.contiguous().numpy(),
        surface.texture.contiguous().numpy(),
        surface.gloss.float().contiguous().numpy(),
        decoded.astype(np.float32),
        encoded.astype(np.float32),
    )


def _lights(lighting: Lighting) -> np.ndarray:
    direction = np.asarray(lighting.key_direction, dtype=np.float64)
    direction /= np.linalg.norm(direction)
    levels = (lighting.key, lighting.sky, lighting.ground, lighting.specular, lighting.wrap)
    return np.array((*direction, *levels, *lighting.tint), dtype=np.float32)


@kernel
def _shade(  # type: ignore[no-untyped-def]
    face_id, bary, depth, positions, normals, eye, faces, uvs, faces_uv, texture, gloss, decoded, encoded, lights, image
):
    """Average the shaded samples of each pixel into ``image`` [H, W, 5]: red, green, blue, alpha, depth."""
    size = face_id.shape[0] // image.shape[0]
    share = np.float32(1.0 / (size * size))
    for row in range(face_id.shape[0]):
        for column in range(face_id.shape[1]):
            face = face_id[row, column]
            if face < 0:
                continue
            weights = (bary[row, column, 0], bary[row, column, 1], bary[row, column, 2])
            corners = row_of(faces, face)
            a, b, c = row_of(positions, corners[0]), row_of(positions, corners[1]), row_of(positions, corners[2])
            view = unit(minus((eye[0], eye[1], eye[2]), mix(weights, a, b, c)))
            normal = unit(
                mix(weights, row_of(normals, corners[0]), row_of(normals, corners[1]), row_of(normals, corners[2]))
            )
            if dot(normal, view) < 0.0:
                normal = _seen(normal, view, cross(minus(b, a), minus(c, a)))
            diffuse, highlight = _light(normal, view, gloss[face], lights)
            p, q, r = faces_uv[face, 0], faces_uv[face, 1], faces_uv[face, 2]
            u = weights[0] * uvs[p, 0] + weights[1] * uvs[q, 0] + weights[2] * uvs[r, 0]
            v = weights[0] * uvs[p, 1] + weights[1] * uvs[q, 1] + weights[2] * uvs[r, 1]
            albedo = _sample(texture, u, v, decoded)
            y, x = row // size, column // size
            for k in range(3):
                image[y, x, k] += share * _encode((albedo[k] * diffuse + highlight) * lights[8 + k], encoded)
            image[y, x, 3] += share
            image[y, x, 4] += depth[row, column]
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            if image[row, column, 3] > 0.0:
                image[row, column, 4] *= share / image[row, column, 3]


@inlined
def _seen(normal, view, outward):  # type: ignore[no-untyped-def]
    """A usable normal where the smooth one points away: turned round on the back of a triangle, else levelled."""
    if dot(outward, view) < 0.0:
        return -normal[0], -normal[1], -normal[2]
    along = dot(normal, view)
    return unit(minus(normal, (along * view[0], along * view[1], along * view[2])))


@inlined
def _light(normal, view, gloss, lights):  # type: ignore[no-untyped-def]
    """Diffuse light and highlight (Blinn-Phong, sharper where glossier) of a surface point."""
    towards = (lights[0], lights[1], lights[2])
    key, sky, ground, specular, wrap = lights[3], lights[4], lights[5], lights[6], lights[7]
    upward = np.float32(0.5) * (np.float32(1.0) + normal[1])
    reached = max((dot(normal, towards) + wrap) / (np.float32(1.0) + wrap), np.float32(0.0))
    half = unit((towards[0] + view[0], towards[1] + view[1], towards[2] + view[2]))
    shine = max(dot(normal, half), np.float32(0.0))
    exponent = np.float32(12.0) + np.float32(160.0) * gloss * gloss
    return ground + (sky - ground) * upward + key * reached, specular * gloss * key * shine**exponent


@inlined
def _sample(texture, u, v, decoded):  # type: ignore[no-untyped-def]
    """Bilinear texture lookup in linear values; texel centres at half texels, edges repeated."""
    height, width = texture.shape[0], texture.shape[1]
    x = min(max(u * width - np.float32(0.5), np.float32(0.0)), np.float32(width - 1))
    y = min(max(v * height - np.float32(0.5), np.float32(0.0)), np.float32(height - 1))
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    fx, fy = x - np.float32(left), y - np.float32(top)
    w00, w01 = (np.float32(1.0) - fy) * (np.float32(1.0) - fx), (np.float32(1.0) - fy) * fx
    w10, w11 = fy * (np.float32(1.0) - fx), fy * fx
    return (
        _texel(texture, decoded, 0, top, left, bottom, right, w00, w01, w10, w11),
        _texel(texture, decoded, 1, top, left, bottom, right, w00, w01, w10, w11),
        _texel(texture, decoded, 2, top, left, bottom, right, w00, w01, w10, w11),
    )


@inlined
def _texel(texture, decoded, k, top, left, bottom, right, w00, w01, w10, w11):  # type: ignore[no-untyped-def]
    upper = w00 * decoded[texture[top, left, k]] + w01 * decoded[texture[top, right, k]]
    return upper + w10 * decoded[texture[bottom, left, k]] + w11 * decoded[texture[bottom, right, k]]


@inlined
def _encode(value, encoded):  # type: ignore[no-untyped-def]
    """sRGB encoding of a linear value by table."""
    position = min(max(value, np.float32(0.0)), np.float32(1.0)) * np.float32(4096.0)
    index = int(position)
    part = position - np.float32(index)
    return encoded[index] + part * (encoded[index + 1] - encoded[index])
