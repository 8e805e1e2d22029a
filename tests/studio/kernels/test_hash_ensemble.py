"""Ensembles of hash grids: both ways of blending, against grids encoded one by one in float64."""

from __future__ import annotations

import pytest
import torch

from studio.errors import StudioError
from studio.kernels import hash_ensemble as module
from studio.kernels.hash_ensemble import blend_tables, hash_ensemble, hash_ensemble_reference
from studio.kernels.hash_grid import HashGridLayout, hash_encode
from tests.studio.kernels.scenes import leaves, relative

LAYOUT = HashGridLayout(levels=4, features=2, log2_size=9, base_resolution=4, per_level_scale=1.8)


def _inputs(count: int, tables: int, codes: int, layout: HashGridLayout = LAYOUT) -> list[torch.Tensor]:
    """Positions, tables, weights."""
    random = torch.Generator().manual_seed(count + tables)
    shape = (layout.offsets[-1], tables, layout.features)
    return [
        torch.rand(count, 3, generator=random),
        torch.randn(shape, generator=random),
        torch.randn(codes, tables, generator=random),
    ]


def _codes(count: int, codes: int) -> torch.Tensor:
    return torch.randint(codes, (count,), generator=torch.Generator().manual_seed(1))


def _compare(inputs, codes, layout=LAYOUT) -> None:
    singles, doubles = leaves(inputs, torch.float32), leaves(inputs, torch.float64)
    found = hash_ensemble(*singles, layout, codes)
    exact = hash_ensemble_reference(*doubles, layout, codes)
    assert relative(found, exact) < 3e-6
    cotangent = torch.randn(exact.shape, generator=torch.Generator().manual_seed(2))
    gradients = torch.autograd.grad(found, singles, cotangent)
    expected = torch.autograd.grad(exact, doubles, cotangent.double())
    for name, ours, theirs in zip(("positions", "tables", "weights"), gradients, expected):
        assert relative(ours, theirs) < 3e-5, name


def test_by_hand():
    """Grid h holds h + 1 everywhere; with weights ½, 0, 2, … the blend is ½ · 1 + 2 · 3 = 6½."""
    layout = HashGridLayout(levels=2, features=2, log2_size=9, base_resolution=4, per_level_scale=2.0)
    tables = torch.arange(1.0, 9.0)[None, :, None].expand(layout.offsets[-1], 8, 2).contiguous()
    weights = torch.tensor([[0.5, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 7 + [1.0]])
    positions = torch.rand(20, 3)
    assert torch.allclose(hash_ensemble(positions, tables, weights[:1], layout), torch.tensor(6.5))
    codes = torch.tensor([0, 1] * 10)
    expected = torch.tensor([6.5, 8.0] * 10)[:, None].expand(20, 4)
    assert torch.allclose(hash_ensemble(positions, tables, weights, layout, codes), expected)


def test_one_table_of_weight_one_is_the_grid():
    positions, tables, _ = _inputs(100, 8, 1)
    chosen = torch.zeros(1, 8)
    chosen[0, 5] = 1.0
    alone = hash_encode(positions, tables[:, 5].reshape(-1).contiguous(), LAYOUT)
    assert torch.allclose(hash_ensemble(positions, tables, chosen, LAYOUT), alone, atol=1e-6)


@pytest.mark.parametrize("tables", [8, 32, 5])
def test_one_code_for_all(tables):
    _compare(_inputs(300, tables, 1), None)


@pytest.mark.parametrize("count", [5, 16, 333])
@pytest.mark.parametrize("tables", [8, 11])
def test_every_sample_by_itself(count, tables, monkeypatch):
    monkeypatch.setattr(module, "_blending_pays", lambda *_: False)
    _compare(_inputs(count, tables, 7), _codes(count, 7))


def test_a_few_codes_are_blended_first(monkeypatch):
    monkeypatch.setattr(module, "_blending_pays", lambda *_: True)
    _compare(_inputs(200, 8, 4), _codes(200, 3))  # the fourth is nobody's


@pytest.mark.parametrize("features", [1, 4])
def test_other_numbers_of_features(features, monkeypatch):
    layout = HashGridLayout(levels=3, features=features, log2_size=9, base_resolution=4, per_level_scale=1.8)
    _compare(_inputs(100, 16, 1, layout), None, layout)
    monkeypatch.setattr(module, "_blending_pays", lambda *_: False)
    _compare(_inputs(100, 16, 3, layout), _codes(100, 3), layout)


def test_the_cheaper_way_is_taken():
    """113,000 rows for 262,144 samples of 8 levels: blending pays for one code and for dozens, not for thousands."""
    layout = HashGridLayout(levels=8, features=2, log2_size=14, base_resolution=16, per_level_scale=1.5)
    assert module._blending_pays(1, 262_144, layout)
    assert module._blending_pays(32, 262_144, layout)
    assert not module._blending_pays(4096, 262_144, layout)
    assert not module._blending_pays(2, 100, layout)


@pytest.mark.parametrize("blended", [True, False])
def test_gradients_repeat_bit_by_bit_for_any_number_of_workers(blended, monkeypatch):
    monkeypatch.setattr(module, "_blending_pays", lambda *_: blended)
    results = []
    for workers in ("1", "2", "5"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        inputs = leaves(_inputs(9000, 8, 2), torch.float32)
        results.append(torch.autograd.grad(hash_ensemble(*inputs, LAYOUT, _codes(9000, 2)).sin().sum(), inputs))
    for gradients in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients, results[0]))


@pytest.mark.parametrize("blended", [True, False])
def test_a_gradient_can_be_differentiated(blended, monkeypatch):
    monkeypatch.setattr(module, "_blending_pays", lambda *_: blended)
    codes = _codes(40, 2)

    def penalty_gradients(encode, inputs):
        (slope,) = torch.autograd.grad(encode(*inputs, LAYOUT, codes).sin().sum(), inputs[0], create_graph=True)
        return torch.autograd.grad(slope.square().sum(), inputs)

    inputs = _inputs(40, 8, 2)
    found = penalty_gradients(hash_ensemble, leaves(inputs, torch.float32))
    exact = penalty_gradients(hash_ensemble_reference, leaves(inputs, torch.float64))
    assert max(relative(ours, theirs) for ours, theirs in zip(found, exact)) < 1e-4


def test_blending_alone():
    _, tables, weights = _inputs(1, 8, 1)
    expected = torch.einsum("rhf,h->rf", tables.double(), weights[0].double()).reshape(-1)
    assert relative(blend_tables(tables, weights[0]), expected) < 1e-6


def test_what_does_not_fit_is_refused():
    positions, tables, weights = _inputs(20, 8, 2)
    with pytest.raises(StudioError, match="hash ensemble; got"):
        hash_ensemble(positions, tables, weights, LAYOUT)
    with pytest.raises(StudioError, match="hash ensemble; got"):
        hash_ensemble(positions, tables[1:], weights[:1], LAYOUT)
    with pytest.raises(StudioError, match="hash ensemble; got"):
        hash_ensemble(positions.double(), tables, weights[:1], LAYOUT)
    with pytest.raises(StudioError, match="codes of samples; got 0 to 2; expected 0 to 1"):
        hash_ensemble(positions, tables, weights, LAYOUT, torch.arange(20) % 3)
