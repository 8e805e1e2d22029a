"""The CPU rasteriser against the float64 reference, its laws, and input it must survive."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from studio.cameras import Camera
from studio.errors import StudioError
from studio.kernels.compiled import kernel
from studio.kernels.splat import SplatRender, rasterize_splats
from studio.kernels.splat_raster import blocks_touched
from studio.kernels.splat_reference import ReferenceRender, rasterize_reference
from tests.studio.kernels.scenes import leaves, random_splats, relative, ring

NAMES = ("means", "quats", "scales", "opacities", "colors", "viewmats")


def _pair(values: list[Tensor], camera: Camera, **options: object) -> tuple[list[Tensor], ...]:
    """Inputs and renders of the kernels (float32) and of the reference (float64)."""
    fast, slow = leaves([*values, camera.viewmats], torch.float32), leaves([*values, camera.viewmats], torch.float64)
    render = rasterize_splats(*fast[:5], Camera(fast[5], camera.Ks, camera.width, camera.height), **options)
    exact = rasterize_reference(*slow[:5], Camera(slow[5], camera.Ks.double(), camera.width, camera.height), **options)
    return fast, slow, render, exact


def _compare(render: SplatRender, exact: ReferenceRender, fast: list[Tensor], slow: list[Tensor]) -> None:
    """Images within 1e-5, gradients of a random loss within 1e-4, where no decision hangs on rounding."""
    random = torch.Generator().manual_seed(5)
    losses = [torch.zeros(()), torch.zeros((), dtype=torch.float64)]
    for name in ("rgb", "alpha", "depth"):
        found, expected = getattr(render, name), getattr(exact, name)
        assert found.shape == expected.shape
        decided = exact.decided if name != "rgb" else exact.decided[..., None]
        assert float(((found - expected).detach().abs() * decided).max()) < 1e-5 * (5 if name == "depth" else 1), name
        cotangent = torch.randn(found.shape, generator=random) * decided
        losses = [losses[0] + (found * cotangent).sum(), losses[1] + (expected * cotangent).sum()]
    for loss in losses:
        loss.backward()
    for name, found, expected in zip(NAMES, fast, slow):
        assert relative(found.grad, expected.grad) < 1e-4, name


def _peculiar(kind: str, values: list[Tensor]) -> None:
    """A part of each scene behind the camera, flat (some nearly edge-on), or in one place."""
    means, _, scales, _, _ = values
    if kind == "behind the camera":
        means[:, ::3, 2] = 10.0
    elif kind == "flat":
        scales[:, ::2, 0] = 0.0
    elif kind == "coincident":
        means[:, ::2] = means[:, :1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    count=st.integers(8, 80),
    width=st.integers(8, 70),
    height=st.integers(8, 150),
    scenes=st.integers(1, 2),
    views=st.integers(1, 2),
    seed=st.integers(0, 10_000),
    size=st.sampled_from([0.0003, 0.003, 0.05, 0.2, 1.0, 5.0, 50.0]),
    kind=st.sampled_from(["", "behind the camera", "flat", "coincident"]),
    sh_degree=st.sampled_from([None, 0, 1, 2, 3]),
    antialiased=st.booleans(),
)
def test_images_and_all_gradients_equal_the_reference(
    count, width, height, scenes, views, seed, size, kind, sh_degree, antialiased
):
    values = random_splats(count, seed, scenes=scenes, sh_degree=sh_degree, size=size)
    _peculiar(kind, values)
    camera = ring(views, width, height)
    fast, slow, render, exact = _pair(values, camera, sh_degree=sh_degree, antialiased=antialiased)
    assume(bool(exact.decided.any()) and float((exact.alpha * exact.decided).detach().max()) > 0.05)
    _compare(render, exact, fast, slow)


def test_paired_views_equal_single_renders():
    values, camera = random_splats(60, seed=2, scenes=3), ring(3, 40, 30)
    together = rasterize_splats(*values, camera, paired=True)
    assert together.rgb.shape == (3, 30, 40, 3)
    for index in range(3):
        alone = rasterize_splats(*(value[index] for value in values), camera[index])
        assert torch.equal(together.rgb[index], alone.rgb[0])
        assert torch.equal(together.depth[index], alone.depth[0])


def test_every_scene_is_seen_by_every_camera():
    values, camera = random_splats(50, seed=3, scenes=6), ring(2, 20, 70)
    batched = [value.reshape(2, 3, *value.shape[1:]) for value in values]
    together = rasterize_splats(*batched, camera)
    assert together.rgb.shape == (2, 3, 2, 70, 20, 3)
    assert together.screen.radii.shape == (2, 3, 2, 50)
    alone = rasterize_splats(*(value[4] for value in values), camera[1])
    assert torch.equal(together.rgb[1, 1, 1], alone.rgb[0])


def test_one_gaussian_by_hand():
    """Straight ahead at 2 m, f = 100 px, σ = 0.04 m: 2 px on screen; variance 4 + 0.3."""
    camera = Camera(torch.eye(4)[None], torch.tensor([[[100.0, 0, 8], [0, 100, 8], [0, 0, 1]]]), 16, 16)
    values = (
        torch.tensor([[0.0, 0, 2]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), 0.04),
        torch.tensor([0.5]),
        torch.tensor([[1.0, 0.5, 0.0]]),
    )
    render = rasterize_splats(*values, camera)
    alpha = 0.5 * torch.exp(torch.tensor(-0.5 * (0.5**2 + 1.5**2) / 4.3))  # pixel centre (8.5, 9.5) from (8, 8)
    assert float(render.alpha[0, 9, 8]) == pytest.approx(float(alpha), rel=1e-5)
    assert render.rgb[0, 9, 8].tolist() == pytest.approx([float(alpha), float(alpha) / 2, 0.0], rel=1e-5)
    assert float(render.depth[0, 9, 8]) == pytest.approx(2.0)
    radius = (2 * torch.log(torch.tensor(0.5 * 255)) * 4.3).sqrt()
    assert float(render.screen.radii[0, 0]) == pytest.approx(float(radius), rel=1e-5)
    sharp = rasterize_splats(*values, camera, antialiased=True)
    assert float(sharp.alpha[0, 9, 8]) == pytest.approx(float(alpha) * 4.0 / 4.3, rel=1e-5)


def test_a_pixel_ends_before_its_transmittance_would_reach_the_limit():
    """Two opaque sheets leave 1e-6 < 1e-4, so only the first is blended: α = 0.999, not more."""
    camera = Camera(torch.eye(4)[None], torch.tensor([[[10.0, 0, 2], [0, 10, 2], [0, 0, 1]]]), 4, 4)
    means = torch.tensor([[0.0, 0, 2], [0.0, 0, 1]])
    colors = torch.tensor([[0.0, 1, 0], [1.0, 0, 0]])
    render = rasterize_splats(means, torch.ones(2, 4), torch.full((2, 3), 50.0), torch.ones(2), colors, camera)
    assert torch.allclose(render.alpha, torch.tensor(0.999))
    assert torch.allclose(render.rgb[..., 0], torch.tensor(0.999))
    assert float(render.rgb[..., 1].max()) == 0.0
    assert torch.allclose(render.depth, torch.tensor(1.0))


def test_absolute_screen_gradients_are_sums_of_magnitudes_over_pixels():
    values, camera = random_splats(12, seed=4, size=0.1), ring(1, 9, 7)
    values[0] = values[0] * 0.3
    inputs = leaves(values, torch.float32)
    weights = torch.randn(1, 1, 7, 9, 3, generator=torch.Generator().manual_seed(0))
    render = rasterize_splats(*inputs, camera, absgrad=True)
    assert render.screen.means2d_grad is None
    (render.rgb * weights).sum().backward()
    total, magnitude = 0.0, 0.0
    for y in range(7):
        for x in range(9):
            pixel = rasterize_splats(*inputs, camera)
            (pixel.rgb * weights)[:, :, y, x].sum().backward()
            total = total + pixel.screen.means2d_grad
            magnitude = magnitude + pixel.screen.means2d_grad.abs()
    assert relative(render.screen.means2d_grad, total) < 1e-4
    assert relative(render.screen.means2d_absgrad, magnitude) < 1e-4


def test_blocks_touched_are_those_that_hold_a_pixel_of_the_ellipse():
    """Every block of 4 × 4 pixel centres with one inside must be there; others only where the ellipse passes by."""
    random = np.random.default_rng(0)
    columns, rows = np.meshgrid(np.arange(32.0), np.arange(32.0))
    needed, given = 0, 0
    for _ in range(300):
        mean, angle, radii = random.uniform(-20, 52, 2), random.uniform(0, np.pi), np.exp(random.uniform(-1, 4, 2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        (xx, xy), (_, yy) = turn @ np.diag(radii**2) @ turn.T
        offsets = np.stack((columns - mean[0], rows - mean[1]), axis=-1)
        distances = np.einsum("...i,ij,...j", offsets, np.linalg.inv([[xx, xy], [xy, yy]]), offsets)
        inside = (distances <= 1).reshape(8, 4, 8, 4).any(axis=(1, 3))
        width, height = np.sqrt(xx), np.sqrt(yy)
        determinant = xx * yy - xy * xy
        fields = (*mean, width + height, xy / xx * width, xy / yy, determinant / yy, determinant / yy**2)
        bits = int(_touched(np.array(fields, np.float32)))
        touched = np.array([(bits >> bit) & 1 for bit in range(64)], bool).reshape(8, 8)
        assert not (inside & ~touched).any()
        needed, given = needed + int(inside.sum()), given + int(touched.sum())
    assert given < 1.1 * needed


@kernel
def _touched(fields):
    return blocks_touched(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6])


def test_without_depth_colours_and_gradients_are_the_same():
    values, camera = random_splats(200, seed=5), ring(2, 50, 37)
    found = []
    for with_depth in (True, False):
        inputs = leaves(values, torch.float32)
        render = rasterize_splats(*inputs, camera, with_depth=with_depth)
        found.append([render.rgb, render.alpha, *torch.autograd.grad(render.rgb.square().sum(), inputs)])
    assert all(torch.equal(a, b) for a, b in zip(*found))
    assert render.depth.shape == (*render.alpha.shape[:-2], 0, 0)


def test_gradients_repeat_bit_by_bit_on_any_number_of_workers(monkeypatch):
    values, camera = random_splats(700, seed=6), ring(2, 100, 90)
    results = []
    for workers in ("1", "2", "5", "2"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        inputs = leaves([*values, camera.viewmats], torch.float32)
        render = rasterize_splats(*inputs[:5], Camera(inputs[5], camera.Ks, camera.width, camera.height))
        (render.rgb.square().sum() + render.depth.sum()).backward()
        results.append([render.rgb, *(value.grad for value in inputs)])
    for result in results[1:]:
        assert all(torch.equal(first, other) for first, other in zip(results[0], result))


def test_backward_twice_and_two_renders_before_one_backward():
    values, camera = random_splats(100, seed=8), ring(1, 40, 40)
    inputs = leaves(values, torch.float32)
    first, second = rasterize_splats(*inputs, camera), rasterize_splats(*inputs, camera)
    once = torch.autograd.grad(first.rgb.sum(), inputs, retain_graph=True)
    again = torch.autograd.grad(first.rgb.sum(), inputs)
    other = torch.autograd.grad(second.rgb.sum(), inputs)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(once, again, other))


def test_python_threads_render_at_once():
    """Each of four threads gets the images and gradients that it gets alone, whatever the others do."""

    def images_and_gradients(seed: int) -> list[Tensor]:
        values, camera = random_splats(300 + 50 * seed, seed), ring(2, 70 + seed, 80)
        inputs = leaves(values, torch.float32)
        render = rasterize_splats(*inputs, camera)
        return [render.rgb.detach(), *torch.autograd.grad(render.rgb.square().sum() + render.depth.sum(), inputs)]

    alone = [images_and_gradients(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            for found, expected in zip(threads.map(images_and_gradients, range(4)), alone):
                assert all(torch.equal(a, b) for a, b in zip(found, expected))


def _hostile(kind: str, values: list[Tensor]) -> None:
    means, quats, scales, opacities, colors = (value[0] for value in values)
    if kind == "behind the camera":
        means[5:10, 2] = 10.0
    elif kind == "on the camera plane":
        means[5:10] = torch.tensor([0.3, 0.0, 3.5])
    elif kind == "huge":
        scales[5:7] = 1e4
    elif kind == "larger than float32":
        scales[5:7] = 1e25
    elif kind == "tiny":
        scales[:] = 1e-12
    elif kind == "edge-on":
        quats[:] = torch.tensor([1.0, 0, 0, 0])
        scales[:, 0] = 0.0
    elif kind == "coincident":
        means[:] = means[0].clone()
    elif kind == "zero quaternion":
        quats[5:10] = 0.0
    elif kind == "opacity outside 0..1":
        opacities[5:10], opacities[10:15] = -1.0, 3.0
    else:
        bad = float("nan") if kind.startswith("nan") else float("inf")
        {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "colors": colors}[kind.split()[1]][
            5
        ] = bad


@pytest.mark.parametrize(
    "kind",
    [
        *("behind the camera", "on the camera plane", "huge", "larger than float32", "tiny", "edge-on", "coincident"),
        *("zero quaternion", "opacity outside 0..1", "nan means", "nan quats", "nan scales", "nan opacities"),
        *("nan colors", "inf means", "inf scales", "inf colors"),
    ],
)
def test_hostile_gaussians_leave_finite_images_and_gradients(kind):
    values = random_splats(40, seed=9)
    _hostile(kind, values)
    inputs = leaves(values, torch.float32)
    render = rasterize_splats(*inputs, ring(2, 50, 70), antialiased=kind == "edge-on")
    (render.rgb.sum() + render.depth.sum()).backward()
    for image in (render.rgb, render.alpha, render.depth):
        assert bool(torch.isfinite(image).all())
    for name, value in zip(NAMES, inputs):
        assert bool(torch.isfinite(value.grad).all()), name


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17])
def test_few_or_no_gaussians(count):
    inputs = leaves(random_splats(count, seed=1, scenes=2), torch.float32)
    render = rasterize_splats(*inputs, ring(3, 17, 65))
    assert render.rgb.shape == (2, 3, 65, 17, 3)
    assert (float(render.alpha.detach().max()) > 0) == (count > 0)
    render.rgb.sum().backward()
    assert inputs[0].grad.shape == (2, count, 3)


def test_errors_name_what_does_not_fit():
    values, camera = random_splats(20, seed=1), ring(2, 8, 8)
    with pytest.raises(StudioError, match="Gaussians do not fit together"):
        rasterize_splats(values[0], values[1][..., :3], *values[2:], camera)
    with pytest.raises(StudioError, match="float32"):
        rasterize_splats(*(value.double() for value in values), camera)
    with pytest.raises(StudioError, match="paired scenes"):
        rasterize_splats(*values, camera, paired=True)
    with pytest.raises(StudioError, match="degree 3 with 4 coefficients"):
        rasterize_splats(*random_splats(20, seed=1, sh_degree=1), camera, sh_degree=3)


def test_processors_without_avx512_or_fma(tmp_path):
    """The same picture from code compiled for an old processor."""
    if os.uname().machine != "x86_64":
        pytest.skip("names of x86-64 processors")
    program = """
import sys, numpy
from studio.kernels.splat import rasterize_splats
from tests.studio.kernels.scenes import random_splats, ring
numpy.save(sys.argv[1], rasterize_splats(*random_splats(90, seed=3), ring(1, 40, 70)).rgb.numpy())
"""
    env = dict(os.environ, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="", STUDIO_CACHE=str(tmp_path / "with spaces"))
    env["STUDIO_COMPILE_HELPER"] = "1"  # only what the picture needs
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[3]), env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "rgb.npy")], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compiling CPU kernels") == 1
    expected = rasterize_splats(*random_splats(90, seed=3), ring(1, 40, 70)).rgb
    assert torch.allclose(torch.from_numpy(np.load(tmp_path / "rgb.npy")), expected, atol=1e-4)
