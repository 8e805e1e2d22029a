"""Render jobs: an avatar and a track become a video with sound, or a sequence of images."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch

from reenact.backgrounds import background
from reenact.camera_paths import camera_path, fitted, repeated
from reenact.drivers import Driving
from reenact.pictures import Film, developer, write_layers, write_pictures
from reenact.render_config import RenderConfig
from reenact.timeline import resample
from studio.avatar import Avatar, RenderOutput
from studio.cameras import Camera
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import MANIFEST, Manifest, content_hash, require_new, write_json
from studio.kernels.workers import undivided, worker_count
from studio.logs import progress
from studio.media.audio import write_wav
from studio.media.video_codecs import is_video
from studio.provenance.claims import RENDERED, claim_of
from studio.provenance.seal import seal
from studio.rotations import transform_points

Item = TypeVar("Item")
_JOB = "job.json"
_HEAD_CENTER = (0.0, -0.02, -0.08)  # head frame: a head turns about its middle, not about its eyes


def render(
    avatar: Avatar,
    driving: Driving,
    out: Path,
    config: RenderConfig | None = None,
    *,
    cameras: Camera | None = None,
    resume: bool = False,
    origin: Manifest | None = None,
) -> Path:
    """Render an avatar's codes to ``out``.

    A name ending in .mp4, .mov, .webm or .mkv becomes a video with the driver's sound in sync, any other name a folder
    of images with audio.wav. What it is and what it was made from is written beside the video (``.json``) or into the
    folder (manifest.json), marked as synthetic media. When stopped, a video leaves nothing behind; a folder keeps its
    finished images and goes on from there with ``resume``.

    Args:
        avatar: the avatar.
        driving: codes in the avatar's space (see ``reenact/retarget.py``) and sound.
        out: the file or folder.
        config: how.
        cameras: one camera for each frame, or a single one, instead of the path in ``config``.
        resume: continue a folder of PNG images that was interrupted.
        origin: of the avatar; the video carries its licence and consent.

    Returns:
        ``out``.

    Raises:
        StudioError: ``out`` exists, codes of another space, cameras that do not fit, or another job in the folder.
    """
    config = config or RenderConfig()
    config.require_fit(out)
    avatar.space.require(driving.track.codes.space, "this track")
    if config.fps is not None:
        driving = dataclasses.replace(driving, track=resample(driving.track, config.fps))
    track = driving.track
    cameras = cameras_of(avatar, track, cameras, config)
    manifest = video_manifest(avatar, driving, cameras, config, origin)
    if is_video(out):
        return _render_video(avatar, driving, cameras, out, config, manifest)
    return _render_images(avatar, driving, cameras, out, config, resume, manifest)


def render_frames(
    avatar: Avatar,
    codes: Codes,  # batch [T]
    cameras: Camera,  # T
    develop: Callable[[RenderOutput], Item],
) -> Iterator[Item]:
    """What ``develop`` makes of the avatar in each state from its camera, in order.

    On a CPU each core draws a frame of its own: sharing every frame out among them would leave cores waiting.
    """

    return drawn(len(cameras), lambda index: develop(avatar.render(cameras[index], codes[index])))


def drawn(count: int, make: Callable[[int], Item]) -> Iterator[Item]:
    """``make`` of each number below ``count``, in order, on all cores."""

    def draw(index: int) -> Item:
        with torch.inference_mode():
            return make(index)

    def draw_alone(index: int) -> Item:
        with undivided():
            return draw(index)

    if torch.cuda.is_available():
        yield from map(draw, range(count))
        return
    cores = worker_count()
    pool, waiting = ThreadPoolExecutor(cores, thread_name_prefix="frame"), deque[Future[Item]]()
    try:
        for index in range(count):
            waiting.append(pool.submit(draw_alone, index))
            if len(waiting) > cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cameras_of(avatar: Avatar, track: CodeTrack, cameras: Camera | None, config: RenderConfig) -> Camera:
    """One camera of the wanted size for each frame; arguments and errors as of ``render``."""
    frames = len(track)
    if cameras is None:
        target = transform_points(avatar.codes.head_to_world, torch.tensor([_HEAD_CENTER]))[0]
        cameras = camera_path(config.camera, avatar.camera, target, frames, track.fps)
    elif len(cameras) == 1:
        cameras = repeated(cameras, frames)
    if len(cameras) != frames:
        raise StudioError(
            "cameras do not fit the track", got=f"{len(cameras)} cameras", expected=f"1, or one for each of {frames}"
        )
    return fitted(cameras, *config.size) if config.size else cameras


def _render_video(
    avatar: Avatar, driving: Driving, cameras: Camera, out: Path, config: RenderConfig, manifest: Manifest
) -> Path:
    size = (cameras.width, cameras.height)
    pictures = render_frames(
        avatar, driving.track.codes, cameras, developer(background(config.background, avatar, *size), config)
    )
    film = Film(driving.track.fps, size, driving.audio, config.timecode or driving.timecode)
    return write_pictures(out, pictures, len(cameras), film, config, manifest)


def _render_images(
    avatar: Avatar,
    driving: Driving,
    cameras: Camera,
    out: Path,
    config: RenderConfig,
    resume: bool,
    manifest: Manifest,
) -> Path:
    """A folder that grows picture by picture, so that a render that was stopped goes on where it was."""
    _claim(out, manifest, resume)
    behind = background(config.background, avatar, cameras.width, cameras.height)
    missing = [index for index in range(len(cameras)) if not (out / f"{index:06d}.{config.images}").exists()]
    frames = (driving.track.codes[missing], cameras[missing], developer(behind, config))
    drawn_ones = render_frames(avatar, *frames) if missing else iter(())
    for index, layers in zip(missing, progress(drawn_ones, f"render {out.name}", total=len(missing))):
        write_layers(out, f"{index:06d}", layers, config)
    if driving.audio is not None:
        write_wav(out / "audio.wav", driving.audio)
    (out / _JOB).unlink()
    made = sorted(path for path in out.rglob("*") if path.is_file())
    files = {path.relative_to(out).as_posix(): content_hash(path) for path in made}
    write_json(out / MANIFEST, dataclasses.asdict(dataclasses.replace(manifest, files=files)))
    seal(out, claim_of(manifest))
    return out


def _claim(out: Path, manifest: Manifest, resume: bool) -> None:
    """Take a new folder for this job, or one that holds the beginning of this very job."""
    job = {"parents": dict(manifest.parents), **manifest.body}
    if not (out / _JOB).exists():
        require_new(out)
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / _JOB, job)
        return
    if not resume:
        require_new(out, next="add resume=true to go on with it, or choose another name")
    begun = _read_job(out / _JOB)
    changed = sorted(key for key in job if begun.get(key) != job[key])
    if changed:
        raise StudioError(
            f"{out} holds the beginning of another job", got=f"other {', '.join(changed)}", next="choose another name"
        )


def _read_job(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise StudioError(f"damaged file: {path}", got=error, next="choose another name for the folder") from error


def video_manifest(
    avatar: Avatar, driving: Driving, cameras: Camera, config: RenderConfig, origin: Manifest | None = None
) -> Manifest:
    """What a video says of itself."""
    track = driving.track
    return Manifest(
        kind="video",
        code_space=avatar.space.name,
        parents=dict(driving.parents),
        licence="unknown" if origin is None else origin.licence,
        consent="unknown" if origin is None else origin.consent,
        synthetic=True,
        body={
            "statement": RENDERED,
            "frames": len(track),
            "fps": track.fps,
            "width": cameras.width,
            "height": cameras.height,
            "sound": driving.audio is not None,
            "provenance": dict(track.provenance),
            "beyond": [dataclasses.asdict(excess) for excess in driving.beyond],
            "config": json.loads(json.dumps(dataclasses.asdict(config), default=str)),
        },
    )
