"""``studio export``: an avatar as 3D Gaussians or smaller, a track as curves, a capture for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.errors import StudioError

if TYPE_CHECKING:
    from recon.avatars.hash_codes import HashCodes


def run(config: Config) -> None:
    """Write the format that the ending of ``out`` names; a name without ending is an avatar or capture."""
    out = config.path("out")
    if config.values["capture"] is not None and config.values["avatar"] is None:
        _export_capture(config, out)
        return
    exporters = {".ply": _export_ply, "": _export_avatar, **dict.fromkeys((".csv", ".json", ".npz"), _export_curves)}
    if out.suffix.lower() not in exporters:
        raise StudioError(
            "no format of that name", got=out.suffix or out.name, expected=" | ".join(filter(None, exporters))
        )
    exporters[out.suffix.lower()](config, out)
    finish(out)


def _export_ply(config: Config, out: Path) -> None:
    from recon.avatars import load_avatar
    from reenact.export import export_ply
    from studio.codes import CodeTrack

    folder, track = _required(config, "avatar", out), config.optional_path("track")
    avatar = load_avatar(folder, gaussians=config.get("gaussians", int | None))
    codes = avatar.codes
    if track is not None:
        states, frame = CodeTrack.load(track).codes, config.get("frame", int)
        if not 0 <= frame < states.batch[0]:
            raise StudioError("no such frame", got=frame, expected=f"0 to {states.batch[0] - 1}")
        codes = states[frame]
    export_ply(avatar, codes, out)


def _export_avatar(config: Config, out: Path) -> None:
    from dataclasses import replace

    from recon.avatars import load_avatar
    from recon.avatars.hash_codes import HashCodes
    from recon.avatars.splats import SplatAvatar
    from studio.folders import content_hash, read_manifest

    folder = _required(config, "avatar", out)
    avatar = load_avatar(folder, gaussians=config.get("gaussians", int | None))
    if isinstance(avatar, HashCodes):
        _bake(config, folder, avatar, out)
        return
    if not isinstance(avatar, SplatAvatar):
        raise StudioError("only drivable avatars are stored as Gaussians", got=folder, next="choose a .ply")
    manifest = read_manifest(folder, kind="avatar")
    avatar.save(out, replace(manifest, parents={folder.name: content_hash(folder)}), config.get("bits", int))


def _export_capture(config: Config, out: Path) -> None:
    from capture.writers import export_capture, writers
    from studio.captures import open_capture

    if config.values["format"] is None:
        raise StudioError(
            "a capture needs a format", got="nothing", expected=" | ".join(f"format={n}" for n in writers())
        )
    source = export_capture(open_capture(config.path("capture")), config.text("format"), out)
    finish(out, next="ingest", source=source, reader=config.text("format"))


def _bake(config: Config, folder: Path, field: HashCodes, out: Path) -> None:
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from recon.bake import BakeConfig, bake
    from studio.captures import open_capture
    from studio.cli.progress import step_bar
    from studio.cli.rooms import chosen_head, only_track
    from studio.folders import content_hash, read_manifest, require_new

    require_new(out)
    capture = open_capture(_required(config, "capture", out))
    path = config.optional_path("track")
    track = capture.track(only_track(capture) if path is None else path.name)
    settings = config.build(BakeConfig, "bake")
    out.resolve().parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.resolve().parent, prefix=".bake") as work, step_bar("bake") as on_step:
        splats, figures = bake(field, capture, track, chosen_head(config), settings, Path(work), on_step=on_step)
    manifest = read_manifest(folder, kind="avatar")
    parents, body = {folder.name: content_hash(folder)}, {**manifest.body, "baked": figures}
    splats.save(out, replace(manifest, parents=parents, body=body), config.get("bits", int))


def _export_curves(config: Config, out: Path) -> None:
    from reenact.curves import write_curves
    from studio.codes import CodeTrack

    track = CodeTrack.load(_required(config, "track", out))
    form = config.get("format", str | None) or {".csv": "livelink", ".json": "mediapipe"}.get(
        out.suffix.lower(), "flame"
    )
    write_curves(out, track, form)


def _required(config: Config, name: str, out: Path) -> Path:
    path = config.optional_path(name)
    if path is None:
        what = f"a {out.suffix} file" if out.suffix else "an avatar folder"
        raise StudioError(f"{what} needs {name}", got="nothing", expected=f"{name}=…")
    return path
