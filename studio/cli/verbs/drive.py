"""``studio drive``: an avatar driven by a video, a stored track or another source."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.building import build
from studio.cli.config import Config
from studio.cli.finish import finish
from studio.errors import StudioError
from studio.folders import next_free

CURVES = (".csv", ".json", ".npz", ".gesichter")
SOUNDS = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff")
NETWORK = "udp"  # a source that is no file: Live Link Face over the network

if TYPE_CHECKING:
    from reenact.drivers import Driver


def run(config: Config) -> None:
    """Drive the avatar and render it."""
    from reenact.drive import DriveConfig, drive_video
    from reenact.render_config import RenderConfig
    from reenact.retarget import RetargetConfig

    avatar, driver = config.path("avatar"), config.group("driver")
    out = config.optional_path("out") or default_video(
        avatar, driver.optional_path("source") or Path(driver.text("kind"))
    )
    settings = DriveConfig(
        relative=config.get("relative", bool | None),
        guard=config.flag("guard"),
        retarget=config.build(RetargetConfig, "retarget"),
        render=config.build(RenderConfig, "render"),
    )
    drive_video(
        avatar,
        make_driver(config.values["driver"]),
        out,
        settings,
        resume=config.flag("resume"),
        kernels=config.text("kernels"),
        gaussians=config.get("gaussians", int | None),
        codes=config.optional_path("codes"),
    )
    finish(out, next="view", avatar=avatar)


def make_driver(settings: Mapping[str, Any], **more: Any) -> Driver:
    """The driver of a group of settings; ``kind: auto`` takes folders for tracks and files for what their ending says.

    Args:
        settings: the group.
        more: values of fields that are not set; for drivers that have such a field.
    """
    from reenact.drivers import driver_class

    values = dict(settings)
    kind = values.pop("kind")
    if values["source"] is None:
        return build(driver_class(kind), {name: value for name, value in values.items() if value is not None}, "driver")
    source = Path(values["source"]).expanduser()
    if str(source) != NETWORK and not source.exists():
        wanted = "a video, sound, curves, a capture or a track"
        raise StudioError(f"no such driver: {source}", expected=wanted, next="check the path")
    if kind == "auto":
        kind = _kind_of(source)
    chosen = driver_class(kind)
    known = {item.name for item in dataclasses.fields(chosen)}  # type: ignore[arg-type]
    extra = {name: value for name, value in more.items() if name in known}
    own = {name: value for name, value in values.items() if value is not None}
    return build(chosen, {**extra, **own, "source": source}, "driver")


def _kind_of(source: Path) -> str:
    """The driver for a source: folders are tracks, curves, sounds and texts have their endings, all else is video."""
    if str(source) == NETWORK:
        return "livelink"
    if source.is_dir():
        return "track"
    ending = source.suffix.lower()
    if ending in SOUNDS:
        return "audio"
    return "curves" if ending in CURVES else "text" if ending == ".txt" else "video"


def default_video(avatar: Path, source: Path) -> Path:
    """A free name in outputs/ that tells whose avatar is driven by what."""
    owner = avatar.resolve().parent.name if avatar.name == "avatar" else avatar.name
    return next_free(Path("outputs") / f"{owner}_{source.stem}.mp4")
