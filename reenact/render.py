"""Render jobs: an avatar and a track become a video with sound, or a sequence of images."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.backgrounds import background
from reenact.camera_paths import CameraPathConfig, camera_path, fitted, repeated
from reenact.drivers import Driving
from reenact.timeline import resample
from studio.avatar import Avatar, RenderOutput
from studio.cameras import Camera
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import MANIFEST, Manifest, content_hash, require_new, write_folder, write_json
from studio.kernels.workers import undivided, worker_count
from studio.logs import progress
from studio.media.audio import Audio, write_wav
from studio.media.images import to_uint8, write_image
from studio.media.passes import Pass, write_exr, write_passes
from studio.media.video_codecs import CodecName, Quality, codec_for, is_video
from studio.media.video_writer import VideoWriter
from studio.provenance.seal import Claim, seal
from studio.rotations import transform_points

PROVENANCE = "Synthetic media: rendered from a head avatar, not a recording of the person shown."
Item = TypeVar("Item")
_JOB = "job.json"
_HEAD_CENTER = (0.0, -0.02, -0.08)  # head frame: a head turns about its middle, not about its eyes


@dataclass(frozen=True)
class RenderConfig:
    """How a track is rendered.

    Args:
        size: (width, height) in pixels; the avatar's own where not given.
        fps: frames per second; the driver's own where not given.
        background: "avatar", a colour or an image file; see ``reenact/backgrounds.py``.
        camera: where it is seen from.
        quality: "normal" or "near_lossless", of a video.
        alpha: images keep their alpha and have no background; so do videos whose codec can.
        codec: of a video; its container's usual one where not given.
        timecode: of the first frame of a video, HH:MM:SS:FF; the driver's own where not given.
        images: of a folder: "png" (8 bits, sRGB, straight alpha) or "exr" (floats, linear light, premultiplied).
        watermark: text that every picture shows in its lower left corner; none by default.
        passes: further images of a folder, each in a folder of its own: "depth" and "alpha".
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    background: str = "avatar"
    camera: CameraPathConfig = field(default_factory=CameraPathConfig)
    quality: Quality = "normal"
    alpha: bool = False
    codec: CodecName | None = None
    timecode: str | None = None
    images: Literal["png", "exr"] = "png"
    passes: tuple[Pass, ...] = ()
    watermark: str = ""

    def __post_init__(self) -> None:
        if self.size is not None and not 2 <= min(self.size) <= max(self.size) <= 8192:
            raise StudioError("impossible image size", got=self.size, expected="2 to 8192 pixels on each side")


@dataclass(frozen=True)
class VideoSettings:
    """Frames per second, (width, height), sound and encoding of a video; see ``RenderConfig``."""

    fps: float
    size: tuple[int, int]
    audio: Audio | None = None
    quality: Quality = "normal"
    codec: CodecName | None = None
    alpha: bool = False
    timecode: str | None = None


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
    avatar.space.require(driving.track.codes.space, "this track")
    if config.fps is not None:
        driving = dataclasses.replace(driving, track=resample(driving.track, config.fps))
    track = driving.track
    cameras = cameras_of(avatar, track, cameras, config)
    if is_video(out):
        codec_for(out, config.codec, config.alpha)  # refuses before anything is drawn
        if config.passes:
            raise StudioError("passes need a folder of images", got=out.name, expected="out=<name without ending>")
        return _render_video(avatar, driving, cameras, out, config, origin)
    return _render_images(avatar, driving, cameras, out, config, resume, origin)


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


def write_pictures(
    out: Path, images: Iterator[np.ndarray], count: int, video: VideoSettings, manifest: Manifest
) -> Path:
    """Pictures as a video with sound, or as a folder of PNG images with audio.wav; whole or not at all.

    Raises:
        StudioError: ``out`` exists.
    """
    if is_video(out):
        return _write_video(out, images, count, video, manifest)
    with write_folder(out, manifest) as temporary:
        for index, image in enumerate(progress(images, f"render {out.name}", total=count)):
            write_image(temporary / f"{index:06d}.png", image, PROVENANCE)
        if video.audio is not None:
            write_wav(temporary / "audio.wav", video.audio)
    seal(out, claim_of(manifest))
    return out


def _write_video(out: Path, images: Iterator[np.ndarray], count: int, video: VideoSettings, manifest: Manifest) -> Path:
    note = out.with_suffix(".json")
    for path in (out, note):
        if path.exists():
            raise StudioError(
                f"{path} exists already", expected="a new name", next="choose another name or move it away"
            )
    options: dict[str, Any] = {name: getattr(video, name) for name in ("quality", "codec", "alpha", "timecode")}
    options["metadata"] = {"comment": PROVENANCE}
    with VideoWriter(out, video.fps, video.size, audio=video.audio, **options) as writer:
        for image in progress(images, f"render {out.name}", total=count):
            writer.write(image)
    seal(out, claim_of(manifest))
    write_json(note, dataclasses.asdict(dataclasses.replace(manifest, files={out.name: content_hash(out)})))
    return out


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
    avatar: Avatar, driving: Driving, cameras: Camera, out: Path, config: RenderConfig, origin: Manifest | None
) -> Path:
    size = (cameras.width, cameras.height)
    behind = background(config.background, avatar, *size)
    images = render_frames(avatar, driving.track.codes, cameras, developer(behind, config))
    encoding = (config.quality, config.codec, config.alpha, config.timecode or driving.timecode)
    video = VideoSettings(driving.track.fps, size, driving.audio, *encoding)
    return _write_video(out, images, len(cameras), video, video_manifest(avatar, driving, cameras, config, origin))


def _render_images(
    avatar: Avatar,
    driving: Driving,
    cameras: Camera,
    out: Path,
    config: RenderConfig,
    resume: bool,
    origin: Manifest | None,
) -> Path:
    manifest = video_manifest(avatar, driving, cameras, config, origin)
    _claim(out, manifest, resume)
    behind = background(config.background, avatar, cameras.width, cameras.height)
    names = [f"{index:06d}.{config.images}" for index in range(len(cameras))]
    missing = [index for index, name in enumerate(names) if not (out / name).exists()]
    frames = (driving.track.codes[missing], cameras[missing], lambda frame: _layers(frame, behind, config))
    drawn_ones = render_frames(avatar, *frames) if missing else iter(())
    for index, layers in zip(missing, progress(drawn_ones, f"render {out.name}", total=len(missing))):
        write_passes(out, names[index], {name: layers[name] for name in config.passes}, config.images)
        if config.images == "exr":
            write_exr(out / names[index], layers["picture"])
        else:
            _write_whole(out / names[index], layers["picture"])
    if driving.audio is not None:
        write_wav(out / "audio.wav", driving.audio)
    (out / _JOB).unlink()
    made = sorted(path for path in out.rglob("*") if path.is_file())
    files = {path.relative_to(out).as_posix(): content_hash(path) for path in made}
    write_json(out / MANIFEST, dataclasses.asdict(dataclasses.replace(manifest, files=files)))
    seal(out, claim_of(manifest))
    return out


def _layers(frame: RenderOutput, behind: Tensor, config: RenderConfig) -> dict[str, np.ndarray]:
    """The picture as it is stored, and its passes [H, W] float32."""
    layers = {"alpha": frame.alpha[0].numpy()} if "alpha" in config.passes else {}
    if "depth" in config.passes:
        layers["depth"] = frame.depth[0].numpy()
    if config.images == "exr":
        alpha = frame.alpha[0][..., None]
        shown = frame.rgb[0] if config.alpha else frame.over(behind)[0]
        layers["picture"] = torch.cat((shown, alpha if config.alpha else torch.ones_like(alpha)), dim=-1).numpy()
    else:
        layers["picture"] = developer(behind, config)(frame)
    return layers


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


def claim_of(manifest: Manifest) -> Claim:
    """What a video's manifest says of provenance."""
    avatars = {name: value for name, value in manifest.parents.items() if name.split(" ")[0] == "avatar"}
    drivers = {name: value for name, value in manifest.parents.items() if name not in avatars}
    return Claim(PROVENANCE, avatars, drivers, manifest.consent, manifest.licence)


def developer(behind: torch.Tensor, config: RenderConfig) -> Callable[[RenderOutput], np.ndarray]:
    """What makes a picture [H, W, 3] (or [H, W, 4] for alpha) uint8 of a rendered state, over a background."""

    def develop(frame: RenderOutput) -> np.ndarray:
        image = transparent(frame) if config.alpha else frame.pixels(behind)[0]
        return watermarked(image, config.watermark) if config.watermark else image

    return develop


def watermarked(
    image: np.ndarray,  # [H, W, 3 or 4] uint8
    text: str,
) -> np.ndarray:
    """The picture with a text in its lower left corner, white with a dark edge, a thirtieth of the height."""
    marked, height = np.ascontiguousarray(image).copy(), image.shape[0]
    scale = max(height / 30 / 22, 0.25)  # the font is 22 pixels high at 1
    place, ink = (round(0.02 * height) + 1, height - round(0.03 * height) - 1), (255,) * image.shape[2]
    edge = (0, 0, 0, 255)[: image.shape[2]]
    for color, width in ((edge, 3), (ink, 1)):
        cv2.putText(marked, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, width, cv2.LINE_AA)
    return marked


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
            "statement": PROVENANCE,
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


def transparent(image: RenderOutput) -> np.ndarray:
    """[H, W, 4] uint8 with straight (not premultiplied) colours, as PNG wants them."""
    alpha = image.alpha[0][..., None]
    rgb = image.rgb[0] / alpha.clamp(min=1e-4)
    return to_uint8(torch.cat((rgb, alpha), dim=-1).numpy())


def _write_whole(path: Path, image: np.ndarray) -> None:
    """Write an image so that a file of that name is always a whole one."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write_image(temporary, image, PROVENANCE)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
