"""Still images, on OpenCV's codecs through imageio's conventions: RGB order, uint8, top-left origin."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from studio.errors import StudioError

# PNG level 1 writes five times faster than the default and costs a tenth more bytes.
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def read_image(path: Path, *, gray: bool = False) -> np.ndarray:
    """Read an image as uint8, [H, W, 3] sRGB or [H, W] for ``gray``. Raises StudioError when it cannot be read."""
    data = np.fromfile(path, dtype=np.uint8) if path.is_file() else np.empty(0, dtype=np.uint8)
    image = decode_image(data, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB)
    if image is None:
        problem = "no such file" if not path.exists() else "empty or damaged"
        raise StudioError(f"cannot read the image {path}", got=problem, expected="a PNG or JPEG file")
    return image


def decode_image(
    data: np.ndarray,  # [N] uint8, an encoded image
    flags: int,
) -> np.ndarray | None:
    """OpenCV's ``imdecode``, or None for what it cannot decode.

    PNG files with a part that claims more bytes than there are do not reach it: it would take that much memory.
    """
    if not data.size or not _whole_parts(data.tobytes()):
        return None
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:
        return None


def _whole_parts(data: bytes) -> bool:
    """False for a PNG file with a part that reaches beyond its end, as in one that was cut off."""
    place = len(_PNG_MAGIC)
    if not data.startswith(_PNG_MAGIC):
        return True
    while place + 8 <= len(data):
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return place <= len(data)


def write_image(path: Path, image: np.ndarray, comment: str = "") -> None:
    """Write uint8 [H, W, 3] sRGB, [H, W, 4] or [H, W]; the suffix chooses the format. Makes the folder.

    ``comment`` (ASCII) is kept in a PNG file as its text "Comment".

    Raises:
        StudioError: the file cannot be written.
        OSError: the disk is full.
    """
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[image.ndim if image.ndim == 2 else image.shape[2]]
    pixels = image if order is None else cv2.cvtColor(image, order)
    done, data = cv2.imencode(path.suffix, pixels, _PNG_FAST if path.suffix == ".png" else [])
    if not done:
        raise StudioError(f"cannot encode {path}", got=path.suffix, expected=".png or .jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = _with_comment(data.tobytes(), comment) if comment and path.suffix == ".png" else data.tobytes()
    path.write_bytes(encoded)  # not ndarray.tofile, whose error does not say that the disk is full


def _with_comment(data: bytes, comment: str) -> bytes:
    """A PNG file with a text chunk after its header, which is 25 bytes long."""
    body = b"tEXtComment\0" + comment.encode("ascii", "replace")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    place = len(_PNG_MAGIC) + 25
    return data[:place] + chunk + data[place:]


def to_uint8(
    image: np.ndarray,  # [...] float, 0..1
) -> np.ndarray:
    """Round sRGB-encoded values to 8 bits."""
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
