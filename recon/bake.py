"""A driven radiance field turned into Gaussians on the head model: seconds for a frame become milliseconds.

The field is looked at through a capture's cameras in some of its states. Gaussians on the head model start where its
coverage is and with the colours that it shows, and are trained on these renders as on photos; some states are kept back
to tell what is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recon.avatars.hash_codes import HashCodes
from recon.avatars.splats import SplatAvatar, load
from recon.metrics import psnr
from recon.selection import front_camera
from recon.train import train
from recon.train_config import TrainConfig
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.captures import Capture, Split, capture_body, open_capture, write_cameras
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import write_folder
from studio.heads.model import HeadModel
from studio.logs import progress, say
from studio.media.images import to_uint8, write_image

_TRACK = "baked"
_KEPT_BACK = 6  # every so many-th state is not trained on
_TIMED = 5  # frames of each, of which the fastest counts


@dataclass(frozen=True)
class BakeConfig:
    """How a field is baked.

    Args:
        gaussians: how many.
        iterations: steps.
        frames: states that it is looked at in.
        cameras: the capture's cameras that it is looked at through, at most.
        size: longer side of the renders in pixels, at most the cameras'.
    """

    gaussians: int = 30_000
    iterations: int = 1_500
    frames: int = 24
    cameras: int = 8
    size: int = 256


def bake(
    field: HashCodes,
    capture: Capture,
    track: CodeTrack,
    head: HeadModel,
    config: BakeConfig,
    work: Path,
    seed: int = 0,
    on_step: Callable[[Any], None] | None = None,
) -> tuple[SplatAvatar, dict[str, float]]:
    """Make Gaussians of a field.

    Args:
        field: what is baked.
        capture: where it is looked at from: cameras of its training part.
        track: in which states, and of whom; the one that the field was trained on.
        head: the head model of the track.
        config: see ``BakeConfig``.
        work: a new folder for renders and training.
        seed: of the training.
        on_step: called after every step.

    Returns:
        The avatar, and figures: ``psnr`` (dB) against renders of states kept back, and ``field_ms`` and ``splats_ms``
        for a frame.

    Raises:
        StudioError: the track is of another head model, or too short.
    """
    if head.hash != field.head_hash:
        raise StudioError("head model to bake onto", got=head.hash, expected=field.head_hash, next="give head=…")
    renders = _rendered(field, capture, track, config, work / "renders")
    settings = TrainConfig(gaussians=config.gaussians, iterations=config.iterations, levels=(), seed=seed)
    made = train(renders, renders.track(_TRACK), head, settings, work / "run", on_step)
    splats = load(made, "auto")
    figures = _judged(field, splats, renders)
    say(
        f"baked: {figures['psnr']:.1f} dB against the field in states kept back; "
        f"{figures['splats_ms']:.0f} ms a frame instead of {figures['field_ms']:.0f}"
    )
    return replace(splats, camera=field.camera, background=None), figures


def _rendered(field: HashCodes, capture: Capture, track: CodeTrack, config: BakeConfig, folder: Path) -> Capture:
    """A capture of renders over black, with mattes and the track of its states."""
    part = capture.split("train")
    usable = [t for t in part.timesteps if bool(track.valid[t])]
    if len(usable) < _KEPT_BACK:
        raise StudioError("states to bake in", got=len(usable), expected=f"{_KEPT_BACK} tracked frames or more")
    chosen = _spread(usable, config.frames)
    front = front_camera(capture, track, part.cameras)
    others = _spread([camera for camera in part.cameras if camera != front], config.cameras - 1)
    cameras = _resized(capture.cameras[sorted([front, *others])], config.size)
    kept_back = tuple(range(_KEPT_BACK // 2, len(chosen), _KEPT_BACK))
    seen = tuple(index for index in range(len(chosen)) if index not in kept_back)
    everywhere = tuple(range(len(cameras)))
    splits = {"train": Split(seen, everywhere), "test": Split(kept_back, everywhere)}
    ids = [f"{index:05d}" for index in range(len(chosen))]
    states = replace(track, codes=track.codes[chosen], valid=track.valid[chosen], extras=_identity(track))
    body = capture_body(ids, track.fps, splits)
    manifest = replace(capture.manifest, kind="capture", files={}, parents={}, synthetic=True, body=body)
    with write_folder(folder, manifest) as out:
        write_cameras(out / "cameras.json", cameras)
        states.save(out / "tracks" / _TRACK)
        for camera in cameras.ids:
            write_image(out / "background" / f"{camera}.png", np.zeros((cameras.height, cameras.width, 3), np.uint8))
        for index in progress(range(len(chosen)), "rendering"):
            shown = field.render(cameras, states.codes[index])
            for place, camera in enumerate(cameras.ids):
                file = f"{camera}/{ids[index]}.png"
                write_image(out / "images" / file, to_uint8(shown.rgb[place].numpy()))
                write_image(out / "alpha" / file, to_uint8(shown.alpha[place].numpy()))
    return open_capture(folder)


def _identity(track: CodeTrack) -> dict[str, np.ndarray]:
    return {name: value for name, value in track.extras.items() if name == "identity"}


def _spread(values: list[int], count: int) -> list[int]:
    """At most ``count`` of the values, evenly spread."""
    if not values or count < 1:
        return []
    places = np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int))
    return [values[place] for place in places]


def _resized(cameras: Camera, size: int) -> Camera:
    scale = min(1.0, size / max(cameras.width, cameras.height))
    return cameras.resized(round(cameras.width * scale), round(cameras.height * scale))


def _judged(field: HashCodes, splats: SplatAvatar, renders: Capture) -> dict[str, float]:
    """How near the Gaussians come to the field where they were not trained, and how long both take."""
    states, part = renders.track(_TRACK).codes, renders.split("test")
    images, truths = [], []
    for timestep in part.timesteps:
        images.append(splats.render(renders.cameras, states[timestep]).cpu().rgb.clamp(0, 1))
        truths += [torch.from_numpy(renders.image(timestep, camera)).float()[None] / 255 for camera in part.cameras]
    one, codes = renders.cameras[0], states[part.timesteps[0]]
    score = psnr(torch.cat(images), torch.cat(truths))
    return {"psnr": score, "field_ms": _milliseconds(field, one, codes), "splats_ms": _milliseconds(splats, one, codes)}


def _milliseconds(avatar: Avatar, camera: Camera, codes: Any) -> float:
    """The fastest of some frames."""
    taken = []
    for _ in range(_TIMED):
        began = time.perf_counter()
        avatar.render(camera, codes)
        taken.append(time.perf_counter() - began)
    return 1e3 * min(taken)
