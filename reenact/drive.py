"""Driving: a source of codes, retargeted to an avatar, rendered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from reenact.drivers import Driver, Driving
from reenact.render import render
from reenact.render_config import RenderConfig
from reenact.retarget import RetargetConfig, retarget
from studio.avatar import Avatar
from studio.code_guard import guarded
from studio.folders import content_hash
from studio.logs import say
from studio.provenance.claims import avatar_name, origin_of

_TOLD = 3  # channels beyond the avatar that are worth a line; all are in the manifest


@dataclass(frozen=True)
class DriveConfig:
    """How an avatar is driven.

    Args:
        relative: transfer the motion relative to the neutral states of driver and avatar (another person drives) or use
            the codes as they are (the same person in the same capture); the driver's own way where not given.
        guard: bend back what leaves the range that the avatar has learned, see ``studio.code_guard``.
        retarget: strengths of expression and head motion.
        render: how it is rendered.
    """

    relative: bool | None = None
    guard: bool = True
    retarget: RetargetConfig = field(default_factory=RetargetConfig)
    render: RenderConfig = field(default_factory=RenderConfig)


def drive(avatar: Avatar, driver: Driver, config: DriveConfig | None = None) -> Driving:
    """The driver's motion as codes for this avatar, with the driver's sound and what of it was beyond the avatar.

    Raises:
        StudioError: the source cannot be used, or its codes are of another space.
    """
    config = config or DriveConfig()
    driving = driver.drive()
    avatar.space.require(driving.track.codes.space, f"the driver {type(driver).__name__}")
    track = driving.track
    if driver.relative if config.relative is None else config.relative:
        track = retarget(track, avatar.code_range, config.retarget, driving.rest)
    codes, beyond = guarded(track.codes, avatar.code_range)
    if beyond:
        more = f", and {len(beyond) - _TOLD} more" if len(beyond) > _TOLD else ""
        what = "bent back" if config.guard else "left as it is"
        say(f"beyond what the avatar has learned, {what}: {'; '.join(map(str, beyond[:_TOLD]))}{more}")
    return replace(driving, track=replace(track, codes=codes) if config.guard else track, beyond=beyond)


def drive_video(
    avatar_folder: Path,
    driver: Driver,
    out: Path,
    config: DriveConfig | None = None,
    *,
    resume: bool = False,
    kernels: str = "auto",
    gaussians: int | None = None,
    codes: Path | None = None,
) -> Path:
    """Drive a stored avatar and render it to ``out`` (an .mp4, or a folder of PNG images); see ``render``.

    ``codes`` is a new folder for the track that the avatar was given, such as to export a state of it.

    ``gaussians`` chooses a level of detail, see ``load_avatar``.

    Raises:
        StudioError: as ``load_avatar``, ``drive`` and ``render``.
    """
    from recon.avatars import load_avatar

    config = config or DriveConfig()
    config.render.require_fit(out)
    avatar = load_avatar(avatar_folder, kernels, gaussians)
    driving = drive(avatar, driver, config)
    parents = {avatar_name(avatar_folder): content_hash(avatar_folder), **driving.parents}
    if codes is not None:
        driving.track.save(codes, parents=parents)
    origin = origin_of(avatar_folder)
    return render(avatar, replace(driving, parents=parents), out, config.render, resume=resume, origin=origin)
