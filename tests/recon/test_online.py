"""Learning while footage streams: the pool's laws, and a synthetic head from stream to avatar."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from capture.live import Picture
from recon.avatars import load_avatar
from recon.corrections import BasisWeights
from recon.field import FieldConfig
from recon.latest import LatestAvatar
from recon.online import Look, OnlineConfig, learn_online
from recon.replay import ReplayPool
from recon.train_config import TrainConfig
from studio.assets import find_asset
from studio.avatar import Avatar
from studio.captures import open_capture
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.media.images import to_uint8

FPS, FRAMES = 8.0, 26
CONFIG = TrainConfig(gaussians=600, check_every=2, model=FieldConfig(bases=3, hidden=8))
needs_landmarker = pytest.mark.skipif(find_asset("face_landmarker") is None, reason="no MediaPipe face landmarker here")


def test_the_pool_is_bounded_and_holds_the_newest() -> None:
    pool = ReplayPool(40, seed=0)
    for frame in range(1000):
        pool.offer(frame)
    pool.rank(np.zeros(1000))
    assert len(pool.frames()) <= 40
    assert set(range(990, 1000)) <= pool.frames()


def test_the_reservoir_is_a_fair_sample_of_all_frames() -> None:
    """Over many seeds every tenth of the stream is held equally often (chi-squared, 9 degrees, p > 0.001)."""
    counts = np.zeros(10)
    for seed in range(300):
        pool = ReplayPool(40, seed)
        for frame in range(500):
            pool.offer(frame)
        counts += np.bincount(np.array(pool._sample) // 50, minlength=10)
    expected = counts.sum() / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9


def test_draws_keep_their_shares_and_rare_frames_are_not_forgotten() -> None:
    pool = ReplayPool(40, seed=0)
    unusual = np.zeros(1000)
    unusual[[3, 5, 7]] = 9.0
    for frame in range(1000):
        pool.offer(frame)
    pool.rank(unusual)
    assert {3, 5, 7} <= pool.frames()
    drawn = Counter(pool.next() for _ in range(4000))
    assert 0.35 < sum(drawn[frame] for frame in range(990, 1000)) / 4000 < 0.5
    assert all(drawn[frame] > 30 for frame in (3, 5, 7))
    assert pool.drawn == 4000


def test_networks_carried_over_to_other_components_answer_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    old = BasisWeights((4, 3), 8, 5, generator)
    before = torch.randn(200, 7, generator=generator)
    mix = torch.block_diag(torch.randn(4, 6, generator=generator), torch.randn(3, 4, generator=generator))
    after = before @ mix + 0.7
    new = old.carried_over(before, after, (6, 4))
    for row in range(0, 200, 20):
        torch.testing.assert_close(new(after[row]), old(before[row]), atol=5e-3, rtol=0)


@pytest.mark.parametrize("wrong", [{"fps": 0.0}, {"pool": 3}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(StudioError):
        OnlineConfig(**wrong)  # type: ignore[arg-type]


def _stream(frames: int, missing: tuple[int, ...] = ()) -> Iterator[Picture]:
    """A synthetic subject that performs, as pictures of 256 pixels; some numbers never come."""
    from capture.synthetic.make import make_subject
    from capture.synthetic.rig import make_rig
    from capture.synthetic.script import perform
    from studio.kernels.mesh_render import MeshSurface, render_mesh

    head, identity = make_subject("ict", 1)
    played, person, camera = perform("mixed", frames, FPS, 0), head.with_identity(identity), make_rig(1, 256)
    surface = MeshSurface.of(head)
    for number in range(frames):
        if number not in missing:
            vertices = person.vertices(torch.zeros(0), played.codes[number])
            shown = render_mesh(vertices, surface, camera).over(torch.full((3,), 0.55))[0]
            yield number, to_uint8(shown.numpy())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Look]]:
    if find_asset("face_landmarker") is None or find_asset("ict_facekit") is None:
        pytest.skip("no MediaPipe face landmarker or no ICT-FaceKit here")
    from studio.heads import load_head

    out, looks = tmp_path_factory.mktemp("live") / "anna", list[Look]()
    learn_online(
        _stream(FRAMES, (17, 18)), load_head("ict"), CONFIG, out, OnlineConfig(FPS, 96, extra=2.0), looks.append
    )
    return out, looks


def test_it_ends_as_a_capture_with_a_track_and_a_run(made: tuple[Path, list[Look]]) -> None:
    out, _ = made
    capture = open_capture(out / "capture")
    read_manifest(out / "capture", kind="capture", verify=True)
    track = capture.track("live")
    assert len(capture) == len(track) == FRAMES
    assert track.valid.tolist() == [number not in (17, 18) for number in range(FRAMES)]
    assert capture.frame(18).image.shape == (96, 96, 3)
    assert np.array_equal(capture.frame(17).image, capture.frame(16).image)
    assert read_manifest(out / "run", kind="run").parents["track"] == track.hash
    assert (out / "run" / "metrics.jsonl").read_text().count("\n") >= 1


def test_the_avatar_shows_the_person_and_was_there_before_the_end(made: tuple[Path, list[Look]]) -> None:
    out, looks = made
    avatar, capture = load_avatar(out / "run" / "avatar"), open_capture(out / "capture")
    assert looks[0].frames < FRAMES
    assert looks[-1].frames == FRAMES
    assert looks[-1].loss < looks[0].loss
    codes, truth = capture.track("live").codes[-1], capture.frame(FRAMES - 1)
    assert avatar.background is not None
    image = avatar.render(avatar.camera, codes).over(avatar.background)[0]
    inside = torch.from_numpy(truth.alpha) > 127
    error = (image - torch.from_numpy(truth.image).float() / 255)[inside].square().mean()
    assert -10 * float(torch.log10(error)) > 20


def test_a_snapshot_does_not_change_with_further_steps(made: tuple[Path, list[Look]]) -> None:
    session = made[1][-1].session
    snapshot = session.snapshot()
    before = snapshot.render(snapshot.camera, snapshot.codes).rgb.clone()
    session.train_once()
    assert torch.equal(snapshot.render(snapshot.camera, snapshot.codes).rgb, before)


@needs_landmarker
def test_a_stream_without_a_face_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    from studio.heads import load_head

    blank = ((number, np.full((96, 96, 3), 99, np.uint8)) for number in range(6))
    with pytest.raises(StudioError, match="before there was an avatar"):
        learn_online(blank, load_head("auto"), CONFIG, tmp_path / "nobody", OnlineConfig(FPS, 96))
    assert not (tmp_path / "nobody" / "capture").exists()


def test_the_latest_avatar_stands_for_whichever_is_newest(made: tuple[Path, list[Look]]) -> None:
    session = made[1][-1].session
    first = session.snapshot()
    latest = LatestAvatar(first)
    assert isinstance(latest, Avatar)
    shown = latest.render(latest.camera, latest.codes).rgb
    for _ in range(12):
        session.train_once()
    latest.now = session.snapshot()
    assert not torch.equal(latest.render(latest.camera, latest.codes).rgb, shown)


def test_ctrl_c_keeps_what_there_is(made: tuple[Path, list[Look]], tmp_path: Path) -> None:
    from studio.heads import load_head

    def endless() -> Iterator[Picture]:
        yield from _stream(20)
        number, picture = 19, next(iter(_stream(1)))[1]
        while True:
            number += 1
            yield number, picture

    def stop(look: Look) -> None:
        if look.session.steps == 3:
            os.kill(os.getpid(), signal.SIGINT)

    avatar = learn_online(endless(), load_head("ict"), CONFIG, tmp_path / "kept", OnlineConfig(FPS, 96), stop)
    assert load_avatar(avatar).render is not None
    assert len(open_capture(tmp_path / "kept" / "capture")) >= 12
