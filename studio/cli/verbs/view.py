"""``studio view``: an avatar in the browser."""

from __future__ import annotations

from studio.cli.config import Config


def run(config: Config) -> None:
    """Serve the viewer until Ctrl-C."""
    from recon.avatars import load_avatar
    from studio.codes import CodeTrack
    from viewer.app import ViewerConfig, view

    track = config.optional_path("track")
    avatar = load_avatar(config.path("avatar"), config.text("kernels"))
    settings = ViewerConfig(config.get("port", int | None), config.text("host"), config.get("size", int))
    view(avatar, CodeTrack.load(track) if track else None, settings)
