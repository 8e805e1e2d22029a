"""What folders in the layouts of other programs have in common."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from capture.formats.studio_tracks import AUDIO, FOLDER
from studio.captures import Capture
from studio.logs import progress
from studio.media.ahead import ahead
from studio.media.images import write_image


def copy_beside(capture: Capture, folder: Path) -> None:
    """The capture's tracks and sound, as they are, to where readers look for them."""
    if capture.audio is not None:
        shutil.copyfile(capture.audio, folder / AUDIO)
    tracks = capture.folder / FOLDER
    for track in sorted(path for path in tracks.glob("[!.]*") if path.is_dir()):
        shutil.copytree(track, folder / FOLDER / track.name)


def write_pictures(capture: Capture, place: Callable[[str, int, int], Path]) -> dict[tuple[int, int], bool]:
    """Write all images and mattes, read and encoded in parallel.

    Args:
        capture: whose.
        place: ("images" or "alpha", timestep_index, camera_index) -> the PNG to write.

    Returns:
        Which (timestep_index, camera_index) have a matte.
    """
    keys = [(time, view) for view in range(len(capture.cameras)) for time in range(len(capture))]
    tasks = (partial(_write_picture, capture, key, place) for key in keys)
    return dict(zip(keys, progress(ahead(tasks), "images", len(keys)), strict=True))


def _write_picture(capture: Capture, key: tuple[int, int], place: Callable[[str, int, int], Path]) -> bool:
    frame = capture.frame(*key)
    write_image(place("images", *key), frame.image)
    if frame.alpha is not None:
        write_image(place("alpha", *key), frame.alpha)
    return frame.alpha is not None


def camera_matrices(capture: Capture) -> tuple[np.ndarray, np.ndarray]:
    """World-to-camera [C, 4, 4] and K [C, 3, 3] in float64, so that writing them loses nothing."""
    return capture.cameras.viewmats.double().numpy(), capture.cameras.Ks.double().numpy()
