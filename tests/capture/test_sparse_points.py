"""Triangulation of features against a scene whose geometry is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from capture.sparse_points import triangulate_points
from studio.cameras import Camera, intrinsics, look_at
from studio.captures import Capture
from studio.errors import StudioError
from studio.folders import Manifest
from studio.media.images import write_image

SIZE, FOCAL = 320, 400.0


def _capture(folder: Path, texture: np.ndarray, eyes: list[list[float]]) -> Capture:
    """Photos of the textured square [-1, 1]² in the plane z = 0."""
    viewmats = look_at(torch.tensor(eyes), torch.zeros(3))
    K = intrinsics(FOCAL, SIZE, SIZE)
    cameras = Camera(viewmats, K.expand(len(eyes), 3, 3).clone(), SIZE, SIZE)
    side = texture.shape[0]
    # Texture pixel -> plane (pixel centres at +0.5, rows downwards), then plane -> image; OpenCV's pixels centre at 0.
    to_plane = np.array([[2 / side, 0, 1 / side - 1], [0, -2 / side, 1 - 1 / side], [0, 0, 1]])
    to_center = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    for name, viewmat in zip(cameras.ids, viewmats.double().numpy()):
        plane_to_image = K.double().numpy() @ viewmat[:3][:, [0, 1, 3]]
        image = cv2.warpPerspective(texture, to_center @ plane_to_image @ to_plane, (SIZE, SIZE))
        write_image(folder / "images" / name / "0.png", image)
    return Capture(folder, Manifest(kind="capture"), cameras, ("0",), 0.0, {})


def test_points_of_a_textured_plane_lie_in_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    texture = (cv2.resize(noise, (512, 512), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)
    capture = _capture(tmp_path, texture, [[-0.4, 0.1, 3.0], [0.4, 0.0, 3.0], [0.0, 0.5, 2.9]])
    points, colors = triangulate_points(capture, (0, 1, 2))
    assert len(points) > 200
    assert np.median(np.abs(points[:, 2])) < 0.005
    assert np.percentile(np.abs(points[:, 2]), 95) < 0.05
    assert np.abs(points[:, :2]).max() < 1.05
    # Colours are those of the texture where the points are.
    column = ((points[:, 0] + 1) * 256).astype(int).clip(0, 511)
    row = ((1 - points[:, 1]) * 256).astype(int).clip(0, 511)
    assert np.corrcoef(texture[row, column].ravel() / 255, colors.ravel())[0, 1] > 0.85


def test_photos_without_features_are_refused(tmp_path: Path) -> None:
    gray = np.full((64, 64, 3), 128, np.uint8)
    capture = _capture(tmp_path, gray, [[-0.4, 0.0, 3.0], [0.4, 0.0, 3.0]])
    with pytest.raises(StudioError, match=r"do not match each other.*check the calibration"):
        triangulate_points(capture, (0, 1))
