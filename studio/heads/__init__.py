"""Head models by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from studio.errors import StudioError

if TYPE_CHECKING:
    from studio.heads.model import HeadModel

HEADS = ("procedural", "ict", "flame", "auto")


def load_head(name: str = "auto", path: Path | None = None) -> HeadModel:
    """A head model.

    Args:
        name: "procedural" (built in), "ict" (ICT-FaceKit), "flame" (FLAME of 2020 or 2023, with ARKit's channels) or
            "auto" (ICT-FaceKit where it is found, else procedural).
        path: file or folder of a model that is not built in; found through ``studio.assets`` when not given.

    Raises:
        StudioError: unknown name, or the model's files are not there.
    """
    from studio.assets import find_asset

    if name not in HEADS:
        raise StudioError("unknown head model", got=name, expected=" | ".join(HEADS))
    if name == "auto":
        name = "ict" if path or find_asset("ict_facekit") else "procedural"
    if name == "procedural":
        from studio.heads.procedural import build

        return build()
    if name == "flame":
        from studio.heads.flame import load_flame

        return load_flame(path)
    from studio.heads.ict import load_ict

    return load_ict(path)
