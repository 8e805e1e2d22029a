"""Footage of another format, described without reading its pictures, and how it becomes a capture folder.

A reader's work is the description; everything that all formats share is here: choosing cameras and frames, y up, lens
distortion, scaling, parallel decoding, provenance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from capture.formats.axes import Up, cameras_of, y_up
from capture.formats.lenses import Lens, Sampling, undistort
from capture.formats.pictures import Load, Picture, read_picture
from capture.formats.studio_tracks import audio_beside, tracks_beside
from capture.formats.terms import Terms
from studio.captures import Split, capture_body, check_names, write_cameras
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, require_new, write_folder
from studio.logs import progress, say
from studio.media.ahead import ahead
from studio.media.images import write_image
from studio.media.video_reader import probe, read_audio, read_frames

HOLD_OUT_EVERY = 8  # the field's custom for novel views
TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class FootageConfig:
    """What may be chosen of any footage.

    Args:
        height: of the images in pixels, at most; that of the source by default.
        frames: at most so many from the beginning; all by default.
        cameras: ids separated by spaces; all by default.
    """

    height: int | None = None
    frames: int | None = None
    cameras: str | None = None


@dataclass(frozen=True)
class Footage:
    """C cameras over T timesteps, nothing of it decoded yet.

    Args:
        format: name of the format.
        viewmats: [C, 4, 4] world to camera (OpenCV axes), metres.
        Ks: [C, 3, 3] pixels of the stored pictures.
        size: (width, height) of the stored pictures.
        camera_ids: C names.
        timestep_ids: T names.
        fps: frames per second, 0 for a still subject.
        streams: C sequences of T loaders; those of a video decode while they are iterated.
        described_by: the files whose hashes are kept.
        up: which way is up in the source's world; see ``axes.y_up``.
        lenses: C lenses, None for pinholes; empty where all are.
        splits: named parts; by default those of ``default_splits``.
        backgrounds: camera id -> loader of what it sees without the person.
        tracks: tracks by name, heads placed in the source's world.
        beside: a folder that may hold ``tracks`` and ``audio.wav`` of the studio, in its world; None to look nowhere.
        audio: a file with the sound; that in ``beside`` by default.
        units: of lengths, where they are not metres.
        body: more for the manifest.
    """

    format: str
    viewmats: np.ndarray
    Ks: np.ndarray
    size: tuple[int, int]
    camera_ids: Sequence[str]
    timestep_ids: Sequence[str]
    fps: float
    streams: Sequence[Iterable[Load]]
    described_by: Sequence[Path]
    up: Up = "y"
    lenses: Sequence[Lens | None] = ()
    splits: Mapping[str, Split] = field(default_factory=dict)
    backgrounds: Mapping[str, Load] = field(default_factory=dict)
    tracks: Mapping[str, CodeTrack] = field(default_factory=dict)
    beside: Path | None = None
    audio: Path | None = None
    units: str = "metres, radians, pixels"
    body: Mapping[str, Any] = field(default_factory=dict)


def stills(images: Sequence[Path], mattes: Sequence[Path | None] | None = None) -> list[Load]:
    """Loaders of image files and, where there are any, of their mattes."""
    pairs = zip(images, mattes or [None] * len(images), strict=True)
    return [partial(read_picture, image, matte) for image, matte in pairs]


class Clip:
    """The frames of a video, and of a second one that holds its mattes, as loaders; decoded while iterated."""

    def __init__(self, video: Path, matte: Path | None = None) -> None:
        """Args: video, matte: files of as many frames."""
        self._video, self._matte = video, matte

    def __iter__(self) -> Iterator[Load]:
        if self._matte is None:
            for image in read_frames(self._video):
                yield partial(Picture, image)
            return
        for image, matte in zip(read_frames(self._video), read_frames(self._matte)):
            yield partial(Picture, image, matte.max(axis=2))


@dataclass(frozen=True)
class Mapped:
    """A stream whose pictures are changed by a function while they are read (colour calibration)."""

    stream: Iterable[Load]
    change: Callable[[np.ndarray], np.ndarray]

    def __iter__(self) -> Iterator[Load]:
        return (partial(self._changed, load) for load in self.stream)

    def _changed(self, load: Load) -> Picture:
        picture = load()
        return replace(picture, image=self.change(picture.image))


def common_length(videos: Sequence[Path]) -> tuple[int, float, tuple[int, int]]:
    """Frames that all videos have, their rate and their size; a shorter one is told.

    Raises:
        StudioError: no videos, or of different sizes or rates.
    """
    if not videos:
        raise StudioError("no videos", expected="one for each camera")
    infos = [probe(path) for path in videos]
    kinds = {(info.width, info.height, info.fps) for info in infos}
    if len(kinds) > 1:
        listed = ", ".join(f"{width}x{height} at {float(fps):g}" for width, height, fps in sorted(kinds))
        raise StudioError("the cameras' videos do not fit together", got=listed, expected="one size and frame rate")
    least, most = min(info.frames for info in infos), max(info.frames for info in infos)
    if least < most:
        shortest = min(infos, key=lambda info: info.frames).path.name
        say(f"warning: the videos differ in length: {least} frames of {shortest}, up to {most} of others; {least} used")
    return least, float(infos[0].fps), (infos[0].width, infos[0].height)


def default_splits(timesteps: int, cameras: int) -> dict[str, Split]:
    """Train and held-out parts where a format has none.

    A still subject: every eighth camera is "novel_view". One camera: the last fifth of the time is "test". A rig: both,
    the camera nearest to the middle of the list being held out.
    """
    times, views = tuple(range(timesteps)), tuple(range(cameras))
    if timesteps == 1:
        return {
            "train": Split(times, tuple(view for view in views if view % HOLD_OUT_EVERY) or views),
            "novel_view": Split(times, views[::HOLD_OUT_EVERY]),
        }
    cut = round(timesteps * TRAIN_SHARE)
    if cameras < 3:
        return {"train": Split(times[:cut], views), "test": Split(times[cut:], views)}
    held = views[cameras // 2]
    kept = tuple(view for view in views if view != held)
    return {
        "train": Split(times[:cut], kept),
        "novel_view": Split(times[:cut], (held,)),
        "novel_expression": Split(times[cut:], kept),
    }


def check_settings(config: FootageConfig) -> None:
    """Raise StudioError for settings that are out of range."""
    for name, least in (("height", 16), ("frames", 1)):
        value = getattr(config, name)
        if value is not None and value < least:
            raise StudioError(f"{name} of the footage", got=value, expected=f"{least} or more")


def write_footage(out: Path, footage: Footage, config: FootageConfig, terms: Terms) -> Path:
    """Write a capture folder. Returns ``out``.

    Raises:
        StudioError: a setting is out of range, a picture is missing, damaged or of another size, or ``out`` exists.
    """
    require_new(out)
    footage = _chosen(footage, config)
    check_names(footage.camera_ids, f"the cameras of this {footage.format} footage")
    check_names(footage.timestep_ids, f"the frames of this {footage.format} footage")
    width, height = _scaled_size(footage.size, config.height)
    turn = y_up(footage.viewmats, footage.up)
    cameras = cameras_of(footage.viewmats @ np.linalg.inv(turn), footage.Ks, *footage.size, footage.camera_ids)
    tracks = {name: _turned(track, turn) for name, track in footage.tracks.items()} | _own_tracks(footage, config)
    with write_folder(out, _manifest(footage, turn, tracks, terms)) as folder:
        write_cameras(folder / "cameras.json", cameras.resized(width, height))
        lenses = footage.lenses or [None] * len(footage.camera_ids)
        bar = progress(zip(footage.camera_ids, footage.streams, lenses), "cameras", len(footage.camera_ids))
        for name, stream, lens in bar:
            _write_camera(folder, name, stream, lens, footage, (width, height))
        for name, track in tracks.items():
            track.save(folder / "tracks" / name)
        _write_audio(folder / "audio.wav", footage)
    return out


def _chosen(footage: Footage, config: FootageConfig) -> Footage:
    """The cameras and frames that the settings ask for."""
    ids = list(footage.camera_ids)
    wanted = ids if config.cameras is None else config.cameras.split()
    unknown = sorted(set(wanted) - set(ids))
    if unknown or not wanted:
        raise StudioError("no such camera", got=", ".join(unknown) or "none", expected=", ".join(ids))
    picked = [ids.index(name) for name in dict.fromkeys(wanted)]
    frames = len(list(footage.timestep_ids)[: config.frames])
    splits = {
        name: Split(
            tuple(time for time in split.timesteps if time < frames),
            tuple(picked.index(camera) for camera in split.cameras if camera in picked),
        )
        for name, split in footage.splits.items()
    }
    splits = {name: split for name, split in splits.items() if split.timesteps and split.cameras}
    return replace(
        footage,
        viewmats=footage.viewmats[picked],
        Ks=footage.Ks[picked],
        camera_ids=[ids[index] for index in picked],
        timestep_ids=list(footage.timestep_ids)[:frames],
        streams=[footage.streams[index] for index in picked],
        lenses=[footage.lenses[index] for index in picked] if footage.lenses else (),
        splits=splits or default_splits(frames, len(picked)),
        backgrounds={name: load for name, load in footage.backgrounds.items() if name in wanted},
        tracks={name: _first(track, frames) for name, track in footage.tracks.items()},
    )


def _own_tracks(footage: Footage, config: FootageConfig) -> dict[str, CodeTrack]:
    """The studio's tracks beside the source, cut to the frames that were chosen."""
    frames = len(footage.timestep_ids)
    found = {} if footage.beside is None else tracks_beside(footage.beside)
    fitting = {name: track for name, track in found.items() if _fits(len(track), frames, config)}
    for name in found.keys() - fitting.keys():
        say(f"warning: the track {name} is left out: {len(found[name])} frames, not {frames}")
    return {name: _first(track, frames) for name, track in fitting.items()}


def _fits(length: int, frames: int, config: FootageConfig) -> bool:
    return length == frames or (length > frames == config.frames)


def _first(track: CodeTrack, frames: int) -> CodeTrack:
    """The beginning of a track; extras that hold one entry for each frame are cut as well (a person's do not)."""
    extras = {
        name: value[:frames] if value.ndim and len(value) == len(track) and name != "identity" else value
        for name, value in track.extras.items()
    }
    return replace(track, codes=track.codes[:frames], valid=track.valid[:frames], extras=extras)


def _scaled_size(size: tuple[int, int], height: int | None) -> tuple[int, int]:
    if height is None or height >= size[1]:
        return size
    return max(round(size[0] * height / size[1]), 1), height


def _manifest(footage: Footage, turn: np.ndarray, tracks: Mapping[str, CodeTrack], terms: Terms) -> Manifest:
    body = capture_body(footage.timestep_ids, footage.fps, footage.splits) | {"format": footage.format}
    if np.abs(turn - np.eye(4)).max() > 0:
        body["world_from_source"] = turn[:3, :3].tolist()
    spaces = {track.codes.space.name for track in tracks.values()}
    return Manifest(
        kind="capture",
        code_space=spaces.pop() if len(spaces) == 1 else None,
        parents={path.name: content_hash(path) for path in footage.described_by},
        licence=terms.licence,
        consent=terms.consent,
        units=footage.units,
        body=body | dict(footage.body),
    )


def _write_camera(
    folder: Path, name: str, stream: Iterable[Load], lens: Lens | None, footage: Footage, size: tuple[int, int]
) -> None:
    sampling = None if lens is None else lens.sampling(*footage.size)
    expect = partial(_conform, expected=footage.size, size=size, sampling=sampling, camera=name)

    def tasks() -> Iterator[Callable[[], bool]]:
        for timestep, load in zip(footage.timestep_ids, stream):
            yield partial(_write_picture, folder, f"{name}/{timestep}.png", load, expect)

    matted = list(ahead(tasks()))
    if len(matted) < len(footage.timestep_ids):
        raise StudioError(
            f"camera {name} has too few frames", got=len(matted), expected=f"{len(footage.timestep_ids)} as the others"
        )
    if name in footage.backgrounds:
        write_image(folder / "background" / f"{name}.png", expect(footage.backgrounds[name]()).image)


def _write_picture(folder: Path, file: str, load: Load, conform: Callable[[Picture], Picture]) -> bool:
    """Write one image and its matte; whether it had one."""
    picture = conform(load())
    write_image(folder / "images" / file, picture.image)
    if picture.alpha is not None:
        write_image(folder / "alpha" / file, picture.alpha)
    return picture.alpha is not None


def _conform(
    picture: Picture, expected: tuple[int, int], size: tuple[int, int], sampling: Sampling | None, camera: str
) -> Picture:
    """A picture without distortion, of the size that is wanted. Raises StudioError for one of another size."""
    height, width = picture.image.shape[:2]
    if (width, height) != expected:
        raise StudioError(
            f"images of camera {camera} are of another size than its calibration",
            got=f"{width}x{height}",
            expected=f"{expected[0]}x{expected[1]}",
            next="scale the images and the calibration to one size",
        )

    def fixed(pixels: np.ndarray) -> np.ndarray:
        pixels = pixels if sampling is None else undistort(pixels, sampling)
        return pixels if size == expected else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)

    if picture.alpha is not None and picture.alpha.shape != (height, width):
        raise StudioError(
            f"mattes of camera {camera} are of another size than its images", got=picture.alpha.shape[::-1]
        )
    return Picture(fixed(picture.image), None if picture.alpha is None else fixed(picture.alpha))


def _turned(track: CodeTrack, turn: np.ndarray) -> CodeTrack:
    placed = torch.from_numpy(turn).float() @ track.codes.head_to_world
    return (
        track if np.array_equal(turn, np.eye(4)) else replace(track, codes=replace(track.codes, head_to_world=placed))
    )


def _write_audio(path: Path, footage: Footage) -> None:
    from studio.media.audio import write_wav

    beside = None if footage.beside is None else audio_beside(footage.beside)
    source = footage.audio or beside
    sound = None if source is None else read_audio(source)
    if sound is not None and footage.fps > 0:
        write_wav(path, sound.between(0.0, len(footage.timestep_ids) / footage.fps))


def plain_name(text: str) -> str:
    """A text as a file name: anything unusual becomes an underscore."""
    return re.sub(r"[^\w.+@=-]", "_", text).lstrip(".") or "_"
