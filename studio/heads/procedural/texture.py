"""The painted texture: every texel is coloured by where it lies on the head."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from studio.heads.procedural import paint_parts
from studio.heads.procedural.appearance import Appearance
from studio.heads.procedural.canvas import Canvas
from studio.heads.procedural.mesh import Mesh
from studio.heads.procedural.paint_skin import draw_brow_hairs, paint_skin
from studio.heads.procedural.skull import Array
from studio.heads.procedural.uvmap import Texels, rasterize_uv

_PAINTERS: tuple[tuple[tuple[str, ...], Callable[[Canvas], Array]], ...] = (
    (("face", "scalp", "neck"), paint_skin),
    (("eye_left", "eye_right"), paint_parts.paint_eye),
    (("ear_left", "ear_right"), paint_parts.paint_ear),
    (("hair",), paint_parts.paint_hair),
    (("torso",), paint_parts.paint_cloth),
    (("teeth_upper", "teeth_lower"), paint_parts.paint_teeth),
    (("mouth_interior", "gums", "tongue"), paint_parts.paint_flesh),
    (("brows", "lashes"), paint_parts.paint_strands),
)
_BLEED_TEXELS = 4


def build_texture(mesh: Mesh, appearance: Appearance, size: int = 1024) -> NDArray[np.uint8]:
    """The head's texture [size, size, 3], sRGB.

    Args:
        mesh: the neutral head.
        appearance: the subject.
        size: edge length in texels.
    """
    texels = _texels(mesh, size)
    rng = np.random.default_rng(appearance.seed)
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = np.array(appearance.skin) * 0.6
    whole = Canvas(mesh, texels, appearance, _grain(rng, size).ravel()[texels.index], rng)
    for regions, paint in _PAINTERS:
        part = whole.part(whole.shows(*regions))
        picture.reshape(-1, 3)[part.texels.index] = paint(part)
    draw_brow_hairs(picture, appearance, rng)
    _bleed(picture, texels)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _texels(mesh: Mesh, size: int) -> Texels:
    return _rasterized(mesh.uvs.tobytes(), mesh.faces_uv.tobytes(), size)


@lru_cache(maxsize=2)
def _rasterized(uvs: bytes, faces_uv: bytes, size: int) -> Texels:
    """The atlas rasterised; remembered, since all subjects share it."""
    return rasterize_uv(np.frombuffer(uvs).reshape(-1, 2), np.frombuffer(faces_uv, np.int64).reshape(-1, 3), size)


def _grain(rng: np.random.Generator, size: int) -> Array:
    """White noise [size, size], blurred a little, of unit variance."""
    noise = rng.standard_normal((size, size), dtype=np.float32)
    soft = noise + 0.6 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, -1, 0) + np.roll(noise, -1, 1))
    return soft / soft.std()


def _bleed(
    picture: Array,  # [size, size, 3], changed in place
    texels: Texels,
) -> None:
    """Carry the islands' rims a few texels outwards, so that filtering never meets the gaps."""
    known = np.zeros(picture.shape[:2], bool)
    known.ravel()[texels.index] = True
    for _ in range(_BLEED_TEXELS):
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            fresh = np.roll(known, step, axis) & ~known
            picture[fresh] = np.roll(picture, step, axis)[fresh]
            known |= fresh
