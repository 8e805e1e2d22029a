"""A capture with other mattes: a new folder, the old one is only read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from capture.copies import copy_file, each, stored_files
from capture.landmarks import Landmarks, find_landmarks
from capture.matte import person_alpha, plate_alpha
from capture.matting_network import MattingNetwork
from capture.separation import Separation, learn_separation
from capture.stored_images import StoredImages
from studio.captures import Capture
from studio.errors import StudioError
from studio.folders import content_hash, require_new, write_folder
from studio.media.images import read_image, write_image

Maker = Callable[[int, int], np.ndarray]  # (timestep, camera) -> matte [H, W] uint8
_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class MatteConfig:
    """Where mattes come from.

    Args:
        by: "model" (a model of person and still background, learned from the pictures; a face must be seen), "plate" (a
            picture of the empty scene for each camera), "masks" (the user's own) or "network" (the user's own, ONNX).
        source: for "plate" a folder with <camera>.png (the capture's own backgrounds when not given), for "masks" a
            folder with <camera>/<timestep>.png, for "network" the .onnx file.
        mean: of the network's input: subtracted from RGB values 0..1.
        std: of the network's input: what they are divided by then.
        landmarker: MediaPipe's model bundle, for "model"; found through ``studio.assets`` when not given.
    """

    by: Literal["model", "plate", "masks", "network"] = "model"
    source: Path | None = None
    mean: float = 0.5
    std: float = 0.5
    landmarker: Path | None = None


def rematte_capture(capture: Capture, out: Path, config: MatteConfig | None = None) -> Path:
    """Write a capture whose mattes are made anew; all else is copied, and the manifest says how they were made.

    Args:
        capture: any capture.
        out: the capture folder to make.
        config: see ``MatteConfig``.

    Returns:
        ``out``.

    Raises:
        StudioError: a source is missing or does not fit, no face for "model", or ``out`` exists.
    """
    config = config or MatteConfig()
    require_new(out)
    make, noted = {"model": _by_model, "plate": _by_plate, "masks": _by_masks, "network": _by_network}[config.by](
        capture, config
    )
    keys = [(timestep, camera) for timestep in range(len(capture)) for camera in range(len(capture.cameras))]
    parents = {**capture.manifest.parents, capture.folder.name: content_hash(capture.folder)}
    body = {**capture.manifest.body, "matte": {"by": config.by, **noted}}
    with write_folder(out, dataclasses.replace(capture.manifest, parents=parents, body=body)) as folder:
        kept = (name for name in stored_files(capture) if name.parts[0] != "alpha")
        each(lambda name: copy_file(capture, name, folder), kept, "copying")

        def one(key: tuple[int, int]) -> None:
            name = capture.file("alpha", *key).relative_to(capture.folder)
            write_image(folder / name, make(*key))

        each(one, keys, "mattes")
    return out


def _by_model(capture: Capture, config: MatteConfig) -> tuple[Maker, dict[str, Any]]:
    if capture.cameras.width != capture.cameras.height:
        raise StudioError("by=model needs square pictures", next="use by=plate, masks or network")
    learned = [_learned(capture, camera, config.landmarker) for camera in range(len(capture.cameras))]

    def make(timestep: int, camera: int) -> np.ndarray:
        landmarks, separation = learned[camera]
        image = capture.image(timestep, camera)
        if not landmarks.valid[timestep]:
            return np.zeros(image.shape[:2], np.uint8)
        return person_alpha(image, landmarks.points[timestep], separation.colors, separation.background)

    return make, {}


def _learned(capture: Capture, camera: int, bundle: Path | None) -> tuple[Landmarks, Separation]:
    """Landmarks of a camera (those that ingest kept, or found now) and the model of person and background."""
    images = StoredImages(lambda index: capture.image(index, camera), range(len(capture)))
    path = capture.folder / "landmarks.npz"
    if path.exists() and len(capture.cameras) == 1:
        landmarks = Landmarks.load(path)
    else:
        named, fps = f"camera {capture.cameras.ids[camera]} of {capture.folder}", capture.fps or 1.0
        landmarks = find_landmarks(lambda: iter(images), len(capture), fps, named=named, bundle=bundle)
    return landmarks, learn_separation(lambda index: images[index], landmarks)


def _by_plate(capture: Capture, config: MatteConfig) -> tuple[Maker, dict[str, Any]]:
    plates, hashes = [], {}
    for name in capture.cameras.ids:
        path = _picture((config.source or capture.folder / "background") / name)
        plate = read_image(path)
        if plate.shape[:2] != (capture.cameras.height, capture.cameras.width):
            raise StudioError(
                f"the plate {path} does not fit camera {name}",
                got=f"{plate.shape[1]}x{plate.shape[0]}",
                expected=f"{capture.cameras.width}x{capture.cameras.height}",
            )
        plates.append(plate)
        hashes[name] = content_hash(path)
    return lambda timestep, camera: plate_alpha(capture.image(timestep, camera), plates[camera]), {"plates": hashes}


def _by_masks(capture: Capture, config: MatteConfig) -> tuple[Maker, dict[str, Any]]:
    if config.source is None:
        raise StudioError("by=masks needs a folder", expected="source=<folder with <camera>/<timestep>.png>")
    folder = config.source
    single = len(capture.cameras) == 1

    def path(timestep: int, camera: int) -> Path:
        name, number = capture.cameras.ids[camera], capture.timestep_ids[timestep]
        return _picture(folder / number if single and not (folder / name).is_dir() else folder / name / number)

    for timestep in range(len(capture)):  # find out now what is missing, not in the middle
        for camera in range(len(capture.cameras)):
            path(timestep, camera)

    def make(timestep: int, camera: int) -> np.ndarray:
        mask = read_image(path(timestep, camera), gray=True)
        size = (capture.cameras.width, capture.cameras.height)
        if mask.shape[1] * size[1] != mask.shape[0] * size[0]:
            got, expected = f"{mask.shape[1]}x{mask.shape[0]}", f"{size[0]}x{size[1]} or the same shape"
            raise StudioError(f"the mask {path(timestep, camera)} does not fit", got=got, expected=expected)
        if mask.shape[::-1] == size:
            return mask
        method = cv2.INTER_AREA if mask.shape[1] > size[0] else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(mask, size, interpolation=method))

    return make, {"masks": folder.name}


def _by_network(capture: Capture, config: MatteConfig) -> tuple[Maker, dict[str, Any]]:
    if config.source is None:
        raise StudioError("by=network needs a file", expected="source=<network>.onnx")
    network = MattingNetwork(config.source, config.mean, config.std)
    noted = {"network": str(config.source.resolve()), "sha256": network.sha256, "mean": config.mean, "std": config.std}
    return lambda timestep, camera: network.alpha(capture.image(timestep, camera)), noted


def _picture(stem: Path) -> Path:
    """The picture of that name. Raises StudioError when there is none."""
    for ending in _ENDINGS:
        path = stem.with_name(stem.name + ending)
        if path.is_file():
            return path
    raise StudioError(
        f"no such picture: {stem}.png", expected="one for every camera and timestep", next="see its folder"
    )
