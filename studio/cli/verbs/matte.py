"""``studio matte``: mattes of a capture made anew."""

from __future__ import annotations

from studio.cli.config import Config
from studio.cli.finish import finish


def run(config: Config) -> None:
    """Write a copy of a capture with other mattes."""
    from capture.rematte import MatteConfig, rematte_capture
    from studio.captures import open_capture

    folder = config.path("capture")
    out = config.optional_path("out") or folder.with_name(f"{folder.resolve().name}_matte")
    names = ("by", "source", "mean", "std", "landmarker")
    settings = Config({name: config.values[name] for name in names}).to(MatteConfig)
    rematte_capture(open_capture(folder), out, settings)
    finish(out, next="check", capture=out)
