"""Captures written for other programs and read again: cameras, images, mattes, codes and sound come back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from capture.readers import readers, recognise
from capture.writers import export_capture, writers
from studio.cameras import Camera
from studio.captures import Split, capture_body, open_capture, write_cameras
from studio.codes import ARKIT52, FLAME100, Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, write_folder
from studio.media.audio import Audio, write_wav
from studio.media.images import write_image
from tests.contracts.reader_examples import HEIGHT, WIDTH, flame, intrinsics, matte, picture, rig

IDS = ("222200042", "222200037", "222200045")


def make_capture(folder, frames, *, matted=True):
    """A small capture of three cameras with tracks "flame" and "fitted" and, where it moves, sound."""
    noise = np.random.default_rng(0)
    viewmats = torch.from_numpy(rig()).float()
    Ks = torch.from_numpy(intrinsics() + noise.uniform(0, 0.1, (3, 3, 3)) * (intrinsics() > 1)).float()
    splits = {"train": Split(tuple(range(frames)), (0, 2)), "novel_view": Split(tuple(range(frames)), (1,))}
    times = tuple(f"{time:05d}" for time in range(frames))
    fps = 25.0 if frames > 1 else 0.0
    manifest = Manifest(kind="capture", licence="CC0", consent="signed", body=capture_body(times, fps, splits))
    with write_folder(folder, manifest) as temporary:
        write_cameras(temporary / "cameras.json", Camera(viewmats, Ks, WIDTH, HEIGHT, IDS))
        for view, name in enumerate(IDS):
            write_image(temporary / "background" / f"{name}.png", picture(9, view))
            for time, stamp in enumerate(times):
                write_image(temporary / "images" / name / f"{stamp}.png", picture(time, view))
                if matted:
                    write_image(temporary / "alpha" / name / f"{stamp}.png", matte(time, view))
        if frames > 1:
            write_wav(
                temporary / "audio.wav", Audio(noise.normal(0, 0.1, (1600 * frames, 1)).astype(np.float32), 16000)
            )
        _tracks(temporary, frames)
    return open_capture(folder)


def _tracks(folder, frames):
    parameters, valid = flame(0, frames), torch.ones(frames, dtype=torch.bool)
    codes = Codes.neutral(FLAME100, (frames,))
    codes = replace(
        codes,
        expression=torch.from_numpy(parameters["expr"]),
        jaw_pose=torch.from_numpy(parameters["jaw_pose"]),
        neck_pose=torch.from_numpy(parameters["neck_pose"]),
        eye_pose=torch.from_numpy(parameters["eyes_pose"]).reshape(frames, 2, 3),
    )
    codes.head_to_world[:, :3, 3] = torch.from_numpy(parameters["translation"])
    CodeTrack(codes, 25.0, valid, extras={"flame/shape": parameters["shape"][None]}).save(folder / "tracks" / "flame")
    arkit = Codes.neutral(ARKIT52, (frames,)).with_channels(jawOpen=torch.linspace(0, 1, frames))
    CodeTrack(arkit, 25.0, valid, extras={"identity": np.ones(4, np.float32)}).save(folder / "tracks" / "fitted")


def again(source, folder):
    name = recognise(source)
    return name, open_capture(readers()[name].read(source, folder, readers()[name].settings()))


@pytest.mark.parametrize(("form", "frames"), [("vhap", 3), ("nersemble", 3), ("nersemble", 1), ("nerfstudio", 1)])
@pytest.mark.parametrize("matted", [True, False])
def test_written_and_read_again(form, frames, matted, tmp_path):
    capture = make_capture(tmp_path / "talk", frames, matted=matted)
    source = export_capture(capture, form, tmp_path / "theirs")
    name, back = again(source, tmp_path / "back")
    assert name == form
    assert back.cameras.ids == capture.cameras.ids
    assert (back.cameras.viewmats - capture.cameras.viewmats).abs().max() <= 1e-6
    assert torch.allclose(back.cameras.Ks, capture.cameras.Ks, rtol=1e-6)
    assert len(back) == len(capture)
    for time in range(frames):
        for view in range(3):
            ours, theirs = capture.frame(time, view), back.frame(time, view)
            assert np.array_equal(ours.image, theirs.image)
            assert (theirs.alpha is None) == (not matted)
            assert not matted or np.array_equal(ours.alpha, theirs.alpha)
    for track in ("fitted", "flame"):
        ours, theirs = capture.track(track), back.track(track)
        assert ours.codes.space.name == theirs.codes.space.name
        for field, value in ours.codes.tensors().items():
            assert (value - theirs.codes.tensors()[field]).abs().max() <= 1e-6, (track, field)
    assert (back.audio is None) == (frames == 1)


def test_flames_own_files_bring_the_codes_back_without_the_studios_track(tmp_path):
    capture = make_capture(tmp_path / "talk", 3)
    source = export_capture(capture, "vhap", tmp_path / "theirs")
    (source / "tracks").rename(tmp_path / "elsewhere")
    _, back = again(source, tmp_path / "back")
    for field, value in capture.track("flame").codes.tensors().items():
        assert (value - back.track("flame").codes.tensors()[field]).abs().max() <= 1e-6, field
    assert back.track("flame").extras["flame/shape"].shape == (1, 300)
    assert back.splits == capture.splits
    with np.load(source / "flame_param" / "00001.npz") as stored:
        shapes = {name: stored[name].shape for name in stored.files}
    assert shapes == {
        **{"translation": (1, 3), "rotation": (1, 3), "neck_pose": (1, 3), "jaw_pose": (1, 3), "eyes_pose": (1, 6)},
        **{"expr": (1, 100), "shape": (300,)},
    }
    assert (source / "canonical_flame_param.npz").is_file(), "what makes GaussianAvatars choose its FLAME loader"


def test_a_capture_that_moves_becomes_a_folder_for_each_moment_in_nerfstudio(tmp_path):
    capture = make_capture(tmp_path / "talk", 2)
    export_capture(capture, "nerfstudio", tmp_path / "theirs")
    _, back = again(tmp_path / "theirs" / "00001", tmp_path / "back")
    assert np.array_equal(back.image(0, 2), capture.image(1, 2))


def test_provenance_goes_with_it(tmp_path):
    export_capture(make_capture(tmp_path / "talk", 1), "nerfstudio", tmp_path / "theirs")
    kept = json.loads((tmp_path / "theirs" / "studio_capture.json").read_text())
    assert (kept["licence"], kept["consent"]) == ("CC0", "signed")


def test_bad_requests_leave_nothing(tmp_path):
    capture = make_capture(tmp_path / "talk", 1)
    with pytest.raises(StudioError, match=r"no such format of captures; got fbx; expected nerfstudio"):
        export_capture(capture, "fbx", tmp_path / "theirs")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "precious").write_text("x")
    for form in writers():
        with pytest.raises(StudioError, match="exists already"):
            export_capture(capture, form, tmp_path / "taken")
    (capture.folder / "images" / IDS[2] / "00000.png").write_bytes(b"damaged")
    for form in writers():
        with pytest.raises(StudioError, match="cannot read the image"):
            export_capture(capture, form, tmp_path / "theirs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken", "talk"]
