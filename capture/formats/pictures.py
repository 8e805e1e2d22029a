"""Pictures of any usual kind as 8-bit sRGB and matte, their size checked before they are decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from studio.errors import StudioError
from studio.media.images import decode_image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 1 << 27


@dataclass(frozen=True)
class Picture:
    """A picture.

    Args:
        image: [H, W, 3] uint8 sRGB.
        alpha: [H, W] uint8 matte, or None.
    """

    image: np.ndarray
    alpha: np.ndarray | None = None


Load = Callable[[], Picture]


def picture_size(source: Path | bytes, name: str) -> tuple[int, int]:
    """(width, height) from the header alone. Raises StudioError when it is no picture."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures: they are refused below
            with Image.open(stream) as header:
                width, height = header.size
    except FileNotFoundError as error:
        raise StudioError(f"cannot read the image {name}", got="no such file", expected="an image file") from error
    except Exception as error:  # PIL's plugins raise what they like for damaged headers
        raise StudioError(f"cannot read the image {name}", got="empty or damaged", expected="an image file") from error
    if width * height > MAX_PIXELS:
        raise StudioError(f"{name} is too large", got=f"{width}x{height}", expected=f"at most {MAX_PIXELS} pixels")
    return width, height


def decode(source: Path | bytes, name: str) -> np.ndarray:
    """Stored pixels [H, W, 1, 3 or 4] uint8, RGB(A), not turned by metadata: calibrations hold for stored pixels.

    Raises:
        StudioError: missing, damaged or too large.
    """
    picture_size(source, name)
    data = np.frombuffer(source, np.uint8) if isinstance(source, bytes) else np.fromfile(source, np.uint8)
    pixels = decode_image(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise StudioError(f"cannot read the image {name}", got="empty or damaged", expected="an image file")
    if pixels.dtype == np.uint16:
        pixels = (pixels / 257.0 + 0.5).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise StudioError(f"{name} is of another kind", got=pixels.dtype, expected="8 or 16 bits a channel")
    pixels = np.atleast_3d(pixels)
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA) if pixels.shape[2] == 4 else pixels[..., :1]


def as_picture(
    pixels: np.ndarray,  # [H, W, 1, 3 or 4]
) -> Picture:
    """Grey becomes colour; a fourth channel is the matte (straight alpha)."""
    if pixels.shape[2] == 1:
        return Picture(np.repeat(pixels, 3, axis=2))
    return Picture(np.ascontiguousarray(pixels[..., :3]), pixels[..., 3].copy() if pixels.shape[2] == 4 else None)


def as_matte(
    pixels: np.ndarray,  # [H, W, 1, 3 or 4]
) -> np.ndarray:
    """[H, W] uint8: the brightest colour channel (masks are stored grey, or as colour of equal channels)."""
    return pixels[..., :3].max(axis=2)


def read_picture(image: Path, matte: Path | None = None) -> Picture:
    """A picture and the matte of a second file. Raises StudioError when either cannot be read or they do not fit."""
    picture = as_picture(decode(image, str(image)))
    if matte is None:
        return picture
    alpha = as_matte(decode(matte, str(matte)))
    if alpha.shape != picture.image.shape[:2]:
        raise StudioError(
            f"{matte} does not fit its image",
            got=f"{alpha.shape[1]}x{alpha.shape[0]}",
            expected=f"{picture.image.shape[1]}x{picture.image.shape[0]}",
        )
    return Picture(picture.image, alpha)
