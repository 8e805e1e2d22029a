"""A texture of what an avatar looks like: it is drawn from around and projected onto its mesh.

Every texel is the mean of the pictures that see it, weighted towards those that look straight at it and at the front,
where the person was filmed; whether a picture sees it is asked of the mesh's own depth, and of which part of the head
the mesh shows there. Skin and the inside of the mouth are drawn from their own Gaussians only, so that lips do not
stain teeth; mouth and eyes are also looked at while they are open. What no picture sees takes the nearest colour of
its part of the head; in eyes and mouth, where that would make a patchwork, a blurred one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.field import Gaussians
from reenact.mesh.surface import texel_places
from studio.avatar import Avatar, RenderOutput
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
_TRUST, _DISTRUST = 40.0, 0.02  # degrees from the front over which a picture counts less, and how little at last
_LEAST = 1e-3
_EYE_GROUP = 1
_EYES = ("eye_left", "eye_right")
_MOUTH = ("teeth_upper", "teeth_lower", "gums", "tongue", "mouth_interior")
_BLUR, _USUAL = 0.02, 1e-3  # of the texture's width; the share of a part's median colour in what nobody saw


def bake_texture(
    avatar: SplatAvatar,
    head: HeadModel,  # the avatar's whole head without identity parameters, every triangle with uvs of its own
    size: int,
) -> np.ndarray:
    """The texture [size, size, 3] uint8 sRGB."""
    faces, bary = texel_places(head, size, size)
    rows, columns = torch.nonzero(faces >= 0, as_tuple=True)
    face, where = faces[rows, columns], bary[rows, columns]
    total, weights, group = torch.zeros(len(face), 3), torch.zeros(len(face)), _groups(head)
    jobs = [(_state(avatar, channels), angles) for channels, angles in _STATES for angles in _pairs(angles)]
    for codes, some in progress(jobs, "texture", total=len(jobs)):
        colors, weight = _seen(avatar, head, group, codes, _cameras(some), face, where)
        weight = weight * _trust(some)[:, None]
        total += (colors * weight[..., None]).sum(0)
        weights += weight.sum(0)
    seen = weights > _LEAST
    colors = torch.where(seen[:, None], total / weights.clamp(min=_LEAST)[:, None], 0.0)
    image, known = np.zeros((size, size, 3), np.float32), np.zeros((size, size), bool)
    region = np.full((size, size), -1)
    image[rows, columns], known[rows, columns] = colors.numpy(), seen.numpy()
    region[rows, columns] = head.face_region[face].numpy()
    inner = [index for index, name in enumerate(head.region_names) if name in (*_EYES, *_MOUTH)]
    return (_filled(image, known, region, inner).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _pairs(angles: Sequence[tuple[int, int]]) -> list[Sequence[tuple[int, int]]]:
    """A few cameras at a time: all of them at once would need a lot of memory."""
    return [angles[first : first + 4] for first in range(0, len(angles), 4)]


def _state(avatar: Avatar, channels: Mapping[str, float]) -> Codes:
    """A face without expression but for some channels, at the world's origin, no further than was learned."""
    known = avatar.code_range.high
    wanted = {name: amount for name, amount in channels.items() if name in avatar.space.channels}
    amounts = {name: min(amount, float(known.expression[avatar.space.index(name)])) for name, amount in wanted.items()}
    return Codes.neutral(avatar.space).with_channels(**amounts)


def _trust(angles: Sequence[tuple[int, int]]) -> Tensor:
    """How much pictures from these sides count [C]."""
    off = torch.tensor([math.hypot(*angle) for angle in angles])
    return torch.exp(-((off / _TRUST) ** 2)) + _DISTRUST


def _groups(head: HeadModel) -> Tensor:
    """To which group each part of the head [R] belongs: 1 the eyes, 2 the inside of the mouth, 0 all others."""
    return torch.tensor([_EYE_GROUP if name in _EYES else 2 if name in _MOUTH else 0 for name in head.region_names])


def _cameras(angles: Sequence[tuple[int, int]]) -> Camera:
    azimuths, elevations = torch.deg2rad(torch.tensor(angles, dtype=torch.float32)).unbind(1)
    K = intrinsics(_SIZE * _DISTANCE / _REACH, _SIZE, _SIZE)
    return orbit(torch.tensor([0.0, -0.05, -0.06]), _DISTANCE, azimuths, elevations, K, _SIZE, _SIZE)


def _seen(
    avatar: SplatAvatar, head: HeadModel, group: Tensor, codes: Codes, cameras: Camera, face: Tensor, where: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours [C, N, 3] of the texels in the pictures and how much they count [C, N]."""
    vertices = head.vertices(torch.zeros(0), codes)
    corners = head.faces[face]
    places = (vertices[corners] * where[..., None]).sum(1)
    normals = (vertex_normals(vertices, head.faces)[corners] * where[..., None]).sum(1)
    fragments = rasterize_mesh(vertices, head.faces, cameras)
    xy, z = cameras.project(places)
    grid = (xy / torch.tensor((cameras.width, cameras.height)) * 2 - 1)[:, None]  # [C, 1, N, 2]

    def sampled(images: Tensor, mode: str) -> Tensor:
        """[C, K, N] of images [C, K, H, W] at the texels."""
        return torch.nn.functional.grid_sample(images, grid, mode=mode, align_corners=False)[:, :, 0]

    part = group[head.face_region.long()]
    front = torch.where(fragments.face_id >= 0, part[fragments.face_id.clamp(min=0).long()], -1)
    seen_part = sampled(front[:, None].float(), "nearest")[:, 0]
    nearest = sampled(fragments.depth[:, None], "nearest")[:, 0]
    toward = torch.nn.functional.normalize(cameras.centers[:, None] - places, dim=-1)
    facing = (toward * torch.nn.functional.normalize(normals, dim=-1)).sum(-1).clamp(min=0)
    visible = (nearest > 0) & (z < nearest + _DEEPER) & (seen_part == part[face])
    colors, alphas = torch.zeros(len(cameras), len(face), 3), torch.zeros(len(cameras), len(face))
    for which in torch.unique(part[face]):
        picture, mine = _drawn(avatar, group, int(which), codes, cameras), part[face] == which
        alpha = sampled(picture.alpha[:, None], "bilinear")[:, 0, mine]
        premultiplied = sampled(picture.rgb.permute(0, 3, 1, 2), "bilinear").transpose(1, 2)[:, mine]
        colors[:, mine], alphas[:, mine] = premultiplied / alpha.clamp(min=0.1)[..., None], alpha
    return colors, torch.where(visible & (alphas > 0.5), facing**_POWER * alphas, 0.0)


@torch.no_grad()
def _drawn(avatar: SplatAvatar, group: Tensor, which: int, codes: Codes, cameras: Camera) -> RenderOutput:
    """A picture of one group's Gaussians; of all for the eyes, before which lids and lashes carry some of the iris."""
    own = (group[avatar.regions()[0].long()] == which) | (which == _EYE_GROUP)
    every = avatar.head_gaussians(codes)
    some = Gaussians(*(getattr(every, item.name)[own] for item in fields(every)))
    return avatar.render_gaussians(cameras, some, codes.head_to_world).cpu()


def _filled(image: np.ndarray, known: np.ndarray, region: np.ndarray, blurred: Sequence[int]) -> np.ndarray:
    """The image with unknown texels of each region from its nearest known ones, and all the rest from the nearest.

    In ``blurred`` regions it is a blurred colour of the known ones, far from them their median.
    """
    result = image.copy()
    for index in np.unique(region[region >= 0]):
        inside = region == index
        source = known & inside
        if source.any() and index in blurred:
            usual, width = np.median(image[source], axis=0), _BLUR * len(image)
            share = gaussian_filter(source.astype(np.float32), width)[..., None] + _USUAL
            near = gaussian_filter(np.where(source[..., None], image, 0.0), (width, width, 0)) + _USUAL * usual
            missing = inside & ~known
            result[missing] = (near / share)[missing]
            known = known | inside
        elif source.any():
            nearest = distance_transform_edt(~source, return_distances=False, return_indices=True)
            missing = inside & ~known
            result[missing] = image[tuple(nearest)][missing]
            known = known | inside
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return result[tuple(nearest)]
