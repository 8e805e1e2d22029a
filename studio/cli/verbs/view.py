"""``studio view``: an avatar in the browser."""

from __future__ import annotations

from studio.cli.config import Config


def run(config: Config) -> None:
    """Serve the viewer until Ctrl-C."""
    from recon.avatars import load_avatar
    from studio.codes import CodeTrack
    from viewer.app import ViewerConfig, view

    track = config.optional_path("track")
    avatar = load_avatar(config.path("avatar"), config.text("kernels"), config.get("gaussians", int | None))
    fps = config.get("fps", float | None)
    if fps is not None:
        from recon.detail import level_for_rate

        avatar = level_for_rate(avatar, fps, config.get("size", int))
    settings = ViewerConfig(config.get("port", int | None), config.text("host"), config.get("size", int))
    view(avatar, CodeTrack.load(track) if track else None, settings)
