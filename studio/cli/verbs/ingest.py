"""``studio ingest``: footage in, a capture folder out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.errors import StudioError


def run(config: Config) -> None:
    """Read the source with the reader that fits it."""
    source = config.optional_path("source")
    out = config.optional_path("out") or Path("captures") / (source.stem if source else "synthetic") / "main"
    ingest(source, out, config.values["reader"], {name: config.text(name) for name in ("licence", "consent")})
    tracks = sorted(path.name for path in (out / "tracks").glob("[!.]*"))
    if is_static(out):
        finish(out, next="train", capture=out, avatar="static_splats")
    elif tracks:
        finish(out, next="train", capture=out, track=tracks[0])
    else:
        finish(out, next="track", capture=out)


def ingest(source: Path | None, out: Path, settings: Mapping[str, Any], terms: Mapping[str, str] | None = None) -> Path:
    """Make a capture with the reader of a group of settings; ``kind: auto`` recognises the source.

    Args:
        source: the footage, where the reader needs one.
        out: the capture folder to make.
        settings: of the reader.
        terms: licence and consent of the recording, as far as they are known.

    Raises:
        StudioError: no source, one of no known format, or what the reader finds wrong with it.
    """
    from capture.formats.terms import Terms
    from capture.readers import readers, recognise

    kind = settings["kind"]
    if source is not None:
        kind = recognise(source) if kind == "auto" else kind
    elif kind == "auto" or readers()[kind].needs_source:
        raise StudioError("footage is needed", got="no source", expected="source=…", next="studio ingest --help")
    reader = readers()[kind]
    known = {item.name for item in dataclasses.fields(reader.settings)}
    own = {name: value for name, value in settings.items() if name in known or settings["kind"] != "auto"}
    return reader.read(source or Path(), out, Config(own, "reader").to(reader.settings), Terms(**terms or {}))


def is_static(capture: Path) -> bool:
    """Whether a capture shows a single moment."""
    from studio.captures import open_capture

    return open_capture(capture).fps == 0
