"""``studio view``: avatars, runs, captures, splats and tracks in the browser."""

from __future__ import annotations

from studio.cli.config import Config


def run(config: Config) -> None:
    """Serve the viewer until Ctrl-C."""
    from dataclasses import replace

    from viewer.app import ViewerConfig, view
    from viewer.opening import Request, open_subject

    names = ("avatar", "run", "capture", "splats", "track", "compare")
    paths = {name: config.optional_path(name) for name in names}
    settings = ViewerConfig(
        config.get("port", int | None),
        config.text("host"),
        config.get("size", int),
        dark=config.flag("dark"),
        folder=config.path("project"),
        window=config.flag("window"),
    )
    driver, detail = config.get("driver", str | None) or "", config.get("gaussians", int | None)
    subject = open_subject(Request(**paths, driver=driver, kernels=config.text("kernels"), gaussians=detail))
    fps = config.get("fps", float | None)
    if fps is not None:
        from recon.detail import level_for_rate

        subject = replace(subject, avatar=level_for_rate(subject.avatar, fps, settings.size))
    view(subject, None, settings)
