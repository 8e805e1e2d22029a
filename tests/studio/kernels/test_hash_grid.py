"""Hash grid: tiny-cuda-nn's published layout worked by hand, and the kernels against the float64 reference."""

from __future__ import annotations

import pytest
import torch

from studio.errors import StudioError
from studio.kernels import hash_grid_cpu
from studio.kernels.hash_grid import HashGridLayout, hash_encode, hash_encode_reference
from tests.studio.kernels.scenes import leaves, relative

SMALL = HashGridLayout(levels=5, features=2, log2_size=10, base_resolution=4, per_level_scale=1.7)


def _inputs(layout: HashGridLayout, count: int, seed: int = 0) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 3, generator=random), torch.randn(layout.parameters, generator=random)]


def _features_and_gradients(encode, inputs, layout, seed=1):
    features = encode(*inputs, layout)
    random = torch.Generator().manual_seed(seed)
    cotangent = torch.randn(features.shape, generator=random).to(features)
    return features, torch.autograd.grad(features, inputs, cotangent)


# ----------------------------------------------------------------------------------------------------------- layout


def test_layout_of_doubling_levels():
    """N_min 16, b 2, T 2^19: scales 16·2^l - 1, lattices 16, 32, 64 dense, 128³ = 2^21 > T hashed."""
    layout = HashGridLayout(levels=5, log2_size=19, base_resolution=16, per_level_scale=2.0)
    assert layout.scales == (15.0, 31.0, 63.0, 127.0, 255.0)
    assert layout.resolutions == (16, 32, 64, 128, 256)
    assert layout.sizes == (4096, 32768, 262144, 524288, 524288)
    assert layout.hashed == (False, False, False, True, True)
    assert layout.offsets == (0, 4096, 36864, 299008, 823296, 1347584)
    assert layout.parameters == 2 * 1347584


def test_layout_rounds_up_to_multiples_of_eight():
    """NeRSemble's growth of 1.447 from 16: 16·1.447 - 1 = 22.152, so 24 points; 5³ = 125 points take 128 rows."""
    layout = HashGridLayout(levels=2, log2_size=19, base_resolution=16, per_level_scale=1.447)
    assert layout.scales[1] == pytest.approx(22.152, abs=1e-5)
    assert layout.resolutions == (16, 24)
    assert layout.sizes == (4096, 13824)
    assert HashGridLayout(levels=1, base_resolution=5, log2_size=10).sizes == (128,)


def test_the_finest_resolution_gives_the_growth():
    """2048 = 16 · b^15, so b = 128^(1/15) = 1.38191…"""
    layout = HashGridLayout.up_to(2048, levels=16, base_resolution=16)
    assert layout.per_level_scale == pytest.approx(1.381912879967776)
    assert layout.scales[15] == pytest.approx(2047.0, abs=1e-2)


@pytest.mark.parametrize(
    "wrong", [{"features": 3}, {"levels": 0}, {"log2_size": 2}, {"base_resolution": 1}, {"per_level_scale": 0.5}]
)
def test_a_layout_that_cannot_be(wrong):
    with pytest.raises(StudioError, match="hash grid; got"):
        HashGridLayout(**wrong)


# ----------------------------------------------------------------------------------------------------- hand-worked


@pytest.mark.parametrize("encode", [hash_encode, hash_encode_reference])
def test_dense_rows_by_hand(encode):
    """One level of 4³ points, 3 cells to the unit; a place is 3 x + ½, and row = x + 4 y + 16 z. Row r holds r."""
    layout = HashGridLayout(levels=1, features=1, log2_size=10, base_resolution=4, per_level_scale=1.0)
    table = torch.arange(64.0)
    positions = torch.tensor(
        [
            [0.5, 0.5, 0.5],  # place 2, 2, 2: row 2 + 8 + 32 = 42
            [0.25, 0.5, 0.5],  # place 1.25: ¾ of row 41 + ¼ of row 42
            [0.5, 0.25, 0.5],  # ¾ of row 38 + ¼ of row 42
            [1.0, 0.5, 0.5],  # place 3.5: ½ of row 43 + ½ of row 44, the next line's first point
            [0.5, 0.5, 1.0],  # ½ of row 2 + 8 + 48 = 58, ½ of row 74, which is 10 of 64
        ]
    )
    expected = torch.tensor([42.0, 41.25, 39.0, 43.5, 34.0])
    assert torch.allclose(encode(positions, table, layout)[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("encode", [hash_encode, hash_encode_reference])
def test_hashed_rows_by_hand(encode):
    """T = 8 rows, so three low bits count: 2654435761 = 1 and 805459861 = 5 modulo 8. Row r holds r.

    Point (2, 2, 2): 2 ⊕ 2·1 ⊕ 2·5 = 2 ⊕ 2 ⊕ 2 = 2. Point (1, 2, 3): 1 ⊕ 2 ⊕ 15 = 1 ⊕ 2 ⊕ 7 = 4.
    """
    layout = HashGridLayout(levels=1, features=1, log2_size=3, base_resolution=4, per_level_scale=1.0)
    positions = torch.tensor([[0.5, 0.5, 0.5], [0.5 / 3, 1.5 / 3, 2.5 / 3]])
    assert torch.allclose(encode(positions, torch.arange(8.0), layout)[:, 0], torch.tensor([2.0, 4.0]), atol=1e-5)


def test_features_stand_level_by_level():
    layout = HashGridLayout(levels=2, features=2, log2_size=10, base_resolution=4, per_level_scale=2.0)
    table = torch.cat((torch.ones(64, 2) * torch.tensor([1.0, 2.0]), torch.ones(512, 2) * torch.tensor([3.0, 4.0])))
    assert layout.sizes == (64, 512)
    assert hash_encode(torch.rand(3, 3), table.reshape(-1), layout).allclose(torch.tensor([1.0, 2.0, 3.0, 4.0]))


# -------------------------------------------------------------------------------------------------------- reference


@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_values_and_gradients_against_float64(features):
    layout = HashGridLayout(levels=6, features=features, log2_size=11, base_resolution=5, per_level_scale=1.6)
    assert layout.hashed[0] is False
    assert layout.hashed[-1] is True
    inputs = _inputs(layout, 333)
    found, gradients = _features_and_gradients(hash_encode, leaves(inputs, torch.float32), layout)
    expected, exact = _features_and_gradients(hash_encode_reference, leaves(inputs, torch.float64), layout)
    assert relative(found, expected) < 3e-6
    for ours, theirs in zip(gradients, exact):
        assert relative(ours, theirs) < 3e-5


@pytest.mark.parametrize("count", [1, 15, 16, 17, 8191, 8193, 2 * 8192 + 3])
def test_any_number_of_samples(count):
    inputs = _inputs(SMALL, count)
    found, gradients = _features_and_gradients(hash_encode, leaves(inputs, torch.float32), SMALL)
    expected, exact = _features_and_gradients(hash_encode_reference, leaves(inputs, torch.float64), SMALL)
    assert found.shape == (count, SMALL.width)
    assert relative(found, expected) < 3e-6
    assert max(relative(ours, theirs) for ours, theirs in zip(gradients, exact)) < 3e-5


def test_outside_of_the_unit_cube_the_lattice_goes_on():
    """Negative places are unsigned words there: -1 is 2^32 - 1. Whatever comes in, memory is not left."""
    inputs = _inputs(SMALL, 200)
    inputs[0] = 6.0 * inputs[0] - 3.0
    found, gradients = _features_and_gradients(hash_encode, leaves(inputs, torch.float32), SMALL)
    expected, exact = _features_and_gradients(hash_encode_reference, leaves(inputs, torch.float64), SMALL)
    assert relative(found, expected) < 1e-5
    assert max(relative(ours, theirs) for ours, theirs in zip(gradients, exact)) < 1e-4
    inputs[0][:5] = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30])[:, None]
    found, _ = _features_and_gradients(hash_encode, leaves(inputs, torch.float32), SMALL)
    assert bool(found[5:].isfinite().all())


def test_gradients_repeat_bit_by_bit_for_any_number_of_workers(monkeypatch):
    results = []
    for workers in ("1", "2", "5"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        results.append(_features_and_gradients(hash_encode, leaves(_inputs(SMALL, 20_000), torch.float32), SMALL))
    for features, gradients in results[1:]:
        assert torch.equal(features, results[0][0])
        assert all(torch.equal(a, b) for a, b in zip(gradients, results[0][1]))


def test_a_gradient_can_be_differentiated():
    """As for a loss on normals: the derivative of |∂features/∂position|² to the table and the positions."""

    def penalty_gradients(encode, inputs):
        features = encode(*inputs, SMALL)
        (slope,) = torch.autograd.grad(features.sin().sum(), inputs[0], create_graph=True)
        return torch.autograd.grad(slope.square().sum(), inputs)

    inputs = _inputs(SMALL, 60)
    found = penalty_gradients(hash_encode, leaves(inputs, torch.float32))
    exact = penalty_gradients(hash_encode_reference, leaves(inputs, torch.float64))
    assert max(relative(ours, theirs) for ours, theirs in zip(found, exact)) < 1e-4


def test_the_reference_by_finite_differences():
    layout = HashGridLayout(levels=2, features=1, log2_size=4, base_resolution=2, per_level_scale=2.0)
    inputs = leaves(_inputs(layout, 4, seed=3), torch.float64)
    assert torch.autograd.gradcheck(lambda x, t: hash_encode_reference(x, t, layout), inputs)
    assert torch.autograd.gradgradcheck(lambda x, t: hash_encode_reference(x, t, layout), inputs)


def test_only_what_is_needed_gets_a_gradient():
    positions, table = _inputs(SMALL, 20)
    hash_encode(positions, table.requires_grad_(), SMALL).sum().backward()
    assert table.grad is not None
    assert positions.grad is None
    assert not hash_encode(positions, table.detach(), SMALL).requires_grad


def test_what_does_not_fit_is_refused():
    positions, table = _inputs(SMALL, 20)
    for wrong in ((positions[:, :2], table), (positions, table[:-1]), (positions.double(), table)):
        with pytest.raises(StudioError, match="hash grid; got"):
            hash_encode(*wrong, SMALL)
    with pytest.raises(StudioError, match="unknown kernels"):
        hash_encode(positions, table, SMALL, kernels="fast")


@pytest.mark.gpu
def test_tiny_cuda_nn_reads_the_same_parameters():
    try:
        import tinycudann  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("tiny-cuda-nn is not installed")
    layout = HashGridLayout(levels=16, features=2, log2_size=15, base_resolution=16, per_level_scale=1.447)
    inputs = _inputs(layout, 1000)
    found, gradients = _features_and_gradients(hash_encode, leaves(inputs, torch.float32, "cuda"), layout)
    expected, exact = _features_and_gradients(hash_encode_reference, leaves(inputs, torch.float64), layout)
    assert relative(found, expected) < 1e-3
    assert max(relative(ours, theirs) for ours, theirs in zip(gradients, exact)) < 1e-2


@pytest.mark.parametrize("count", [16, 37, 16_400])
def test_tables_beyond_the_caches_give_the_same_bits(count, monkeypatch):
    """Their levels are read one after the other, and gathered elsewhere first."""
    layout = HashGridLayout.up_to(64, levels=5, log2_size=10)
    random = torch.Generator().manual_seed(count)
    positions, table = torch.rand(count, 3, generator=random), layout.initial_table(random).requires_grad_()
    given, found = torch.randn(count, layout.width, generator=random), []
    for cached, workers in ((1 << 19, "1"), (0, "1"), (0, "3")):
        monkeypatch.setattr(hash_grid_cpu, "_CACHED", cached)
        monkeypatch.setenv("STUDIO_THREADS", workers)
        features = hash_encode(positions, table, layout)
        found.append((features.detach(), *torch.autograd.grad(features, table, given)))
    for features, gradient in found[1:]:
        assert torch.equal(features, found[0][0])
        assert torch.equal(gradient, found[0][1])
