"""``studio view``: avatars, runs, captures, splats and tracks in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from studio.cli.config import Config

if TYPE_CHECKING:
    from viewer.subject import Subject


def run(config: Config) -> None:
    """Serve the viewer until Ctrl-C."""
    from viewer.settings import ViewerConfig
    from viewer.start import start

    names = ("avatar", "run", "capture", "splats", "track", "compare")
    paths = {name: config.optional_path(name) for name in names}
    settings = ViewerConfig(
        config.get("port", int | None),
        config.text("host"),
        config.get("size", int),
        dark=config.flag("dark"),
        folder=config.path("project"),
        drawn_by=config.get("drawn_by", Literal["auto", "browser", "server"]),
        window=config.flag("window"),
    )
    driver, detail = config.get("driver", str | None) or "", config.get("gaussians", int | None)
    kernels, fps = config.text("kernels"), config.get("fps", float | None)

    def opened() -> Subject:
        from dataclasses import replace

        from viewer.opening import Request, open_subject

        subject = open_subject(Request(**paths, driver=driver, kernels=kernels, gaussians=detail))
        if fps is None:
            return subject
        from recon.detail import level_for_rate

        return replace(subject, avatar=level_for_rate(subject.avatar, fps, settings.size))

    run = paths["run"]
    start(opened, settings, paths["avatar"] or (None if run is None else run / "avatar"))
