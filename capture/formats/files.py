"""Reading what strangers wrote: nothing is executed, paths stay in their folder, sizes are checked before memory is
taken.

Whatever is wrong with a file becomes one StudioError that names it.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import StudioError
from studio.unpickler import plain_array

MAX_TEXT_BYTES = 1 << 29
MAX_NAME_BYTES = 240  # what file systems allow, with room for a suffix
MAX_ARRAY_BYTES = 1 << 28  # of one array in an npz: FLAME's parameters of a clip are a few MB
_DAMAGE = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    EOFError,
    OSError,
    MemoryError,
    SyntaxError,  # numpy reads the headers of arrays as Python literals
    tokenize.TokenError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,  # zipfile: an unknown compression
    RuntimeError,  # zipfile: encrypted
)


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes a StudioError that names ``path`` and says what it should hold."""
    try:
        yield
    except StudioError:
        raise
    except _DAMAGE as error:
        problem = f"no {error}" if isinstance(error, KeyError) else error or type(error).__name__
        if isinstance(error, FileNotFoundError):
            problem = "no such file"
        raise StudioError(f"cannot read {path}", got=str(problem)[:200], expected=expected) from error


def inside(folder: Path, name: object, reach: Path | None = None) -> Path:
    """The path of a file that a description names.

    Args:
        folder: what the name is relative to.
        name: the name as it was read.
        reach: the folder that the name must not leave; ``folder`` by default.

    Raises:
        StudioError: no text, an absolute path, or one that leads out of ``reach``.
    """
    text = str(name) if isinstance(name, str) else ""
    joined = os.path.normpath(os.path.join(folder, text))
    root = os.path.normpath(reach or folder)
    contained = joined != root and os.path.commonpath([os.path.abspath(joined), os.path.abspath(root)]) == (
        os.path.abspath(root)
    )
    long = max(len(part.encode(errors="replace")) for part in text.split("/")) > MAX_NAME_BYTES
    if not text or not text.isprintable() or os.path.isabs(text) or not contained or long:
        raise StudioError(
            f"a file name that leads out of {root}" if text else f"a missing file name in {folder}",
            got=repr(name)[:100],
            expected="a path inside of the folder",
            next="do not trust this data",
        )
    return Path(joined)


def read_text(path: Path) -> str:
    """A text file. Raises StudioError when it is missing, too large or no text."""
    with reading(path, "a text file"):
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise ValueError(f"{size} bytes of text")
        return path.read_text(encoding="utf-8")


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """A JSON object. Raises StudioError when it is missing, damaged or something else."""
    text = read_text(path)
    with reading(path, expected):
        data = json.loads(text)
        if not isinstance(data, dict):
            raise TypeError(f"a {type(data).__name__}")
        return data


def mentions(path: Path, *words: str) -> bool:
    """Whether the beginning of a text file (64 kB) holds all these words; False where it cannot be read."""
    try:
        with path.open("rb") as stream:
            start = stream.read(1 << 16).decode("utf-8", errors="replace")
    except OSError:
        return False
    return all(word in start for word in words)


def numbers(
    value: object,
    shape: Sequence[int],
    what: str,
) -> np.ndarray:
    """A finite float64 array of a shape (-1: any size); ``what`` names it in messages.

    Raises:
        StudioError: not numbers, another shape, or not finite.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise StudioError(f"{what} is not made of numbers", got=repr(value)[:80]) from error
    fits = array.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, array.shape))
    if not fits or not np.isfinite(array).all():
        got = f"shape {list(array.shape)}" if not fits else "values that are not finite"
        raise StudioError(f"{what} does not fit", got=got, expected=f"{list(shape)} finite numbers")
    return array


def count(value: object, what: str, least: int = 1, most: int = 1 << 20) -> int:
    """A whole number in a range. Raises StudioError when it is none."""
    number = float(numbers(value, (), what))
    if number != int(number) or not least <= number <= most:
        raise StudioError(f"{what} is out of range", got=value, expected=f"a whole number from {least} to {most}")
    return int(number)


def read_arrays(path: Path, names: Sequence[str] | None = None) -> Mapping[str, np.ndarray]:
    """The arrays of an npz file, or those of ``names`` that it has.

    Sizes are checked against the bytes that are there before memory is taken; objects are refused.

    Raises:
        StudioError: missing, damaged, or not plain arrays.
    """
    with reading(path, "an npz file of plain arrays"), zipfile.ZipFile(path) as archive:
        arrays = {}
        for item in archive.infolist():
            name = item.filename.removesuffix(".npy")
            if names is None or name in names:
                if item.file_size > MAX_ARRAY_BYTES:
                    raise ValueError(f"{name} takes {item.file_size} bytes")
                arrays[name] = parse_npy(archive.read(item))
        return arrays


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file. Raises StudioError as ``read_arrays``."""
    with reading(path, "an npy file of a plain array"):
        if path.stat().st_size > MAX_ARRAY_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        return parse_npy(path.read_bytes())


def parse_npy(data: bytes) -> np.ndarray:
    """An array in numpy's file format. Raises ValueError for damage, and for arrays of objects."""
    stream = io.BytesIO(data)
    versions = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    read_header = versions[np.lib.format.read_magic(stream)]
    shape, fortran, dtype = read_header(stream)
    return plain_array(data[stream.tell() :], dtype, shape, fortran)
