"""Writing a track that comes in pieces, in little memory: the same folder that ``CodeTrack.save`` makes."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, write_folder


def write_track(
    folder: Path,
    pieces: Iterable[CodeTrack],
    *,
    extras: Callable[[], Mapping[str, np.ndarray]] = dict,
    parents: Mapping[str, str] | None = None,
) -> int:
    """Write pieces that follow each other as one track folder; returns how many frames it has.

    Args:
        folder: a new folder.
        pieces: of one space and rate; extras of theirs have a row for each frame.
        extras: gives further arrays of the whole, by name; called after the last piece.
        parents: what it was made from, with content hashes.

    Raises:
        StudioError: the folder exists and is not empty, or there is no piece.
    """
    coming = iter(pieces)
    first = next(coming, None)
    if first is None:
        raise StudioError("a track of no frames", expected="at least one piece")
    space = first.codes.space
    body: dict[str, Any] = {
        "code_space_hash": space.hash,
        "channels": list(space.channels),
        "fps": first.fps,
        "provenance": dict(first.provenance),
    }
    with write_folder(folder, Manifest(kind="track", code_space=space.name, parents=parents or {}, body=body)) as made:
        spool = made / "spool"
        spool.mkdir()
        forms: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        body["frames"] = 0
        for piece in chain([first], coming):
            body["frames"] += len(piece)
            for name, value in _arrays(piece).items():
                forms[name] = value.dtype, value.shape[1:]
                with (spool / name.replace("/", "+")).open("ab") as file:
                    file.write(np.ascontiguousarray(value).tobytes())
        with zipfile.ZipFile(made / "track.npz", "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for name, (kind, row) in forms.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    shape = (body["frames"], *row)
                    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(member, header)
                    with (spool / name.replace("/", "+")).open("rb") as file:
                        shutil.copyfileobj(file, member)
            for name, value in extras().items():
                with archive.open(f"extra/{name}.npy", "w") as member:
                    np.lib.format.write_array(member, value, allow_pickle=False)
        shutil.rmtree(spool)
    return int(body["frames"])


def _arrays(piece: CodeTrack) -> dict[str, np.ndarray]:
    """The arrays of a piece as a track's file names them."""
    arrays = {name: value.numpy() for name, value in piece.codes.tensors().items()}
    return {
        **arrays,
        "valid": piece.valid.numpy(),
        **{f"extra/{name}": value for name, value in piece.extras.items()},
    }
