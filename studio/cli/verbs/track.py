"""``studio track``: identity, pose and expression of the head in every frame of a capture."""

from __future__ import annotations

from pathlib import Path

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.cli.progress import count_bar
from studio.cli.rooms import chosen_head, only_track
from studio.errors import StudioError


def run(config: Config) -> None:
    """Fit the head model to the whole capture, or with an avatar the codes to the pixels."""
    capture, avatar = config.path("capture"), config.optional_path("avatar")
    track = _from_landmarks(config, capture) if avatar is None else _through_avatar(config, capture, avatar)
    out = f"runs/{capture.resolve().parent.name}"
    if avatar is None:
        finish(track, next="train", capture=capture, out=out)
    else:
        finish(track, next="train", capture=capture, track=track.name, out=f"{out}_refined")


def _from_landmarks(config: Config, capture: Path) -> Path:
    from capture.tracking import TrackConfig, track_capture
    from studio.captures import open_capture

    return track_capture(open_capture(capture), chosen_head(config), config.build(TrackConfig, "tracker"))


def _through_avatar(config: Config, capture: Path, avatar: Path) -> Path:
    from recon.avatars import load_avatar
    from recon.avatars.splats import SplatAvatar
    from recon.code_fit import CodeFitConfig, fit_track
    from studio.captures import open_capture
    from studio.folders import content_hash

    opened, loaded = open_capture(capture), load_avatar(avatar, config.text("kernels"))
    if not isinstance(loaded, SplatAvatar):
        raise StudioError(f"codes cannot be fitted through {avatar}", got="another kind", expected="avatar=splats")
    start = opened.track(config.get("track", str | None) or only_track(opened))
    settings = config.build(CodeFitConfig, "photometric")
    with count_bar("track") as on_step:
        return fit_track(loaded, opened, start, settings, {avatar.name: content_hash(avatar)}, on_step)
