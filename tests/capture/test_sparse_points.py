"""Triangulation of features against a scene whose geometry is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.sparse_points import triangulate_points
from studio.errors import StudioError
from tests.textured_plane import noise_texture, plane_capture


def test_points_of_a_textured_plane_lie_in_it(tmp_path: Path) -> None:
    texture = noise_texture(512, 64)
    capture = plane_capture(tmp_path / "c", texture, [[-0.4, 0.1, 3.0], [0.4, 0.0, 3.0], [0.0, 0.5, 2.9]], 320)
    sparse = triangulate_points(capture, (0, 1, 2))
    points, colors = sparse.points, sparse.colors
    assert len(points) > 200
    assert np.median(np.abs(points[:, 2])) < 0.005
    assert np.percentile(np.abs(points[:, 2]), 95) < 0.05
    assert np.abs(points[:, :2]).max() < 1.05
    assert {tuple(pair) for pair in sparse.views.tolist()} == {(0, 1), (0, 2), (1, 2)}
    # Colours are those of the texture where the points are.
    column = ((points[:, 0] + 1) * 256).astype(int).clip(0, 511)
    row = ((1 - points[:, 1]) * 256).astype(int).clip(0, 511)
    assert np.corrcoef(texture[row, column].ravel() / 255, colors.ravel())[0, 1] > 0.85


def test_photos_without_features_are_refused(tmp_path: Path) -> None:
    gray = np.full((64, 64, 3), 128, np.uint8)
    capture = plane_capture(tmp_path / "c", gray, [[-0.4, 0.0, 3.0], [0.4, 0.0, 3.0]], 64)
    with pytest.raises(StudioError, match=r"do not match each other.*check the calibration"):
        triangulate_points(capture, (0, 1))
