"""A head as other programs want it: one uv for each vertex, the shoulders with a place in the texture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from studio.heads.model import HeadModel

_STRIP = 0.2  # of the texture's height, for shoulders that have no uvs of their own
_MARGIN = 0.01


@dataclass(frozen=True)
class Surface:
    """Vertices split where the texture has seams.

    Args:
        vertices: [W] int64, which vertex of the head each one is.
        uvs: [W, 2] origin at the top left.
        faces: [F, 3] int64 into them, counter-clockwise from outside.
    """

    vertices: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray


def with_all_uvs(head: HeadModel) -> HeadModel:
    """The head with uvs for the shoulders that it was given, which all lie on one point: front and back side by side.

    What had uvs moves up to make room.
    """
    corners = head.uvs[head.faces_uv]
    flat = (corners.amax(1) - corners.amin(1)).amax(1) == 0
    if not bool(flat.any()):
        return head
    places = head.template[head.faces[flat]]  # [B, 3, 3]
    normal = torch.linalg.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
    low, high = places.flatten(0, 1).amin(0), places.flatten(0, 1).amax(0)
    across, down = ((places - low) / (high - low))[..., 0], ((high - places) / (high - low))[..., 1]
    back = (normal[:, 2:] < 0).float()
    u = 0.5 * (_MARGIN + (1 - 2 * _MARGIN) * across + back)
    v = 1 - _STRIP * (1 - _MARGIN - (1 - 2 * _MARGIN) * down)
    squeezed = head.uvs * torch.tensor((1.0, 1 - _STRIP))
    faces_uv = head.faces_uv.clone()
    faces_uv[flat] = len(squeezed) + torch.arange(3 * int(flat.sum())).reshape(-1, 3)
    return replace(head, uvs=torch.cat((squeezed, torch.stack((u, v), -1).flatten(0, 1))), faces_uv=faces_uv)


def surface_of(head: HeadModel) -> Surface:
    """The head's triangles over pairs of vertex and uv."""
    vertices, places = head.faces.flatten().numpy(), head.faces_uv.flatten().numpy()
    uvs, place = np.unique(head.uvs.numpy(), axis=0, return_inverse=True)
    pairs, index = np.unique(np.stack((vertices, place.reshape(-1)[places]), 1), axis=0, return_inverse=True)
    return Surface(pairs[:, 0], uvs[pairs[:, 1]].astype(np.float32), index.reshape(-1, 3))


def texel_places(head: HeadModel, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Which triangle [H, W] int64 each texel lies in (-1: none), and where on it [H, W, 3]."""
    from studio.cameras import Camera
    from studio.kernels.mesh_raster import rasterize_mesh

    flat = torch.cat((head.uvs * torch.tensor((width, height)), torch.ones(len(head.uvs), 1)), dim=1)
    camera = Camera(torch.eye(4)[None], torch.eye(3)[None], width, height)
    fragments = rasterize_mesh(flat, head.faces_uv, camera)
    return fragments.face_id[0].long(), fragments.bary[0]
