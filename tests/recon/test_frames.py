"""Which images training sees, in which order, and what belongs behind them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recon.backdrop import Backdrop
from recon.frames import AHEAD, Sampler, View, Views, region_masks
from recon.losses import LossConfig, image_loss, target_over
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.captures import Capture, open_capture
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.heads.model import HeadModel
from studio.kernels.view_loss import Target


@pytest.fixture
def views(capture: Capture, head: HeadModel, track: CodeTrack) -> Views:
    return Views(capture, head.with_identity(torch.tensor([0.3])), track.codes)


def test_the_sampler_takes_everything_once_an_epoch_and_resumes() -> None:
    sampler = Sampler(7, seed=3)
    drawn = [sampler.next() for _ in range(21)]
    assert [sorted(drawn[i : i + 7]) for i in (0, 7, 14)] == [list(range(7))] * 3
    assert drawn[:7] != drawn[7:14]
    again = Sampler(7, seed=3, drawn=10)
    assert [again.next() for _ in range(11)] == drawn[10:]


def test_the_cache_is_bounded_and_transparent(capture: Capture, head: HeadModel, track: CodeTrack) -> None:
    person = head.with_identity(torch.tensor([0.3]))
    roomy = Views(capture, person, track.codes)
    tight = Views(capture, person, track.codes, max_bytes=roomy[(0, 0)].size() * 2)
    for key in ((0, 0), (1, 0), (2, 1), (0, 0), (3, 2)):
        assert torch.equal(tight[key].image, roomy[key].image)
        assert sum(view.size() for view in tight._held.values()) <= tight._max_bytes


def test_what_comes_next_is_known_without_being_drawn() -> None:
    sampler = Sampler(5, seed=1)
    assert sampler.coming(3) == []  # the order of a round is made when it begins
    first = sampler.next()
    coming = sampler.coming(9)
    assert sorted([first, *coming]) == list(range(5))
    assert [sampler.next() for _ in range(4)] == coming
    assert sampler.coming(2) == []


def test_expected_views_are_read_ahead_and_bounded(
    capture: Capture, head: HeadModel, track: CodeTrack, views: Views
) -> None:
    ahead = Views(capture, head.with_identity(torch.tensor([0.3])), track.codes)
    keys = [(t, c) for t in range(len(capture)) for c in range(len(capture.cameras))]
    ahead.expect(keys)
    ahead.expect(keys)
    assert len(ahead._coming) == min(AHEAD, len(keys))
    for key in keys[:3]:
        assert torch.equal(ahead[key].image, views[key].image)
        assert torch.equal(ahead[key].emphasis, views[key].emphasis)
    assert ahead.reads == 3
    ahead.expect(keys[:3])  # they are held
    assert not set(ahead._coming) & set(keys[:3])


def test_a_view_that_cannot_be_read_is_told_when_it_is_used(
    capture: Capture, head: HeadModel, track: CodeTrack, tmp_path: Path
) -> None:
    copy = open_capture(Path(shutil.copytree(capture.folder, tmp_path / "copy")))
    ahead = Views(copy, head.with_identity(torch.tensor([0.3])), track.codes)
    copy.file("images", 1, 0).write_bytes(b"nothing")
    ahead.expect([(1, 0)])
    with pytest.raises(StudioError):
        ahead[(1, 0)]


def test_regions_lie_where_the_landmarks_are(head: HeadModel, cameras: Camera) -> None:
    masks = region_masks(head.with_identity(torch.zeros(1)), Codes.neutral(), cameras[1])
    rows = {name: torch.from_numpy(mask).nonzero().float().mean(0) for name, mask in masks.items()}
    assert rows["eyes"][0] < cameras.height / 2 < rows["mouth"][0]
    assert rows["mouth"][1] == pytest.approx(cameras.width / 2, abs=1.0)
    assert masks["face"].sum() > masks["mouth"].sum() > 0


def test_a_matte_lets_the_background_be_exchanged(views: Views) -> None:
    """photo = α F + (1 - α) B; over B itself the photo comes back, over white the person is lit from behind."""
    view = views[(0, 0)]
    known = torch.full((3,), 102 / 255).expand(*view.image.shape[:2], 3)
    photo = view.image.float() / 255
    torch.testing.assert_close(target_over(view, known, known), photo, atol=1e-6, rtol=0)
    assert view.alpha is not None
    outside = view.alpha == 0
    torch.testing.assert_close(target_over(view, known, torch.ones(3))[outside], torch.ones(int(outside.sum()), 3))


def test_rigs_get_random_colors_and_single_cameras_a_learned_background(views: Views) -> None:
    rig = Backdrop(views, (0, 2), (0, 1, 2), "auto", seed=0)
    assert rig.random
    first, second = (rig([views[(0, 0)]], [number])[0] for number in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, rig([views[(0, 0)]], [0])[0])
    single = Backdrop(views, (1,), (0, 1, 2), "auto", seed=0)
    behind, photo = single([views[(0, 1)]], [0])
    assert torch.equal(photo, views[(0, 1)].image)
    assert torch.equal(single.truth(views[(0, 1)])[1], photo.float() / 255)
    assert torch.equal(rig.truth(views[(0, 0)])[0], torch.ones(3))
    torch.testing.assert_close(behind, torch.full_like(behind, 102 / 255))
    behind, photos = rig([views[(0, 0)], views[(1, 0)]], [0, 1])
    assert torch.equal(behind, torch.stack((first, second))[:, None, None])
    assert torch.equal(photos[1], rig([views[(1, 0)]], [1])[1])


def test_random_colors_need_mattes(views: Views) -> None:
    bare = replace_alpha(views)
    with pytest.raises(StudioError, match="without mattes"):
        Backdrop(bare, (0,), (0, 1), "random", seed=0)
    start = Backdrop(bare, (0,), (0, 1), "auto", seed=0)
    assert not start.random


def replace_alpha(views: Views) -> Views:
    for key in ((0, 0), (1, 0)):
        views._held[key] = replace(views[key], alpha=None)
    return views


def test_the_loss_of_a_perfect_render_is_zero_and_emphasis_counts(views: Views) -> None:
    view = views[(0, 0)]
    assert view.alpha is not None
    photo, alpha = view.image.float() / 255, view.alpha.float() / 255

    def loss(image: torch.Tensor, view: View, matte: float = 0.0) -> float:
        output = RenderOutput(image[None], torch.ones(1, *image.shape[:2]), lambda: torch.ones(1, *image.shape[:2]))
        target = Target(photo, view.emphasis, view.alpha)
        return float(image_loss(output, torch.zeros(3), target, LossConfig(matte=matte)))

    assert loss(photo, view) == pytest.approx(0.0, abs=1e-5)
    assert loss(photo, view, matte=1.0) == pytest.approx(float((alpha < 0.02).float().mean()), abs=1e-3)
    at_mouth = photo + 0.2 * view.emphasis[..., None]
    assert loss(at_mouth, view) > 2 * loss(at_mouth, replace(view, emphasis=torch.zeros_like(view.emphasis)))
