"""``studio export``: an avatar for other programs or smaller, a track as curves, a capture for other programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.errors import StudioError

if TYPE_CHECKING:
    from recon.avatars.hash_codes import HashCodes
    from reenact.drivers import Driving
    from reenact.exporters import Subject
    from studio.avatar import Avatar
    from studio.folders import Manifest
    from studio.heads.model import HeadModel

_CURVES = {".csv": "livelink", ".json": "mediapipe", ".npz": "flame"}


def run(config: Config) -> None:
    """Write the format that is asked for, or that the ending of ``out`` names."""
    from reenact.curves import WRITERS
    from reenact.exporters import exporter_of, exporters

    out, kind = config.path("out"), config.group("format").text("kind")
    if config.values["capture"] is not None and config.values["avatar"] is None:
        _export_capture(config, kind, out)
        return
    if kind == "auto":
        kind = exporter_of(out) or _CURVES.get(out.suffix.lower(), "" if not out.suffix else out.suffix)
    if kind in exporters():
        _export_subject(config, kind, out)
    elif kind in WRITERS:
        _export_curves(config, kind, out)
    elif not kind:
        _export_avatar(config, out)
    else:
        endings = [end for cls in exporters().values() for end in cls.endings if end]
        raise StudioError("no format of that name", got=kind, expected=" | ".join([*endings, *_CURVES]))
    finish(out)


def _export_subject(config: Config, kind: str, out: Path) -> None:
    from reenact.exporters import export, exporters

    export(config.build(exporters()[kind], "format"), _subject(config, out), out)


def _subject(config: Config, out: Path) -> Subject:
    from recon.avatars import load_avatar
    from reenact.exporters import Subject
    from studio.provenance.claims import MODEL, claim_about

    folder = _required(config, "avatar", out)
    driving = _motion(config)
    track, audio = (None, None) if driving is None else (driving.track, driving.audio)
    avatar = load_avatar(folder, "cpu", config.get("gaussians", int | None))
    return Subject(
        avatar,
        folder.resolve().parent.name if folder.name == "avatar" else folder.stem,
        track,
        config.get("frame", int),
        audio,
        lambda: _head_model(config, avatar),
        claim_about(folder, {} if driving is None else driving.parents, MODEL),
    )


def _head_model(config: Config, avatar: Avatar) -> HeadModel:
    """The chosen head model; with head=auto the one that the avatar says it was made with."""
    from recon.avatars.splats import SplatAvatar
    from studio.cli.rooms import chosen_head
    from studio.heads import HEADS, load_head

    group = config.group("head")
    if group.text("name") == "auto" and isinstance(avatar, SplatAvatar) and avatar.head.name in HEADS:
        return load_head(avatar.head.name, group.optional_path("path"))
    return chosen_head(config)


def _motion(config: Config) -> Driving | None:
    from reenact.drivers.track import TrackDriver

    path = config.optional_path("track")
    return None if path is None else TrackDriver(path).drive()


def _provenance(folder: Path) -> Manifest:
    """The manifest of an avatar folder; of a file made by others nothing is known."""
    from studio.folders import Manifest, read_manifest

    return read_manifest(folder, kind="avatar") if not folder.is_file() else Manifest(kind="avatar")


def _export_avatar(config: Config, out: Path) -> None:
    from recon.avatars import load_avatar
    from recon.avatars.hash_codes import HashCodes
    from recon.avatars.splats import SplatAvatar
    from recon.avatars.static_splats import StaticSplats
    from studio.folders import content_hash

    folder = _required(config, "avatar", out)
    avatar = load_avatar(folder, "cpu", config.get("gaussians", int | None))
    if isinstance(avatar, HashCodes):
        _bake(config, folder, avatar, out)
        return
    manifest = replace(_provenance(folder), parents={folder.name: content_hash(folder)})
    if isinstance(avatar, SplatAvatar):
        avatar.save(out, manifest, config.get("bits", int))
    elif isinstance(avatar, StaticSplats):
        avatar.save(out, manifest)
    else:
        raise StudioError("only avatars of Gaussians are stored anew", got=folder, next="bake it: give capture=…")


def _export_capture(config: Config, kind: str, out: Path) -> None:
    from capture.writers import export_capture, writers
    from studio.captures import open_capture

    if kind == "auto":
        raise StudioError(
            "a capture needs a format", got="nothing", expected=" | ".join(f"format={n}" for n in writers())
        )
    source = export_capture(open_capture(config.path("capture")), kind, out)
    finish(out, next="ingest", source=source, reader=kind)


def _bake(config: Config, folder: Path, field: HashCodes, out: Path) -> None:
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
        splats, figures = bake(field, capture, track, chosen_head(config, track), settings, Path(work), on_step=on_step)
    manifest = read_manifest(folder, kind="avatar")
    parents, body = {folder.name: content_hash(folder)}, {**manifest.body, "baked": figures}
    splats.save(out, replace(manifest, parents=parents, body=body), config.get("bits", int))


def _export_curves(config: Config, form: str, out: Path) -> None:
    from reenact.curves import write_curves

    _required(config, "track", out)
    driving = _motion(config)
    assert driving is not None
    write_curves(out, driving.track, form)


def _required(config: Config, name: str, out: Path) -> Path:
    path = config.optional_path(name)
    if path is None:
        what = f"a {out.suffix} file" if out.suffix else "an avatar folder"
        raise StudioError(f"{what} needs {name}", got="nothing", expected=f"{name}=…")
    return path
