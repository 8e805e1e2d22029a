"""``studio ingest``: footage in, a capture folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.cli.build import build
from studio.cli.config import Config
from studio.cli.finish import finish
from studio.errors import StudioError


def run(config: Config) -> None:
    """Read the source with the reader that fits it."""
    reader, source = config.values["reader"], config.optional_path("source")
    if reader["kind"] != "synthetic" and source is None:
        raise StudioError("studio ingest needs source", got="nothing", expected="source=…", next="studio ingest --help")
    out = config.optional_path("out") or Path("captures") / (source.stem if source else "synthetic") / "main"
    ingest(source, out, reader)
    if reader["kind"] == "synthetic":
        finish(out, next="train", capture=out, track="truth")
    elif is_static(out):
        finish(out, next="train", capture=out, avatar="static_splats")
    else:
        finish(out, next="track", capture=out)


def ingest(source: Path | None, out: Path, reader: dict[str, Any]) -> Path:
    """Make a capture with the reader of a group of settings; ``kind: auto`` recognises the source.

    Raises:
        StudioError: no such source, a folder of no known format, or what the reader finds wrong with it.
    """
    values = dict(reader)
    kind = values.pop("kind")
    if kind == "synthetic":
        from capture.synthetic import SyntheticConfig, make_synthetic_capture

        return make_synthetic_capture(out, build(SyntheticConfig, values, "reader"))
    assert source is not None
    if not source.exists():
        raise StudioError(f"no such file or folder: {source}", expected="footage", next="check the path")
    if kind == "auto":
        kind = _recognise(source)
    if kind == "video":
        from capture.video import IngestConfig, ingest_video

        return ingest_video(source, out, build(IngestConfig, values, "reader"))
    from capture.readers.calibrated_photos import ingest_photos

    return ingest_photos(source, out)


def _recognise(source: Path) -> str:
    from capture.readers import calibrated_photos

    if source.is_file():
        return "video"
    if calibrated_photos.accepts(source):
        return "calibrated_photos"
    raise StudioError(
        f"{source} is of no format that is known",
        got="a folder",
        expected="a video file, or a folder with photos and cameras.json",
        next="studio ingest --help",
    )


def is_static(capture: Path) -> bool:
    """Whether a capture shows a single moment."""
    from studio.captures import open_capture

    return open_capture(capture).fps == 0
