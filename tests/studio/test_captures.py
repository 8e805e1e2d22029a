"""Captures: round trip through a folder, lazy reading, errors."""

import dataclasses
import json
import os
from time import process_time

import numpy as np
import pytest
import torch

from studio.cameras import Camera, intrinsics, look_at
from studio.captures import Split, capture_body, open_capture, read_cameras, write_cameras
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, write_folder, write_json
from studio.media.images import read_image, to_uint8, write_image


@pytest.fixture
def rig() -> Camera:
    """Two cameras of 12 x 8 pixels."""
    eyes = torch.tensor([[0.0, 0.0, 1.0], [0.3, 0.1, 1.0]])
    return Camera(look_at(eyes, torch.zeros(3)), intrinsics(20.0, 12, 8).expand(2, 3, 3), 12, 8, ("left", "right"))


@pytest.fixture
def folder(tmp_path, rig):
    """A capture of two cameras and three timesteps with mattes for the left camera only."""
    path = tmp_path / "anna" / "talk"
    splits = {"train": Split((0, 1), (0, 1)), "test": Split((2,), (1,))}
    manifest = Manifest(kind="capture", body=capture_body(("00", "01", "02"), 25.0, splits))
    with write_folder(path, manifest) as temporary:
        write_cameras(temporary / "cameras.json", rig)
        for index, name in enumerate(("00", "01", "02")):
            for camera in rig.ids:
                write_image(temporary / "images" / camera / f"{name}.png", _picture(index, camera))
            write_image(temporary / "alpha" / "left" / f"{name}.png", _picture(index, "left")[..., 0])
    return path


def _picture(index: int, camera: str) -> np.ndarray:
    return np.random.default_rng([index, len(camera)]).integers(0, 255, (8, 12, 3), dtype=np.uint8)


def test_frames_cameras_and_splits(folder, rig):
    capture = open_capture(folder)
    assert (len(capture), capture.fps, capture.audio, capture.background()) == (3, 25.0, None, None)
    assert torch.equal(capture.cameras.viewmats, rig.viewmats)
    assert torch.equal(capture.cameras.Ks, rig.Ks)
    frame = capture.frame(1, 0)
    assert np.array_equal(frame.image, _picture(1, "left"))
    assert np.array_equal(frame.alpha, _picture(1, "left")[..., 0])
    assert capture.frame(1, 1).alpha is None
    assert capture.split("test") == Split((2,), (1,))
    assert capture.split("all") == Split((0, 1, 2), (0, 1))
    with pytest.raises(StudioError, match="got val; expected all, train, test"):
        capture.split("val")


def test_tracks_are_found_and_must_fit(folder):
    capture = open_capture(folder)
    with pytest.raises(StudioError, match=r"no track fitted.*got no tracks; next: studio track capture="):
        capture.track("fitted")
    CodeTrack(Codes.neutral(batch=(3,)), 25.0, torch.ones(3, dtype=torch.bool)).save(folder / "tracks" / "fitted")
    CodeTrack(Codes.neutral(batch=(2,)), 25.0, torch.ones(2, dtype=torch.bool)).save(folder / "tracks" / "short")
    assert len(capture.track("fitted")) == 3
    with pytest.raises(StudioError, match="got 2 frames; expected 3"):
        capture.track("short")
    with pytest.raises(StudioError, match=r"got \['fitted', 'short'\]"):
        capture.track("other")


def test_missing_image_is_found_when_opened_and_an_empty_one_when_read(folder):
    path = folder / "images" / "left" / "01.png"
    path.write_bytes(b"")
    with pytest.raises(StudioError, match=r"cannot read the image .*01\.png; got empty or damaged"):
        open_capture(folder).frame(1)
    path.unlink()
    with pytest.raises(StudioError, match=r"missing file: .*01\.png"):
        open_capture(folder)


@pytest.mark.parametrize("text", ["", "{}", '{"cameras": [{"id": "a"}], "width": 1, "height": 1}', "[1]"])
def test_damaged_cameras(tmp_path, text):
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(StudioError, match="cannot read the cameras"):
        read_cameras(tmp_path / "cameras.json")


def test_damaged_body(folder):
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    del data["body"]["timestep_ids"]
    path.write_text(json.dumps(data))
    with pytest.raises(StudioError, match=r"damaged manifest.*timestep_ids"):
        open_capture(folder)


@pytest.mark.parametrize("shape", [(8, 12), (8, 12, 3)])
def test_png_is_lossless(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    write_image(tmp_path / "a b" / "c.png", image)
    assert np.array_equal(read_image(tmp_path / "a b" / "c.png", gray=len(shape) == 2), image)


def test_rounding_to_bytes_is_a_round_trip():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_uint8(levels / 255.0), levels)
    assert np.array_equal(to_uint8(np.array([-1.0, 2.0])), [0, 255])


def test_a_large_capture_opens_at_once(tmp_path):
    """16 cameras and 1,000 frames with mattes: no image is touched, and no file asked for by itself."""
    ids, times, files = [f"{view:02d}" for view in range(16)], [f"{time:05d}" for time in range(1000)], {}
    write_image(tmp_path / "one.png", np.zeros((4, 4, 3), np.uint8))
    for kind in ("images", "alpha"):
        for view in ids:
            (tmp_path / kind / view).mkdir(parents=True)
            for time in times:
                os.link(tmp_path / "one.png", tmp_path / kind / view / f"{time}.png")
                files[f"{kind}/{view}/{time}.png"] = "0" * 16
    write_cameras(tmp_path / "cameras.json", Camera(torch.eye(4).repeat(16, 1, 1), torch.eye(3).repeat(16, 1, 1), 4, 4))
    manifest = Manifest(kind="capture", files=files, body=capture_body(times, 25.0, {}))
    write_json(tmp_path / "manifest.json", dataclasses.asdict(manifest))
    began = process_time()
    assert len(open_capture(tmp_path)) == 1000
    assert process_time() - began < 1.0
    (tmp_path / "alpha" / "15" / "00999.png").unlink()
    with pytest.raises(StudioError, match="missing file"):
        open_capture(tmp_path)


def test_frames_come_in_order_from_threads(folder):
    capture = open_capture(folder)
    keys = [(2, 1), (0, 0), (1, 1)]
    assert [(frame.timestep_index, frame.camera_index) for frame in capture.frames(keys)] == keys
    (folder / "images" / "left" / "01.png").write_bytes(b"damaged")
    seen = []
    with pytest.raises(StudioError, match="empty or damaged"):
        seen.extend(frame.timestep_index for frame in capture.frames([(0, 0), (1, 0), (2, 0)]))
