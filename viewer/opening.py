"""What ``studio view`` may be given, opened: avatars, runs, captures, splats, tracks, and two to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from recon.avatars import load_avatar
from recon.person import head_of, identity_of
from studio.avatar import Avatar
from studio.captures import Capture, open_capture
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.media.audio import Audio, read_wav
from viewer.mesh_avatar import NOTHING, HeadAvatar
from viewer.subject import Subject
from viewer.transport import Reel


@dataclass(frozen=True)
class Request:
    """What to open; each may be missing.

    Args:
        avatar: avatar folder.
        run: run folder, finished or running.
        capture: capture folder.
        splats: a PLY or SOG file.
        track: track folder.
        compare: a second avatar or run folder.
        driver: a live source that drives from the start: camera, udp, an address or a video.
        kernels: "auto", "cpu" or "cuda".
        gaussians: finest level of detail with at most so many.
    """

    avatar: Path | None = None
    run: Path | None = None
    capture: Path | None = None
    splats: Path | None = None
    track: Path | None = None
    compare: Path | None = None
    driver: str = ""
    kernels: str = "auto"
    gaussians: int | None = None


def open_subject(request: Request) -> Subject:
    """Open all that was asked for.

    Raises:
        StudioError: nothing or too much was asked for, or something cannot be opened.
    """
    mains = [name for name in ("avatar", "run", "splats") if getattr(request, name) is not None]
    if len(mains) > 1:
        raise StudioError("one thing at a time", got=" and ".join(mains), next="compare=<the other> shows two")
    if not mains and request.capture is None:
        raise StudioError(
            "studio view needs something to show",
            got="nothing",
            expected="avatar=… | run=… | capture=… | splats=…",
        )
    subject = replace(_main(request), driver=request.driver)
    if request.track is not None:
        track = CodeTrack.load(request.track)
        reel = Reel(track, _sound_beside(request.track), request.track.name)
        subject = replace(subject, reel=reel, track_folder=request.track)
    if request.compare is not None:
        rival = _avatar_in(request.compare, request)
        subject = replace(subject, rival=rival, rival_name=request.compare.parent.name + "/" + request.compare.name)
    return subject


def _main(request: Request) -> Subject:
    capture, name = (None if request.capture is None else open_capture(request.capture)), None
    if request.run is not None and capture is None:
        capture, name = _origin(request.run)
    name = None if capture is None else _track_name(capture, name)
    tracked = None if capture is None or name is None else capture.track(name)
    subject = _shown(request, capture, tracked)
    if capture is None:
        return subject
    alone = request.avatar is None and request.run is None and request.splats is None
    subject = replace(subject, capture=capture, mode="footage" if alone else "colour")
    if tracked is None:
        return replace(subject, reel=_pictures(capture)) if alone and len(capture) > 1 else subject
    head = head_of(tracked)
    person = None if head is None else head.with_identity(identity_of(tracked, head))
    subject = replace(subject, tracked=tracked, head=person)
    if tracked.codes.space.hash == subject.avatar.space.hash:
        audio = None if capture.audio is None else read_wav(capture.audio)
        reel = Reel(tracked, audio, capture.folder.name)
        subject = replace(subject, reel=reel, track_folder=capture.folder, track_name=name)
    return subject


def _shown(request: Request, capture: Capture | None, tracked: CodeTrack | None) -> Subject:
    """What is drawn: an avatar, a run's newest, splats, or the capture's own head."""
    if request.avatar is not None:
        folder = request.avatar
        return Subject(load_avatar(folder, request.kernels, request.gaussians), _named(folder), folder)
    if request.run is not None:
        from viewer.runs import newest_avatar

        found = newest_avatar(request.run)
        avatar = load_avatar(found, request.kernels, request.gaussians) if found is not None else None
        if avatar is None and capture is None:
            raise StudioError(f"{request.run} has no avatar yet", next="wait for its first check, or give capture=…")
        shown = avatar or _capture_avatar(capture, tracked)  # type: ignore[arg-type]
        finished = found if found == request.run / "avatar" else None
        return Subject(shown, request.run.name, finished, run=request.run)
    if request.splats is not None:
        return Subject(load_avatar(request.splats, request.kernels), request.splats.name)
    assert capture is not None
    return Subject(_capture_avatar(capture, tracked), capture.folder.name)


def _avatar_in(folder: Path, request: Request) -> Avatar:
    """The avatar of an avatar folder or of a run."""
    if read_manifest(folder, kind=None).kind != "run":
        return load_avatar(folder, request.kernels, request.gaussians)
    from viewer.runs import newest_avatar

    found = newest_avatar(folder)
    if found is None:
        raise StudioError(f"{folder} has no avatar yet", next="wait for its first check")
    return load_avatar(found, request.kernels, request.gaussians)


def _capture_avatar(capture: Capture, tracked: CodeTrack | None) -> HeadAvatar:
    head = None if tracked is None else head_of(tracked)
    return HeadAvatar.of(capture.cameras[0], head, tracked)


def _pictures(capture: Capture) -> Reel:
    """The frames of a capture that nobody has tracked."""
    frames = len(capture)
    codes = Codes.stack([Codes.neutral(NOTHING)] * frames)
    track = CodeTrack(codes, capture.fps or 5.0, torch.ones(frames, dtype=torch.bool))
    return Reel(track, None if capture.audio is None else read_wav(capture.audio), capture.folder.name)


def _origin(run: Path) -> tuple[Capture | None, str | None]:
    """The capture that a run learns from, where it is still there."""
    try:
        values: Mapping[str, Any] = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        return open_capture((run / str(values["capture"])).resolve()), values.get("track")
    except (OSError, KeyError, TypeError, yaml.YAMLError, StudioError):
        return None, None


def _track_name(capture: Capture, name: str | None) -> str | None:
    """The named track of a capture, or its first; None where it has none."""
    names = sorted(path.name for path in (capture.folder / "tracks").glob("[!.]*"))
    return name if name in names else next(iter(names), None)


def _sound_beside(track: Path) -> Audio | None:
    """A track of a capture plays with the capture's sound."""
    path = track.resolve().parent.parent / "audio.wav"
    return read_wav(path) if path.is_file() else None


def _named(folder: Path) -> str:
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "avatar" else resolved.name
