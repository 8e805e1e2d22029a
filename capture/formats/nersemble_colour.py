"""Colour calibration as NeRSemble's recordings bring it, applied to 8-bit sRGB images."""

from __future__ import annotations

from math import prod

import numpy as np

from capture.formats.files import numbers
from studio.errors import StudioError
from studio.media.images import to_uint8

_SQUARES, _CUBES = "RG RB GB RR GG BB RGB", "RRR GGG BBB"
_MIXED = "RRG GGB BBR"
_MIXED_ALL = f"{_MIXED} RRB GGR BBG"
# Number of columns -> the products of channels that they multiply (Cheung et al., 2004; Westland and Ripamonti, 2004).
_PRODUCTS = {
    len(text.split()): text.split()
    for text in (
        "R G B",
        "R G B 1",
        "R G B RGB 1",
        "R G B RG RB GB 1",
        "R G B RG RB GB RGB 1",
        "R G B RG RB GB RR GG BB 1",
        f"R G B {_SQUARES} 1",
        f"R G B {_SQUARES} {_CUBES} 1",
        f"R G B {_SQUARES} {_MIXED} {_CUBES}",
        f"R G B {_SQUARES} {_MIXED} {_CUBES} 1",
        f"R G B {_SQUARES} {_MIXED_ALL} {_CUBES}",
        f"R G B {_SQUARES} {_MIXED_ALL} {_CUBES} 1",
        f"R G B {_SQUARES} {_MIXED_ALL} {_CUBES} RRGB RGGB RGBB",
    )
}
_BLOCK = 64  # rows at once: the products take many times the memory of the image
_ENCODED = np.arange(256) / 255.0
_LINEAR = np.where(_ENCODED <= 0.04045, _ENCODED / 12.92, ((_ENCODED + 0.055) / 1.055) ** 2.4).astype(np.float32)


def check_ccm(value: object, what: str) -> np.ndarray:
    """A colour correction matrix [3, terms] as it was read. Raises StudioError for another number of terms."""
    matrix = numbers(value, (3, -1), what)
    if matrix.shape[1] not in _PRODUCTS:
        raise StudioError(f"{what} has no known form", got=f"{matrix.shape[1]} columns", expected=sorted(_PRODUCTS))
    return matrix


def apply_ccm(
    image: np.ndarray,  # [H, W, 3] uint8 sRGB
    matrix: np.ndarray,  # [3, terms]
) -> np.ndarray:
    """The corrected image: sRGB decoded, the matrix times the products of the linear channels, encoded again."""
    factors = [["RGB".index(letter) for letter in text if letter != "1"] for text in _PRODUCTS[matrix.shape[1]]]
    corrected = np.empty_like(image)
    for top in range(0, len(image), _BLOCK):
        linear = _LINEAR[image[top : top + _BLOCK]]
        ones = np.ones(linear.shape[:2], np.float32)
        expanded = np.stack([prod((linear[..., index] for index in factor), start=ones) for factor in factors], axis=-1)
        result = np.clip(expanded @ matrix.T.astype(np.float32), 0.0, 1.0)
        encoded = np.where(result <= 0.0031308, 12.92 * result, 1.055 * result ** (1 / 2.4) - 0.055)
        corrected[top : top + _BLOCK] = to_uint8(encoded)
    return corrected


def apply_affine(
    image: np.ndarray,  # [H, W, 3] uint8 sRGB
    matrix: np.ndarray,  # [4, 4]
) -> np.ndarray:
    """NeRSemble v1: encoded values times A[:3, :3] (from the right) plus A[:3, 3]."""
    values = image.astype(np.float32) / 255
    return to_uint8(values @ matrix[:3, :3].astype(np.float32) + matrix[:3, 3].astype(np.float32))
