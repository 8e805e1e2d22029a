"""Files of curves, read into tracks and written from them; what nobody edited comes out as it went in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from reenact.curves import action_units, audio2face, flame, livelink_csv, livelink_udp, mediapipe
from studio.codes import CodeTrack
from studio.errors import StudioError

# Format -> how a track is written to a path; the ending decides between CSV and JSON where there are both.
WRITERS: Mapping[str, Callable[[Path, CodeTrack], None]] = {
    "livelink": livelink_csv.write_livelink_csv,
    "mediapipe": mediapipe.write_mediapipe,
    "audio2face": audio2face.write_audio2face,
    "flame": flame.write_flame,
    "action_units": action_units.write_action_units,
}
_EXPECTED = "a Live Link Face CSV or recording, MediaPipe or Audio2Face JSON or CSV, or FLAME npz"


def read_curves(path: Path, fps: float | None = None) -> CodeTrack:
    """Read a file of any known format, told by its ending and its first words.

    Args:
        path: the file (or the folder of FLAME parameters).
        fps: frames per second, for formats that hold no time.

    Raises:
        StudioError: nothing there, or no format that is known.
    """
    if not path.exists():
        raise StudioError(f"no such file: {path}", expected=_EXPECTED, next="check the path")
    if flame.accepts(path):
        return flame.read_flame(path, fps)
    if livelink_csv.accepts(path) and not audio2face.accepts_csv(path):
        return livelink_csv.read_livelink_csv(path)
    if path.suffix.lower() == ".csv":
        return audio2face.read_audio2face(path) if audio2face.accepts_csv(path) else mediapipe.read_mediapipe(path)
    if path.suffix.lower() == ".json":
        return audio2face.read_audio2face(path) if _has_weights(path) else mediapipe.read_mediapipe(path)
    if path.is_file() and path.read_bytes()[:2] == b"\x1f\x8b":
        return livelink_udp.read_recording(path)
    raise StudioError(f"no format of curves that is known: {path}", got=path.suffix or "no ending", expected=_EXPECTED)


def write_curves(path: Path, track: CodeTrack, form: str) -> None:
    """Write a track in a format of ``WRITERS``. Raises StudioError for an unknown format, and as the writers do."""
    if form not in WRITERS:
        raise StudioError("unknown format of curves", got=form, expected=" | ".join(WRITERS))
    WRITERS[form](path, track)


def _has_weights(path: Path) -> bool:
    try:
        return "weightMat" in json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, TypeError, RecursionError):
        return False
