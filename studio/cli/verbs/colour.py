"""``studio colour``: the cameras of a capture made alike in colour."""

from __future__ import annotations

from studio.cli.config import Config
from studio.cli.finish import finish


def run(config: Config) -> None:
    """Write a corrected copy of a capture."""
    from capture.recolour import ColourConfig, recolour_capture
    from studio.captures import open_capture

    folder = config.path("capture")
    out = config.optional_path("out") or folder.with_name(f"{folder.resolve().name}_colour")
    names = ("by", "model", "reference", "chart", "landmarker")
    settings = Config({name: config.values[name] for name in names}).to(ColourConfig)
    recolour_capture(open_capture(folder), out, settings)
    finish(out, next="check", capture=out)
