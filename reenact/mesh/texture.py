"""A texture of what an avatar looks like: it is drawn from around and projected onto its mesh.

Every texel is the mean of the pictures that see it, weighted towards those that look straight at it; whether a picture
sees it is asked of the mesh's own depth. Mouth and eyes are also looked at while they are open. What no picture sees
takes the nearest colour of the same part of the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from reenact.mesh.surface import texel_places
from studio.avatar import Avatar
from studio.cameras import Camera, intrinsics, orbit
from studio.codes import Codes
from studio.heads.model import HeadModel, vertex_normals
from studio.kernels.mesh_raster import rasterize_mesh
from studio.logs import progress

_SIZE, _DISTANCE = 768, 1.2  # of the pictures in pixels, of the cameras in metres
_REACH = 0.36  # metres that a picture shows across
_AROUND = ((0, 0), (25, 0), (-25, 0), (50, 5), (-50, 5), (85, 0), (-85, 0), (0, 30), (0, -25), (40, 40), (-40, 40))
_BEHIND = ((130, 10), (-130, 10), (180, 10), (180, 60))
_OPEN = ((0, 0), (0, -20), (0, 20), (20, 0), (-20, 0))  # degrees, azimuth and elevation
_STATES: tuple[tuple[Mapping[str, float], Sequence[tuple[int, int]]], ...] = (
    ({}, (*_AROUND, *_BEHIND)),
    ({"jawOpen": 0.8, "mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6, "mouthLowerDownLeft": 0.6}, _OPEN),
    ({"eyeWideLeft": 1.0, "eyeWideRight": 1.0}, _OPEN),
)
_DEEPER = 0.004  # metres behind the mesh's depth that still count as seen
_POWER = 4.0  # of the cosine between view and surface
_LEAST = 1e-3


def bake_texture(
    avatar: Avatar,
    head: HeadModel,  # the avatar's whole head without identity parameters, every triangle with uvs of its own
    size: int,
) -> np.ndarray:
    """The texture [size, size, 3] uint8 sRGB."""
    faces, bary = texel_places(head, size, size)
    rows, columns = torch.nonzero(faces >= 0, as_tuple=True)
    face, where = faces[rows, columns], bary[rows, columns]
    total, weights = torch.zeros(len(face), 3), torch.zeros(len(face))
    jobs = [(_state(avatar, channels), angles) for channels, angles in _STATES for angles in _pairs(angles)]
    for codes, some in progress(jobs, "texture", total=len(jobs)):
        colors, weight = _seen(avatar, head, codes, _cameras(some), face, where)
        total += (colors * weight[..., None]).sum(0)
        weights += weight.sum(0)
    seen = weights > _LEAST
    colors = torch.where(seen[:, None], total / weights.clamp(min=_LEAST)[:, None], 0.0)
    image, known = np.zeros((size, size, 3), np.float32), np.zeros((size, size), bool)
    region = np.full((size, size), -1)
    image[rows, columns], known[rows, columns] = colors.numpy(), seen.numpy()
    region[rows, columns] = head.face_region[face].numpy()
    return (_filled(image, known, region).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _pairs(angles: Sequence[tuple[int, int]]) -> list[Sequence[tuple[int, int]]]:
    """A few cameras at a time: all of them at once would need a lot of memory."""
    return [angles[first : first + 4] for first in range(0, len(angles), 4)]


def _state(avatar: Avatar, channels: Mapping[str, float]) -> Codes:
    """A face without expression but for some channels, at the world's origin, no further than was learned."""
    known = avatar.code_range.high
    wanted = {name: amount for name, amount in channels.items() if name in avatar.space.channels}
    amounts = {name: min(amount, float(known.expression[avatar.space.index(name)])) for name, amount in wanted.items()}
    return Codes.neutral(avatar.space).with_channels(**amounts)


def _cameras(angles: Sequence[tuple[int, int]]) -> Camera:
    azimuths, elevations = torch.deg2rad(torch.tensor(angles, dtype=torch.float32)).unbind(1)
    K = intrinsics(_SIZE * _DISTANCE / _REACH, _SIZE, _SIZE)
    return orbit(torch.tensor([0.0, -0.05, -0.06]), _DISTANCE, azimuths, elevations, K, _SIZE, _SIZE)


def _seen(
    avatar: Avatar, head: HeadModel, codes: Codes, cameras: Camera, face: Tensor, where: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours [C, N, 3] of the texels in the pictures and how much they count [C, N]."""
    vertices = head.vertices(torch.zeros(0), codes)
    corners = head.faces[face]
    places = (vertices[corners] * where[..., None]).sum(1)
    normals = (vertex_normals(vertices, head.faces)[corners] * where[..., None]).sum(1)
    picture = avatar.render(cameras, codes).cpu()
    depth = rasterize_mesh(vertices, head.faces, cameras).depth
    xy, z = cameras.project(places)
    grid = (xy / torch.tensor((cameras.width, cameras.height)) * 2 - 1)[:, None]  # [C, 1, N, 2]

    def sampled(images: Tensor, mode: str) -> Tensor:
        """[C, K, N] of images [C, K, H, W] at the texels."""
        return torch.nn.functional.grid_sample(images, grid, mode=mode, align_corners=False)[:, :, 0]

    alpha = sampled(picture.alpha[:, None], "bilinear")[:, 0]
    colors = sampled(picture.rgb.permute(0, 3, 1, 2), "bilinear").transpose(1, 2) / alpha.clamp(min=0.1)[..., None]
    nearest = sampled(depth[:, None], "nearest")[:, 0]
    toward = torch.nn.functional.normalize(cameras.centers[:, None] - places, dim=-1)
    facing = (toward * torch.nn.functional.normalize(normals, dim=-1)).sum(-1).clamp(min=0)
    visible = (nearest > 0) & (z < nearest + _DEEPER) & (alpha > 0.5)
    return colors, torch.where(visible, facing**_POWER * alpha, 0.0)


def _filled(image: np.ndarray, known: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The image with unknown texels of each region from its nearest known ones, and all the rest from the nearest."""
    result = image.copy()
    for index in np.unique(region[region >= 0]):
        inside = region == index
        source = known & inside
        if source.any():
            nearest = distance_transform_edt(~source, return_distances=False, return_indices=True)
            missing = inside & ~known
            result[missing] = image[tuple(nearest)][missing]
            known = known | inside
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return result[tuple(nearest)]
