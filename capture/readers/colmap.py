"""COLMAP: a folder with ``images/`` and a sparse model (``sparse/0``), text or binary; ``masks/<image>.png`` where it
is.

Conventions of the format: world-to-camera quaternion (wxyz) and translation with OpenCV axes, pixel centres at +0.5.
Its world has no orientation of its own, so that it is turned until the images' tops point up, and no scale: lengths
are its own. Lens distortion is removed. Every image is a camera of one moment; every eighth is "novel_view".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from capture.formats.colmap_model import find_model, read_model
from capture.formats.files import inside
from capture.formats.footage import Footage, FootageConfig, stills
from capture.readers import footage_reader
from capture.readers.nerfstudio import image_names
from studio.errors import StudioError


def accepts(source: Path) -> bool:
    """Whether it is a folder with a sparse model."""
    return source.is_dir() and find_model(source) is not None


def describe(source: Path, config: FootageConfig) -> Footage:
    """The cameras and images of a sparse model."""
    model = find_model(source)
    if model is None:
        raise StudioError(f"no COLMAP model in {source}", expected="sparse/0 with cameras and images (.txt or .bin)")
    cameras, images = read_model(model)
    folder = _images_folder(source, model)
    used = [cameras[image.camera] for image in images]
    sizes = {camera.size for camera in used}
    if len(sizes) > 1:
        raise StudioError(f"images of different sizes in {source}", got=sorted(sizes)[:4], expected="one size")
    files = [inside(folder, image.name) for image in images]
    masks = [_mask(folder.parent, image.name) for image in images]
    end = ".bin" if (model / "images.bin").is_file() else ".txt"
    return Footage(
        format="colmap",
        viewmats=np.stack([image.viewmat for image in images]),
        Ks=np.stack([camera.K for camera in used]),
        size=used[0].size,
        camera_ids=image_names([image.name for image in images]),
        timestep_ids=["0"],
        fps=0.0,
        streams=[[load] for load in stills(files, masks)],
        described_by=[model / f"cameras{end}", model / f"images{end}"],
        up="auto",
        lenses=[camera.lens for camera in used],
        beside=source,
        units="radians, pixels; lengths in the unit of the source",
    )


def _images_folder(source: Path, model: Path) -> Path:
    """images/ of the source, or of the folders above the model where the model itself is the source."""
    candidates = [folder / "images" for folder in (source, *model.absolute().parents[:3])]
    found = next((folder for folder in candidates if folder.is_dir()), None)
    if found is None:
        raise StudioError(
            f"no images beside {model}", expected="a folder images", next=f"put them into {source}/images"
        )
    return found


def _mask(folder: Path, name: str) -> Path | None:
    """COLMAP names a mask as its image, with .png behind it."""
    path = inside(folder / "masks", f"{name}.png")
    return path if path.is_file() else None


READER = footage_reader(FootageConfig, accepts, describe)
