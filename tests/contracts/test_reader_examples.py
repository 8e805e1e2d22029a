"""Every format, read from files as its own programs write them: cameras, images, mattes, FLAME, time, errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from capture.formats.terms import Terms
from capture.readers import readers, recognise
from studio.captures import open_capture
from studio.errors import StudioError
from tests.contracts.reader_examples import EXAMPLES, FRAMES

NEEDS = {"renderme360": "h5py"}


@pytest.fixture(scope="module", params=list(EXAMPLES))
def read(request, tmp_path_factory):
    """Name of the reader, the example, the capture that was read and the state of the source before."""
    name, write = EXAMPLES[request.param]
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param], reason=f"{request.param} needs {NEEDS[request.param]}")
    root = tmp_path_factory.mktemp(request.param)
    example = write(root / "source")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    reader = readers()[name]
    folder = reader.read(example.source, root / "out", reader.settings(), Terms("CC-BY-4.0", "signed"))
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*") if (root / "out") not in [path, *path.parents]}
    assert after == before, "the source is as it was"
    return name, example, open_capture(folder)


def test_it_is_recognised_and_by_its_own_reader_only(read):
    name, example, _ = read
    assert recognise(example.source) == name
    assert [other for other, reader in readers().items() if reader.accepts(example.source)] in ([name], [name, "video"])


def test_cameras(read):
    _, example, capture = read
    assert capture.cameras.ids == example.ids
    assert np.abs(capture.cameras.Ks.numpy() - example.Ks).max() <= 1e-4  # float32 of some hundred pixels
    if example.viewmats is not None:
        assert np.abs(capture.cameras.viewmats.numpy() - example.viewmats).max() <= 1e-6


def test_images_and_mattes(read):
    _, example, capture = read
    assert len(capture) == len(example.images)
    for time, views in enumerate(example.images):
        for view, expected in enumerate(views):
            frame = capture.frame(time, view)
            assert np.abs(frame.image.astype(int) - expected).max() <= example.tolerance
            if example.mattes is None:
                assert frame.alpha is None
            else:
                off = np.abs(frame.alpha.astype(int) - example.mattes[time][view])
                assert off.mean() <= example.tolerance


def test_time_and_terms(read):
    _, example, capture = read
    assert capture.fps == pytest.approx(example.fps)
    assert (capture.manifest.licence, capture.manifest.consent) == ("CC-BY-4.0", "signed")
    covered = {time for split in capture.splits.values() for time in split.timesteps}
    assert covered == set(range(len(capture)))
    assert capture.manifest.parents, "the description's hash is kept"


def test_flame(read):
    _, example, capture = read
    if example.head is None:
        assert not (capture.folder / "tracks").exists()
        return
    codes = capture.track("flame").codes
    count = example.expression.shape[1]
    assert np.abs(codes.expression[:, :count].numpy() - example.expression).max() <= 1e-6
    assert not codes.expression[:, count:].any()
    assert np.abs(codes.jaw_pose.numpy() - example.jaw).max() <= 1e-6
    seen = (capture.cameras.viewmats[0] @ codes.head_to_world).numpy()
    assert np.abs(seen - example.head).max() <= 2e-6, "the head lies where the source's camera saw it"


def test_settings_choose_frames_cameras_and_height(read, tmp_path):
    name, example, _ = read
    reader = readers()[name]
    settings = dataclasses.replace(reader.settings(), frames=2, cameras=example.ids[0], height=32)
    capture = open_capture(reader.read(example.source, tmp_path / "out", settings))
    assert capture.cameras.ids == example.ids[:1]
    assert len(capture) == min(2, len(example.images))
    assert capture.image(0).shape == (32, 22, 3)
    assert np.allclose(capture.cameras.Ks[0, :2].numpy(), example.Ks[0, :2] / 2, atol=1e-4)
    for track in ("flame",) if example.head is not None else ():
        assert len(capture.track(track)) == 2


@pytest.mark.parametrize("wrong", [{"cameras": "nobody"}, {"frames": 0}, {"height": 3}])
def test_wrong_settings_are_answered(read, wrong, tmp_path):
    name, example, _ = read
    reader = readers()[name]
    with pytest.raises(StudioError):
        reader.read(example.source, tmp_path / "out", dataclasses.replace(reader.settings(), **wrong))
    assert not any(tmp_path.iterdir())


def test_a_track_of_the_studio_travels_beside(read, tmp_path):
    from studio.codes import ARKIT52, Codes, CodeTrack

    name, example, _ = read
    if not example.source.is_dir():
        pytest.skip("no folder in which a track may lie")
    home = example.source / "tracks" / "fitted"
    frames = len(example.images)
    CodeTrack(Codes.neutral(ARKIT52, (frames,)), 25.0, torch.ones(frames, dtype=torch.bool)).save(home)
    reader = readers()[name]
    capture = open_capture(reader.read(example.source, tmp_path / "out", reader.settings()))
    assert len(capture.track("fitted")) == frames


def test_frames_are_decoded_ahead_in_order(read):
    _, example, capture = read
    keys = [(time, view) for view in range(len(example.ids)) for time in reversed(range(len(example.images)))]
    frames = list(capture.frames(keys))
    assert [(frame.timestep_index, frame.camera_index) for frame in frames] == keys
    assert np.array_equal(frames[-1].image, capture.image(*keys[-1]))


def test_every_reader_of_footage_has_an_example():
    missing = {name for name, reader in readers().items() if reader.needs_source} - {
        name for name, _ in EXAMPLES.values()
    }
    assert missing == {"video"}  # see tests/capture/test_video.py
    assert FRAMES > 2
