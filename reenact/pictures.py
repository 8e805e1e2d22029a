"""From rendered states to pictures, and from pictures to a video or a folder of images, whole or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.render_config import RenderConfig
from studio.avatar import RenderOutput
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, write_folder, write_json
from studio.logs import progress
from studio.media.audio import Audio, write_wav
from studio.media.images import to_uint8, write_image
from studio.media.passes import write_exr, write_passes
from studio.media.video_codecs import is_video
from studio.media.video_writer import VideoWriter
from studio.media.whole_files import whole_file
from studio.provenance.claims import RENDERED, claim_of
from studio.provenance.seal import seal

PICTURE = "picture"
Layers = Mapping[str, np.ndarray]  # "picture" as it is stored, and passes [H, W] float32 by name


@dataclass(frozen=True)
class Film:
    """What a video has besides its pictures.

    Args:
        fps: frames per second.
        size: (width, height) in pixels.
        audio: its sound, or None.
        timecode: of the first frame, HH:MM:SS:FF, or None.
    """

    fps: float
    size: tuple[int, int]
    audio: Audio | None = None
    timecode: str | None = None


def developer(behind: Tensor, config: RenderConfig) -> Callable[[RenderOutput], Layers]:
    """What makes the pictures and passes of a rendered state, over a background [H, W, 3].

    The picture is uint8 [H, W, 3], or [H, W, 4] with straight alpha; for EXR float32 [H, W, 4], premultiplied, still
    sRGB-encoded.
    """

    def develop(frame: RenderOutput) -> Layers:
        if config.passes or config.images == "exr":
            frame = frame.cpu()
        layers = {"alpha": frame.alpha[0].numpy()} if "alpha" in config.passes else {}
        if "depth" in config.passes:
            layers["depth"] = frame.depth[0].numpy()
        if config.images == "exr":
            alpha = frame.alpha[0][..., None]
            shown = frame.rgb[0] if config.alpha else frame.over(behind)[0]
            picture = torch.cat((shown, alpha if config.alpha else torch.ones_like(alpha)), dim=-1).numpy()
        else:
            picture = transparent(frame) if config.alpha else frame.pixels(behind)[0]
        layers[PICTURE] = watermarked(picture, config.watermark) if config.watermark else picture
        return layers

    return develop


def transparent(image: RenderOutput) -> np.ndarray:
    """[H, W, 4] uint8 with straight (not premultiplied) colours, as PNG wants them."""
    image = image.cpu()
    alpha = image.alpha[0][..., None]
    rgb = image.rgb[0] / alpha.clamp(min=1e-4)
    return to_uint8(torch.cat((rgb, alpha), dim=-1).numpy())


def watermarked(
    image: np.ndarray,  # [H, W, 3 or 4] uint8, or float32 0..1
    text: str,
) -> np.ndarray:
    """The picture with a text in its lower left corner, white with a dark edge, a thirtieth of the height."""
    marked, height = np.ascontiguousarray(image).copy(), image.shape[0]
    scale = max(height / 30 / 22, 0.25)  # the font is 22 pixels high at 1
    place, top = (round(0.02 * height) + 1, height - round(0.03 * height) - 1), 255 if image.dtype == np.uint8 else 1.0
    opaque = (top,) * (image.shape[2] - 3)
    for level, width in ((0, 3), (top, 1)):
        cover = np.zeros(image.shape[:2], np.uint8)
        cv2.putText(cover, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, width, cv2.LINE_AA)
        share, ink = cover[..., None] / np.float32(255), np.array((level,) * 3 + opaque, np.float32)
        blended = marked * (1 - share) + ink * share
        marked = (blended + 0.5).astype(np.uint8) if image.dtype == np.uint8 else blended.astype(image.dtype)
    return marked


def write_layers(folder: Path, stem: str, layers: Layers, config: RenderConfig) -> None:
    """Write a picture and its passes (see ``write_passes``) into a folder; every file is whole or not there."""
    name = f"{stem}.{config.images}"
    write_passes(folder, name, {key: values for key, values in layers.items() if key != PICTURE}, config.images)
    if config.images == "exr":
        write_exr(folder / name, layers[PICTURE])
    else:
        with whole_file(folder / name) as temporary:
            write_image(temporary, layers[PICTURE], RENDERED)


def write_pictures(
    out: Path, pictures: Iterator[Layers], count: int, film: Film, config: RenderConfig, manifest: Manifest
) -> Path:
    """A video with its sound, or a folder of images with audio.wav; sealed, whole or not at all.

    Raises:
        StudioError: ``out`` exists.
    """
    if is_video(out):
        return _write_video(out, pictures, count, film, config, manifest)
    with picture_folder(out, film, manifest) as temporary:
        for index, layers in enumerate(progress(pictures, f"render {out.name}", total=count)):
            write_layers(temporary, f"{index:06d}", layers, config)
    return out


def _write_video(
    out: Path, pictures: Iterator[Layers], count: int, film: Film, config: RenderConfig, manifest: Manifest
) -> Path:
    note = out.with_suffix(".json")
    for path in (out, note):
        if path.exists():
            raise StudioError(
                f"{path} exists already", expected="a new name", next="choose another name or move it away"
            )
    with VideoWriter(
        out,
        film.fps,
        film.size,
        audio=film.audio,
        quality=config.quality,
        metadata={"comment": RENDERED},
        codec=config.codec,
        alpha=config.alpha,
        timecode=film.timecode,
    ) as writer:
        for layers in progress(pictures, f"render {out.name}", total=count):
            writer.write(layers[PICTURE])
    seal(out, claim_of(manifest))
    write_json(note, dataclasses.asdict(dataclasses.replace(manifest, files={out.name: content_hash(out)})))
    return out


@contextmanager
def picture_folder(out: Path, film: Film, manifest: Manifest) -> Iterator[Path]:
    """A folder to fill with pictures, to which sound, manifest and seal are added. Raises StudioError if it exists."""
    with write_folder(out, manifest) as temporary:
        yield temporary
        if film.audio is not None:
            write_wav(temporary / "audio.wav", film.audio)
    seal(out, claim_of(manifest))
