"""Photometric tracking: gradients are right, and codes come back from the pixels that they made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.binding import Rig, sample_surface
from recon.code_fit import CodeFitConfig, fit_codes, fit_track
from recon.code_fit_anchors import MovingAnchors
from recon.code_fit_solve import clip_step, secant_update
from recon.code_fit_term import POSE, Seen, advanced, difference, photometric_information, photometric_term, step_size
from recon.comparison import PHOTOMETRIC
from recon.evaluate import evaluate
from recon.field import FieldConfig
from recon.train import train
from recon.train_config import TrainConfig
from studio.captures import Capture, Split, capture_body, open_capture, write_cameras
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, write_folder
from studio.heads.model import HeadModel
from studio.media.images import to_uint8, write_image

JAW, BROW = ARKIT52.index("jawOpen"), ARKIT52.index("browInnerUp")


@pytest.fixture(scope="module")
def avatar(
    tmp_path_factory: pytest.TempPathFactory, capture: Capture, track: CodeTrack, head: HeadModel
) -> SplatAvatar:
    config = TrainConfig(gaussians=600, iterations=150, validation=0.0, model=FieldConfig(bases=3, hidden=8))
    loaded = load_avatar(train(capture, track, head, config, tmp_path_factory.mktemp("runs") / "run"))
    assert isinstance(loaded, SplatAvatar)
    return loaded


@pytest.fixture
def mirror(tmp_path: Path, avatar: SplatAvatar, capture: Capture, track: CodeTrack) -> Capture:
    """A capture of the avatar itself: one camera of the ball's, larger images, the track's codes."""
    camera = capture.cameras[1].resized(96, 96)
    ids = [f"{index:03d}" for index in range(len(track))]
    body = capture_body(ids, 25.0, {"train": Split(tuple(range(6)), (0,)), "test": Split((6, 7), (0,))})
    with write_folder(tmp_path / "mirror", Manifest(kind="capture", body=body)) as out:
        write_cameras(out / "cameras.json", camera)
        for index, name in enumerate(ids):
            image = avatar.render(camera, track.codes[index]).over(torch.full((3,), 0.4))[0]
            write_image(out / "images" / camera.ids[0] / f"{name}.png", to_uint8(image.numpy()))
        write_image(out / "background" / f"{camera.ids[0]}.png", np.full((96, 96, 3), 102, np.uint8))
    return open_capture(tmp_path / "mirror")


def disturbed(track: CodeTrack) -> CodeTrack:
    generator = torch.Generator().manual_seed(3)
    steps = torch.zeros(len(track), step_size(track.codes))
    steps[:, :3] = 0.02 * torch.randn(len(track), 3, generator=generator)
    steps[:, 3:5] = 0.002 * torch.randn(len(track), 2, generator=generator)
    steps[:, POSE + JAW] = 0.15 * torch.randn(len(track), generator=generator)
    moved = advanced(track.codes, steps)
    return replace(track, codes=replace(moved, expression=moved.expression.clamp(0, 1)))


def test_steps_and_differences_are_inverse(track: CodeTrack) -> None:
    steps = 0.1 * torch.randn(len(track), step_size(track.codes), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(difference(track.codes, advanced(track.codes, steps)), steps, atol=1e-5, rtol=0)


def test_the_gradient_is_that_of_the_image(avatar: SplatAvatar, capture: Capture, track: CodeTrack) -> None:
    cameras = capture.cameras[[0, 2]]
    codes, behind = track.codes[1], torch.full((2, 48, 48, 3), 0.4)
    other = advanced(codes, 0.02 * torch.randn(step_size(codes), generator=torch.Generator().manual_seed(1)))
    photos = avatar.render(cameras, other).over(behind)
    half = cameras.cropped(0, 0, 48, 24)
    seen = [
        Seen(photos, behind, torch.ones(2, 48, 48), cameras),
        Seen(photos[:, :24], behind[:, :24], torch.ones(2, 24, 48), half),
    ]
    _, gradient = photometric_term(avatar, avatar.rig.anchors, seen, codes)
    for unknown, width in ((1, 3e-3), (3, 3e-4), (4, 3e-4), (POSE + JAW, 3e-3), (POSE + BROW, 3e-3)):
        step = torch.zeros_like(gradient)
        step[unknown] = width
        ahead, back = (
            photometric_term(avatar, avatar.rig.anchors, seen, advanced(codes, sign * step))[0] for sign in (1, -1)
        )
        assert gradient[unknown] == pytest.approx((ahead - back) / (2 * width), rel=0.3, abs=1e-6)
    widths = torch.full_like(gradient, 1e-2)
    information = photometric_information(avatar, seen, codes, widths)
    assert torch.allclose(information, information.T)
    assert float(torch.linalg.eigvalsh(information.double())[0]) > -1e-6 * float(information.diagonal().max())


def test_the_quick_gradient_is_nearly_the_exact_one(head: HeadModel) -> None:
    generator = torch.Generator().manual_seed(0)
    blended = (1 + head.template @ torch.randn(3, 5, generator=generator) / 0.2).clamp(min=0.05)
    person = replace(head.with_identity(torch.zeros(1)), skin_weights=blended / blended.sum(1, keepdim=True))
    binding = sample_surface(person, torch.ones(len(person.faces)), 300, generator)
    rig = Rig(person, binding)
    quick = MovingAnchors(person, binding, rig)
    vector = 0.2 * torch.rand(len(ARKIT52) + 15, generator=generator)
    force, frame = torch.randn(300, 3, generator=generator), 0.01 * torch.randn(300, 4, generator=generator)
    gradients = []
    for pose in (rig.anchors, quick):
        step = torch.cat((torch.zeros(POSE), vector)).requires_grad_()
        anchors = pose(advanced(Codes.neutral(), step))
        frames = anchors.quats * (anchors.quats[:, :1].sign() * rig.pose(Codes.neutral()).quats[:, :1].sign()).detach()
        value = (anchors.origins * force).sum() + (frames * frame).sum()
        gradients.append(torch.autograd.grad(value, step)[0][POSE:])
    exact, found = gradients
    assert torch.cosine_similarity(exact, found, dim=0) > 0.99
    joints = slice(len(ARKIT52), None)
    assert (exact - found)[joints].norm() < 0.1 * exact[joints].norm()


def test_pose_and_jaw_come_back_from_the_pixels(avatar: SplatAvatar, mirror: Capture, track: CodeTrack) -> None:
    start = disturbed(track)
    fitted, before, after = fit_codes(avatar, mirror, start, CodeFitConfig(steps=6, smooth=0.1))
    assert after < 0.1 * before
    for part, least in ((slice(0, 3), 3), (slice(3, 5), 3), (slice(POSE + JAW, POSE + JAW + 1), 3)):
        wrong, left = (difference(track.codes, codes)[:, part].square().mean() for codes in (start.codes, fitted))
        assert left * least**2 < wrong
    assert float(fitted.expression.min()) >= 0
    assert float(fitted.expression.max()) <= 1


def test_the_track_says_how_it_was_made(avatar: SplatAvatar, mirror: Capture, track: CodeTrack, tmp_path: Path) -> None:
    start = replace(disturbed(track), valid=torch.arange(len(track)) != 2)
    folder = fit_track(avatar, mirror, start, CodeFitConfig(name="through", steps=2))
    made = mirror.track(folder.name)
    assert set(made.provenance.values()) == {PHOTOMETRIC}
    assert torch.equal(made.codes.expression[2], start.codes.expression[2])
    assert not torch.equal(made.codes.expression[3], start.codes.expression[3])
    assert np.array_equal(made.extras["identity"], start.extras["identity"])
    assert "photometric" in evaluate(avatar, mirror, made, "test", tmp_path / "fitted")["protocol"]
    assert "nothing fitted" in evaluate(avatar, mirror, start, "test", tmp_path / "tracked")["protocol"]
    with pytest.raises(StudioError, match="exists already"):
        fit_track(avatar, mirror, start, CodeFitConfig(name="through"))
    with pytest.raises(StudioError, match="no frame with a face"):
        fit_codes(avatar, mirror, replace(start, valid=torch.zeros(len(track), dtype=torch.bool)), CodeFitConfig())


def test_a_step_minimises_the_model_of_the_clip() -> None:
    generator = torch.Generator().manual_seed(0)
    T, E, U = 4, 2, POSE + 2
    root = torch.randn(T, U, U, generator=generator, dtype=torch.float64)
    information = root @ root.transpose(1, 2) + 0.1 * torch.eye(U)
    gradient = torch.randn(T, U, generator=generator, dtype=torch.float64)
    jumps, link = torch.randn(T, U, generator=generator, dtype=torch.float64), torch.rand(T, U, generator=generator)
    link[2] = 0
    steps = torch.zeros(T, U, dtype=torch.float64, requires_grad=True)
    change = jumps + steps - torch.cat((torch.zeros(1, U), steps[:-1]))
    model = (gradient * steps).sum() + 0.5 * torch.einsum("tu,tuv,tv->", steps, information, steps)
    model = model + 0.5 * (link * change**2).sum()
    (slope,) = torch.autograd.grad(model, steps, create_graph=True)
    hessian = torch.stack(
        [torch.autograd.grad(s, steps, retain_graph=True)[0].flatten() for s in slope.flatten()]
    )  # a quadratic: one Newton step
    expected = -torch.linalg.solve(hessian, slope.detach().flatten()).view(T, U)
    free = clip_step(information, gradient, jumps, link, torch.full((T, E), 0.5) + 0 * expected[:, POSE:])
    inside = (0.5 + expected[:, POSE:]).clamp(0, 1) == 0.5 + expected[:, POSE:]
    if bool(inside.all()):
        torch.testing.assert_close(free, expected.float(), atol=1e-4, rtol=1e-4)
    held = clip_step(information, gradient, jumps, link, torch.zeros(T, E))
    assert float(held[:, POSE:].min()) > -1e-5
    assert float(held[:, POSE:].max()) < 1 + 1e-5


def test_a_secant_explains_the_change_and_stays_definite() -> None:
    matrix = torch.eye(3).expand(2, 3, 3)
    step, change = torch.tensor([[1.0, 0, 0], [1, 0, 0]]), torch.tensor([[2.0, 1, 0], [-5, 0, 0]])
    updated = secant_update(matrix, step, change)
    torch.testing.assert_close(updated[0] @ step[0], change[0])
    assert float(torch.linalg.eigvalsh(updated).min()) > 0.1
    assert torch.equal(secant_update(matrix, torch.zeros(2, 3), torch.zeros(2, 3)), matrix)


def test_codes_without_a_batch_keep_their_shape() -> None:
    codes = Codes.neutral()
    assert advanced(codes, torch.zeros(step_size(codes))).batch == ()
