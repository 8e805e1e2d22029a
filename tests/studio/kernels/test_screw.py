"""Frequency encodings and screw motions against float64 references and numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from studio.errors import StudioError
from studio.kernels.screw import (
    ease_window,
    encode_frequencies,
    encode_frequencies_reference,
    move_points,
    move_points_reference,
)


def test_the_window_lets_bands_in_one_after_the_other() -> None:
    assert ease_window(0.0, 3).tolist() == [0.0, 0.0, 0.0]
    assert ease_window(1.5, 3).tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert ease_window(3.0, 3).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_an_encoding_by_hand() -> None:
    point, code = torch.tensor([[0.5, 0.25, 0.0]]), torch.tensor([[7.0], [9.0]])
    row = encode_frequencies(point, code, torch.tensor([1]), torch.tensor([1.0, 0.5]), 18)[0]
    half = math.sqrt(0.5)
    expected = [0.5, 0.25, 0, 1, half, 0, 0, half, 1, 0, 0.5, 0, -0.5, 0, 0.5, 9, 0, 0]
    assert row.tolist() == pytest.approx(expected, abs=1e-6)


def test_encodings_agree_with_the_reference() -> None:
    random = torch.Generator().manual_seed(0)
    points = 3 * torch.rand(5000, 3, generator=random) - 1.5
    codes = torch.randn(4, 5, generator=random).requires_grad_()
    index, window = torch.randint(4, (5000,), generator=random), ease_window(5.3, 7)
    ours = encode_frequencies(points, codes, index, window, 64)
    double = codes.detach().double().requires_grad_()
    truth = encode_frequencies_reference(points.double(), double, index, window, 64)
    assert float((ours - truth).abs().max()) < 2e-5
    given = torch.randn(ours.shape, generator=random)
    (by_codes,) = torch.autograd.grad(ours, codes, given)
    (expected,) = torch.autograd.grad(truth, double, given.double())
    assert torch.allclose(by_codes.double(), expected, rtol=1e-4, atol=1e-3)


def test_a_quarter_turn_and_a_shift_by_hand() -> None:
    points = torch.tensor([[1.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    screws = torch.tensor([[0.0, 0.0, math.pi / 2, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0, -1.0, 0.25]])
    moved = move_points(points, screws)
    assert moved[0].tolist() == pytest.approx([0.0, 1.0, 0.5], abs=1e-6)
    assert moved[1].tolist() == pytest.approx([2.0, 1.0, 3.25])


@pytest.mark.parametrize("size", [0.0, 1e-4, 0.09, 0.11, 1.0, 3.0])
def test_motions_and_gradients_agree_with_the_reference(size: float) -> None:
    random = torch.Generator().manual_seed(1)
    points = torch.randn(3000, 3, generator=random).requires_grad_()
    turns = torch.nn.functional.normalize(torch.randn(3000, 3, generator=random), dim=1) * size
    screws = torch.cat((turns, torch.randn(3000, 13, generator=random)), dim=1).requires_grad_()
    ours = move_points(points, screws)
    inputs = [value.detach().double().requires_grad_() for value in (points, screws)]
    truth = move_points_reference(*inputs)
    assert float((ours - truth).abs().max()) < 2e-6
    given = torch.randn(ours.shape, generator=random)
    found = torch.autograd.grad(ours, (points, screws), given)
    for mine, wanted in zip(found, torch.autograd.grad(truth, inputs, given.double())):
        assert float((mine - wanted).abs().max()) < 2e-5


def test_what_does_not_fit_is_refused() -> None:
    points, codes, index, window = (
        torch.zeros(4, 3),
        torch.zeros(2, 5),
        torch.zeros(4, dtype=torch.int64),
        torch.ones(3),
    )
    with pytest.raises(StudioError, match="26 or more"):
        encode_frequencies(points, codes, index, window, 25)
    with pytest.raises(StudioError, match="points to encode"):
        encode_frequencies(points, codes, index[:3], window, 26)
    with pytest.raises(StudioError, match="points to move"):
        move_points(points, torch.zeros(4, 5))
