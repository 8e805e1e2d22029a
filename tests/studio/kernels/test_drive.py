"""Gaussians carried by their anchors: kernels against plain torch in float64, golden values by hand, and their laws."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.basis_gradient import BasisGradient
from studio.kernels.drive import CHANNELS, Gains, carry_splats
from studio.kernels.drive_reference import carry_reference
from tests.studio.kernels.scenes import leaves, relative

GAINS = Gains(unit=0.06, position=0.02, rotation=0.2, color=0.2, opacity=0.5, largest=0.25)


def _case(count: int, bases: int, parts: int = 3, seed: int = 0) -> list[Tensor]:
    """Anchors (3), raw parameters (6) and weights [P, K]; some scales beyond the largest, some colours below zero."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    anchors = [0.1 * normal(count, 3), torch.nn.functional.normalize(normal(count, 4), dim=-1)]
    anchors.append(0.6 + torch.rand(count, generator=random))
    raw = [0.1 * normal(count, 3), normal(count, 4), normal(count, 3) - 2, 3 * normal(count), normal(count, 3)]
    return [*anchors, *raw, normal(bases, count * CHANNELS), torch.tanh(normal(parts, bases))]


def _carried(values: list[Tensor]) -> tuple[Tensor, ...]:
    return carry_splats(GAINS, (values[0], values[1], values[2]), tuple(values[3:9]), values[9], _parts(values))


def _parts(values: list[Tensor]) -> Tensor:
    """Runs of one part, and stretches where it changes from Gaussian to Gaussian."""
    count, parts = len(values[0]), len(values[9])
    random = torch.Generator().manual_seed(count)
    runs = torch.arange(count) // 40 % parts
    return torch.where(torch.arange(count) % 150 < 90, runs, torch.randint(parts, (count,), generator=random))


def _gradients(values: list[Tensor], seed: int = 1) -> tuple[Tensor, ...]:
    out = _carried(values)
    random = torch.Generator().manual_seed(seed)
    cotangents = [torch.randn(value.shape, generator=random).to(value.dtype) for value in out]
    return torch.autograd.grad(out, values, cotangents)


@pytest.mark.parametrize(
    ("count", "bases", "parts"), [(16, 3, 1), (50, 16, 3), (512, 2, 2), (517, 4, 3), (2500, 5, 4), (40, 0, 3)]
)
def test_values_and_gradients_equal_the_reference(count: int, bases: int, parts: int) -> None:
    values = _case(count, bases, parts)
    fast, exact = leaves(values, torch.float32), leaves(values, torch.float64)
    for found, expected in zip(_carried(fast), _carried(exact)):
        assert expected.dtype == torch.float64
        assert relative(found.detach(), expected.detach()) < 1e-6
    for found, expected in zip(_gradients(fast), _gradients(exact)):
        assert relative(found, expected) < 3e-6


def test_the_gradient_of_bases_in_factors_is_the_same() -> None:
    values = leaves(_case(517, 4), torch.float32)
    dense = _gradients(values)
    factors = BasisGradient()
    out = carry_splats(GAINS, tuple(values[:3]), tuple(values[3:9]), values[9], _parts(values), basis_gradient=factors)
    random = torch.Generator().manual_seed(1)
    torch.autograd.backward(out, [torch.randn(value.shape, generator=random) for value in out])
    assert values[8].grad is None
    assert relative(factors.dense(), dense[8]) < 1e-6
    for index in (0, 3, 7, 9):
        assert torch.equal(values[index].grad, dense[index])


def test_the_reference_gradient_is_the_derivative() -> None:
    values = leaves(_case(3, 2), torch.float64)
    parts = torch.tensor([1, 0, 2])

    def carried(*v: Tensor) -> tuple[Tensor, ...]:
        return carry_reference(GAINS, (v[0], v[1], v[2]), tuple(v[3:9]), v[9], parts)

    assert torch.autograd.gradcheck(carried, values, atol=1e-6)


def test_a_gaussian_by_hand() -> None:
    """A quarter turn about z, a triangle twice as large, one correction of weight ½."""
    count, half = 16, math.sqrt(0.5)
    anchors = (
        torch.tensor([1.0, 2.0, 3.0]).expand(count, 3),
        torch.tensor([half, 0.0, 0.0, half]).expand(count, 4),
        torch.full((count,), 2.0),
    )
    correction = torch.tensor([5.0, 0, 0, 0, 0, 0, 1.0, -5.0, 0, 5.0, 4.0])
    raw = (
        torch.tensor([0.1, 0.2, 0.0]).expand(count, 3),
        torch.tensor([3.0, 0, 0, 0]).expand(count, 4),
        torch.tensor([math.log(0.1), math.log(0.2), 5.0]).expand(count, 3),
        torch.zeros(count),
        torch.tensor([0.1, 0.5, 0.2]).expand(count, 3),
        correction.repeat(count)[None],
    )
    means, quats, scales, opacities, colors = carry_splats(
        GAINS, anchors, raw, torch.tensor([[-1.0], [0.5]]), torch.ones(count, dtype=torch.int64)
    )
    expected = {
        "means": (means, [1 - 0.12 * 0.2, 2 + 0.12 * 0.15, 3.0]),
        "quats": (quats, [half - 0.1 * half, 0.0, 0.0, half + 0.1 * half]),
        "scales": (scales, [0.012, 0.024, 0.03]),
        "colors": (colors, [0.0, 0.5, 0.7]),
    }
    for name, (found, row) in expected.items():
        torch.testing.assert_close(found, torch.tensor(row).expand_as(found), msg=name)
    torch.testing.assert_close(opacities, torch.full((count,), 1 / (1 + math.exp(-1))))


def test_few_gaussians_are_no_special_case() -> None:
    values = _case(16, 4, parts=1)
    whole = _carried(values)
    bases = values[8].view(4, 16, CHANNELS)[:, :5].reshape(4, -1)
    few = _carried([*(value[:5] for value in values[:8]), bases, values[9]])
    for found, expected in zip(few, whole):
        torch.testing.assert_close(found, expected[:5], rtol=1e-5, atol=1e-7)


def test_extreme_parameters_stay_finite() -> None:
    values = _case(32, 2)
    values[4] = torch.zeros(32, 4)
    values[5] = torch.tensor([-200.0, 0.0, 200.0]).expand(32, 3)
    values[6] = torch.tensor([-1e4, 1e4]).repeat(16)
    for value in (*_carried(values), *_gradients(leaves(values, torch.float32))):
        assert bool(torch.isfinite(value).all())


def test_gradients_repeat_bit_by_bit_on_any_number_of_workers_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    values = leaves(_case(3000, 6), torch.float32)
    found = []
    for workers in ("1", "2", "5"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        found.append(_gradients(values))
    with ThreadPoolExecutor(2) as pool:
        found += pool.map(lambda _: _gradients(values), range(4))
    for gradients in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients, found[0]))


def test_shapes_are_checked() -> None:
    values = _case(20, 3)
    with pytest.raises(StudioError, match="do not fit together"):
        _carried([*values[:8], values[8][:, 1:], values[9]])
    with pytest.raises(StudioError, match="do not fit together"):
        _carried([values[0][1:], *values[1:]])
