"""``studio track``: identity, pose and expression of the head in every frame of a capture."""

from __future__ import annotations

from studio.cli.config import Config
from studio.cli.finish import finish


def run(config: Config) -> None:
    """Fit the head model to the whole capture."""
    from capture.tracking import TrackConfig, track_capture
    from studio.captures import open_capture
    from studio.cli.rooms import chosen_head

    capture = config.path("capture")
    track = track_capture(open_capture(capture), chosen_head(config), config.build(TrackConfig, "tracker"))
    finish(track, next="train", capture=capture, out=f"runs/{capture.resolve().parent.name}")
