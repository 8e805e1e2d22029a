"""Mattes by plate, masks, model and network, into a new capture; wrong sources refused and nothing left behind."""

import cv2
import numpy as np
import pytest

from capture.matte import plate_alpha
from capture.rematte import MatteConfig, rematte_capture
from studio.assets import find_asset
from studio.captures import open_capture
from studio.errors import StudioError
from studio.media.images import write_image


def overlap(first, second):
    """Intersection over union of two mattes, soft."""
    a, b = first / 255.0, second / 255.0
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def test_by_plate_with_drifted_light_and_noise():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :200]
    plate = np.stack([90 + 60 * x / 200, 120 + 30 * y / 160, 100 + 0 * x], -1)
    plate += 14 * rng.normal(size=(20, 25, 1)).repeat(8, 0).repeat(8, 1)
    truth = cv2.GaussianBlur((((x - 100) / 45) ** 2 + ((y - 95) / 60) ** 2 < 1).astype(np.float32), (0, 0), 1.0)
    person = np.array((200.0, 60.0, 40.0)) + 40 * np.sin(x / 9.0)[..., None]
    image = 1.08 * plate * (1 - truth[..., None]) + person * truth[..., None] + 2.0 * rng.normal(size=plate.shape)
    alpha = plate_alpha(np.clip(image, 0, 255).astype(np.uint8), np.clip(plate, 0, 255).astype(np.uint8))
    assert overlap(alpha, 255 * truth) > 0.96
    assert 0.01 < np.mean((alpha > 10) & (alpha < 245)) < 0.12  # soft along the edge only


def test_a_picture_of_the_empty_scene_has_no_person():
    rng = np.random.default_rng(1)
    plate = rng.integers(60, 190, (80, 90, 3)).astype(np.float32)
    image = np.clip(plate + 2 * rng.normal(size=plate.shape), 0, 255).astype(np.uint8)
    assert plate_alpha(image, plate.astype(np.uint8)).max() == 0


def test_a_rig_by_its_plates(little_rig, tmp_path):
    before = {path: path.read_bytes() for path in little_rig.folder.rglob("*") if path.is_file()}
    made = open_capture(rematte_capture(little_rig, tmp_path / "out", MatteConfig(by="plate")))
    assert {path: path.read_bytes() for path in before} == before
    assert made.manifest.body["matte"]["by"] == "plate"
    for camera in range(5):
        assert overlap(made.matte(7, camera), little_rig.matte(7, camera)) > 0.97
    assert (made.image(3, 2) == little_rig.image(3, 2)).all()
    assert len(made.track("truth")) == 24
    with pytest.raises(StudioError, match="exists"):
        rematte_capture(little_rig, tmp_path / "out", MatteConfig(by="plate"))


def test_by_masks_of_another_size(little_rig, tmp_path):
    masks = tmp_path / "masks"
    for camera, name in enumerate(little_rig.cameras.ids):
        for timestep, number in enumerate(little_rig.timestep_ids):
            half = cv2.resize(little_rig.matte(timestep, camera), (80, 80), interpolation=cv2.INTER_AREA)
            write_image(masks / name / f"{number}.png", half)
    made = open_capture(rematte_capture(little_rig, tmp_path / "out", MatteConfig(by="masks", source=masks)))
    assert overlap(made.matte(4, 1), little_rig.matte(4, 1)) > 0.95
    (masks / "02" / "00005.png").unlink()
    with pytest.raises(StudioError, match=r"no such picture.*00005\.png"):
        rematte_capture(little_rig, tmp_path / "no", MatteConfig(by="masks", source=masks))
    write_image(masks / "02" / "00005.png", np.zeros((50, 80), np.uint8))
    with pytest.raises(StudioError, match="does not fit"):
        rematte_capture(little_rig, tmp_path / "no", MatteConfig(by="masks", source=masks))
    assert not [path for path in tmp_path.iterdir() if path.name not in ("masks", "out")]


@pytest.mark.skipif(find_asset("face_landmarker") is None, reason="no face landmarker (STUDIO_ASSETS)")
def test_by_a_model_needs_a_face(little_rig, tmp_path):
    with pytest.raises(StudioError, match=r"no face in camera|too small"):
        rematte_capture(little_rig, tmp_path / "no", MatteConfig(by="model"))
    assert not (tmp_path / "no").exists()


def field(number, kind, payload):
    """One field of a protocol buffer."""
    tag = varint(number << 3 | kind)
    return tag + (varint(payload) if kind == 0 else varint(len(payload)) + payload)


def varint(value):
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def tensor(name, shape):
    dims = b"".join(
        field(1, 2, field(1, 0, side) if isinstance(side, int) else field(2, 2, side.encode())) for side in shape
    )
    kind = field(1, 2, field(1, 0, 1) + field(2, 2, dims))
    return field(1, 2, name.encode()) + field(2, 2, kind)


def network(shape=(1, 3, "h", "w"), operator="ReduceMean"):
    """An ONNX file: the mean of the channels, through a sigmoid."""
    axes = field(1, 2, b"axes") + field(8, 0, 1) + field(20, 0, 7)
    node = field(1, 2, b"x") + field(2, 2, b"m") + field(4, 2, operator.encode()) + field(5, 2, axes)
    squash = field(1, 2, b"m") + field(2, 2, b"y") + field(4, 2, b"Sigmoid")
    graph = field(1, 2, node) + field(1, 2, squash) + field(2, 2, b"g")
    graph += field(11, 2, tensor("x", shape)) + field(12, 2, tensor("y", (1, 1, "h2", "w2")))
    return field(1, 0, 8) + field(8, 2, field(2, 0, 13)) + field(7, 2, graph)


def test_by_a_users_network(little_rig, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra matte is not installed")
    path = tmp_path / "net.onnx"
    path.write_bytes(network())
    settings = MatteConfig(by="network", source=path, mean=0.4, std=0.1)
    made = open_capture(rematte_capture(little_rig, tmp_path / "out", settings))
    noted = made.manifest.body["matte"]
    assert len(noted["sha256"]) == 64
    assert noted["network"] == str(path.resolve())
    wanted = 255 / (1 + np.exp(-((little_rig.image(3, 2) / 255.0).mean(-1) - 0.4) / 0.1))
    assert np.abs(made.matte(3, 2) - wanted).mean() < 6  # drawn at 512 and back


@pytest.mark.parametrize("content", [b"", b"no network", network(shape=(1, 1, "h", "w")), network(operator="NoSuch")])
def test_other_files_are_no_networks(content, little_rig, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra matte is not installed")
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(StudioError, match=r"net\.onnx"):
        rematte_capture(little_rig, tmp_path / "out", MatteConfig(by="network", source=tmp_path / "net.onnx"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("by", ["masks", "network"])
def test_a_source_is_asked_for(by, little_rig, tmp_path):
    with pytest.raises(StudioError, match="needs a f"):
        rematte_capture(little_rig, tmp_path / "out", MatteConfig(by=by))
