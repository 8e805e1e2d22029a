"""A static capture whose geometry is known: a textured square in the plane z = 0, photographed from several places."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from studio.cameras import Camera, intrinsics, look_at
from studio.captures import Capture, Split, capture_body, open_capture, write_cameras
from studio.folders import Manifest, write_folder
from studio.media.images import write_image


def noise_texture(side: int, cells: int) -> np.ndarray:
    """Smooth coloured noise [side, side, 3] uint8 with cells² independent colours."""
    noise = np.random.default_rng(0).random((cells, cells, 3)).astype(np.float32)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)


def plane_capture(
    folder: Path,
    texture: np.ndarray,  # [S, S, 3] uint8, spread over [-1, 1]²
    eyes: list[list[float]],  # C camera centres
    size: int,  # of the photos, pixels
    test: tuple[int, ...] = (),  # cameras that are held out
) -> Capture:
    """Write the capture: exact photos, splits "train" and "test"."""
    viewmats = look_at(torch.tensor(eyes), torch.zeros(3))
    K = intrinsics(1.25 * size, size, size)
    cameras = Camera(viewmats, K.expand(len(eyes), 3, 3).clone(), size, size)
    side = texture.shape[0]
    # Texture pixel -> plane (pixel centres at +0.5, rows downwards), then plane -> image; OpenCV's pixels centre at 0.
    to_plane = np.array([[2 / side, 0, 1 / side - 1], [0, -2 / side, 1 - 1 / side], [0, 0, 1]])
    to_center = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    train = tuple(index for index in range(len(eyes)) if index not in test)
    body = capture_body(["0"], 0.0, {"train": Split((0,), train), "test": Split((0,), test)})
    with write_folder(folder, Manifest(kind="capture", body=body)) as temporary:
        write_cameras(temporary / "cameras.json", cameras)
        for name, viewmat in zip(cameras.ids, viewmats.double().numpy()):
            plane_to_image = K.double().numpy() @ viewmat[:3][:, [0, 1, 3]]
            image = cv2.warpPerspective(texture, to_center @ plane_to_image @ to_plane, (size, size))
            write_image(temporary / "images" / name / "0.png", image)
    return open_capture(folder)
