"""``studio render``: an avatar with a stored track, its codes taken as they are."""

from __future__ import annotations

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.cli.verbs.drive import default_video


def run(config: Config) -> None:
    """Render the track."""
    from reenact.drive import DriveConfig, drive_video
    from reenact.drivers.track import TrackDriver
    from reenact.render import RenderConfig

    avatar, track = config.path("avatar"), config.path("track")
    out = config.optional_path("out") or default_video(avatar, track)
    settings = DriveConfig(relative=False, guard=config.flag("guard"), render=config.build(RenderConfig, "render"))
    drive_video(
        avatar,
        TrackDriver(track),
        out,
        settings,
        resume=config.flag("resume"),
        kernels=config.text("kernels"),
        gaussians=config.get("gaussians", int | None),
    )
    finish(out, next="view", avatar=avatar, track=track)
