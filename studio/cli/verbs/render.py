"""``studio render``: a project, or an avatar with a stored track whose codes are taken as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.cli.verbs.drive import default_video
from studio.errors import StudioError
from studio.folders import next_free
from studio.logs import say

_STILL_FPS = 25.0


def run(config: Config) -> None:
    """Render the project or the track."""
    from studio.media.splats import is_splat_file

    if config.optional_path("project") is not None:
        _project(config)
        return
    if config.optional_path("avatar") is not None and is_splat_file(config.path("avatar")):
        _still(config)
        return
    for name in ("avatar", "track"):
        if config.optional_path(name) is None:
            raise StudioError(
                f"studio render needs {name}", got="nothing", expected="avatar=… track=…, or project=timeline.yaml"
            )
    _track(config)


def _still(config: Config) -> None:
    """A file of Gaussians made by others: it holds still for one swing of the camera."""
    import torch

    from recon.imported import load_splats
    from reenact.drivers import Driving
    from reenact.render import render
    from reenact.render_config import RenderConfig
    from studio.codes import Codes, CodeTrack
    from studio.folders import content_hash

    path, settings = config.path("avatar"), config.build(RenderConfig, "render")
    out = config.optional_path("out") or default_video(path, Path("still"))
    avatar, fps = load_splats(path, config.text("kernels")), settings.fps or _STILL_FPS
    frames = max(1, round(fps * settings.camera.period))
    track = CodeTrack(Codes.neutral(avatar.space, (frames,)), fps, torch.ones(frames, dtype=torch.bool))
    driving = Driving(track, parents={path.name: content_hash(path)})
    render(avatar, driving, out, settings, resume=config.flag("resume"))
    finish(out, next="view", avatar=path)


def _project(config: Config) -> None:
    from reenact.project.job import render_project

    source = config.path("project")
    out = config.optional_path("out") or next_free(Path("outputs") / f"{source.stem}.mp4")
    look = config.get("look", Literal["preview", "final"])
    made = render_project(source, out, look, kernels=config.text("kernels"))
    sources = ", ".join(made.computed) or "none"
    say(f"{made.drawn} of {made.frames} pictures drawn, the others kept from before; sources made anew: {sources}")
    finish(out)


def _track(config: Config) -> None:
    from reenact.drive import DriveConfig, drive_video
    from reenact.drivers.track import TrackDriver
    from reenact.render_config import RenderConfig

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
