"""Figures with values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recon.metrics import ColorMatch, match_exposure, psnr


def test_psnr_of_a_known_error() -> None:
    truth = torch.zeros(4, 4, 3)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth, truth) == math.inf


def test_psnr_counts_the_mask_only() -> None:
    truth, image = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
    image[0, 0] = 1.0
    mask = torch.tensor([[True, True], [False, False]])
    assert psnr(image, truth, mask) == pytest.approx(10 * math.log10(2), abs=1e-5)


def test_matching_undoes_gain_and_offset_but_nothing_else() -> None:
    truth = np.random.default_rng(0).integers(20, 200, (16, 16, 3)).astype(np.uint8)
    darker = np.round(truth * 0.7 + 12).astype(np.uint8)
    assert np.abs(match_exposure(darker, truth).astype(int) - truth).max() <= 1
    flat = np.full_like(truth, 90)
    assert np.unique(match_exposure(flat, truth)).tolist() == [round(float(truth.mean()))]


def test_a_colour_match_is_one_affine_change() -> None:
    rng = np.random.default_rng(0)
    render = rng.random((200, 3))
    matrix = np.concatenate((np.eye(3) * 0.8 + 0.05 * rng.random((3, 3)), [[0.1], [0.0], [-0.1]]), axis=1)
    truth = render @ matrix[:, :3].T + matrix[:, 3]
    match = ColorMatch()
    match.add(render[:50], truth[:50])
    match.add(render[50:], truth[50:])
    np.testing.assert_allclose(match.matrix, matrix, atol=1e-9)
    assert match.pixels == 200
    assert match.squared_error() == pytest.approx(0, abs=1e-9)
    noisy = ColorMatch()
    noisy.add(render, truth + 0.1 * np.where(np.arange(200) % 2, 1, -1)[:, None])
    assert noisy.squared_error() == pytest.approx(600 * 0.01, rel=0.05)
