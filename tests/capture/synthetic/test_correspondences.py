"""Finding landmarks on a head model again: from exact detections, and from MediaPipe's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from capture.synthetic.correspondences import (
    Correspondences,
    View,
    closest_barycentric,
    errors,
    measure,
    places_of,
    random_codes,
    sample_views,
)
from studio.cameras import intrinsics, orbit
from studio.heads import load_head


def test_closest_points_of_a_triangle_by_hand() -> None:
    triangle = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])
    points = np.array([[0.5, 0.5, 3], [-1, -1, 0], [1, -5, 0], [5, 5, 1], [9, 0, 0]])
    expected = np.array([[0.5, 0.5, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 0, 0]])
    bary = closest_barycentric(points, np.broadcast_to(triangle, (5, 3, 3)))
    assert np.allclose(bary.sum(1), 1)
    assert np.allclose(bary @ triangle, expected)


def test_exact_detections_lead_back_to_the_landmarks() -> None:
    head = load_head("procedural")
    known = Correspondences(head.landmark_faces.numpy(), head.landmark_bary.double().numpy())
    rng = np.random.default_rng(0)
    views = []
    for azimuth in np.linspace(-0.28, 0.28, 8):
        vertices = head.vertices(0.3 * torch.randn(head.num_identity), random_codes(rng))
        sides = (torch.tensor([azimuth]).float(), torch.tensor([0.05]))
        camera = orbit(torch.tensor([0.0, -0.03, 0.0]), 0.8, *sides, intrinsics(1200.0, 512, 512), 512, 512)
        view = View(vertices, camera, np.zeros((478, 2)), abs(azimuth))
        views.append(View(vertices, camera, known.project(head, view).astype(np.float64), abs(azimuth)))
    found = measure(head, views, rounds=4)
    miss = np.linalg.norm(places_of(head, found) - places_of(head, known), axis=1)
    assert np.quantile(miss, 0.9) < 0.0015
    assert errors(head, found, views)["all"] < 0.01


def test_mediapipe_sees_the_points_of_ict_where_the_table_puts_them(shared: Path) -> None:
    head = load_head("ict", shared / "assets" / "ict_facekit" / "ict_facekit_light.npz")
    found = Correspondences(head.landmark_faces.numpy(), head.landmark_bary.numpy())
    views = list(sample_views(head, 8, seed=11))
    assert len(views) >= 6
    misses = errors(head, found, views)
    assert misses["all but contour"] < 0.025
    assert misses["lips"] < 0.025
    assert misses["lids"] < 0.02
    assert misses["irises"] < 0.025


@pytest.mark.parametrize("seed", range(3))
def test_random_expressions_stay_in_range(seed: int) -> None:
    weights = random_codes(np.random.default_rng(seed)).expression
    assert weights.min() >= 0
    assert weights.max() <= 0.6
