"""What all formats share: names that stay inside, axes, lenses, hostile data; with numbers worked out by hand."""

from __future__ import annotations

import json
import math
import resource
import zipfile

import cv2
import numpy as np
import pytest

from benchmarks.fuzz import Target
from capture.formats.axes import convergence, from_opengl, to_opengl, y_up
from capture.formats.files import inside, numbers, read_arrays
from capture.formats.footage import default_splits
from capture.formats.lenses import Lens, undistort
from capture.formats.nersemble_colour import apply_ccm, check_ccm
from capture.formats.pictures import decode
from capture.readers import readers
from studio.captures import Split, open_capture
from studio.errors import StudioError
from tests.contracts.reader_examples import EXAMPLES, nerfstudio, nersemble_vhap, rig, vhap_union, write_json


@pytest.mark.parametrize("name", ["a.png", "sub/a.png", "./a.png", "sub/../a.png", "my photo (1).png"])
def test_names_inside(name, tmp_path):
    assert inside(tmp_path, name).parent in (tmp_path, tmp_path / "sub")


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "", ".", "..", None, 7, "a\0b", "a\nb", ["a"]])
def test_names_that_lead_out_are_refused(name, tmp_path):
    with pytest.raises(StudioError, match="file name"):
        inside(tmp_path / "folder", name)


def test_a_union_may_name_its_siblings_but_no_further(tmp_path):
    example = vhap_union(tmp_path)
    path = example.source / "transforms_train.json"
    data = json.loads(path.read_text())
    data["frames"][0]["file_path"] = "../../secret.png"
    path.write_text(json.dumps(data))
    with pytest.raises(StudioError, match="leads out of"):
        readers()["vhap"].read(example.source, tmp_path / "out", readers()["vhap"].settings())


@pytest.mark.parametrize("name", ["../../evil", "a/b", "", "..", ".hidden", "con\n", "x" * 300])
def test_names_of_cameras_cannot_leave_the_capture(name, tmp_path):
    text = "\n".join([name or " ", "90 0 20", "0 90 30", "0 0 1", "0 0 0 0 0", "1 0 0 0", "0 1 0 0", "0 0 1 0", ""])
    (tmp_path / "KRT").write_text(text)
    (tmp_path / "images" / "seg").mkdir(parents=True)
    with pytest.raises(StudioError):
        readers()["multiface"].read(tmp_path, tmp_path / "out", readers()["multiface"].settings())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["KRT", "images"]


def test_a_hostile_manifest_cannot_name_files_elsewhere(tmp_path):
    example = nerfstudio(tmp_path / "source")
    folder = readers()["nerfstudio"].read(example.source, tmp_path / "out", readers()["nerfstudio"].settings())
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    data["body"]["timestep_ids"] = ["../../../source/images/frame_00000"]
    path.write_text(json.dumps(data))
    with pytest.raises(StudioError, match="a name that no file can have"):
        open_capture(folder)


def test_numbers_are_finite_and_of_the_shape_asked_for():
    assert numbers([[1, 2]], (-1, 2), "x").dtype == np.float64
    for wrong in ([1, 2], [[1, math.nan]], [["a", 1]], None, {}, [[1, 2], [3]], 10**400):
        with pytest.raises(StudioError, match=r"^x "):
            numbers(wrong, (-1, 2), "x")


def test_an_archive_cannot_claim_more_than_it_holds(tmp_path):
    path = tmp_path / "x.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"
    npy = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + b"\0" * 80
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("expr.npy", npy)
    with pytest.raises(StudioError, match=r"an array \(1000000000000,\) of float64 in 80 bytes"):
        read_arrays(path)
    np.savez(path, expr=np.array([{"a": 1}], dtype=object))
    with pytest.raises(StudioError, match="cannot read"):
        read_arrays(path)


def test_opengl_axes():
    """A camera at (0, 0, 2) that looks along -z with the image's top up: OpenGL's rotation is the identity."""
    pose = np.eye(4)
    pose[2, 3] = 2.0
    expected = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2], [0, 0, 0, 1.0]])
    assert np.allclose(from_opengl(pose), expected)
    assert np.allclose(to_opengl(from_opengl(rig())), rig())


def test_up():
    upright, z_up = rig(), np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    assert np.array_equal(y_up(upright, "auto"), np.eye(4)), "a world with y up stays as it is"
    assert np.allclose(y_up(upright, "z"), z_up)
    assert np.allclose(z_up @ [0, 0, 1, 1], [0, 1, 0, 1])
    assert np.allclose(y_up(upright @ z_up, "auto"), z_up), "a world with z up is turned by exactly that axis"
    down = upright @ np.diag([1.0, -1.0, -1.0, 1.0])
    assert np.allclose(y_up(down, "auto"), np.diag([1.0, -1.0, -1.0, 1.0]))
    tilted = np.eye(4)
    tilted[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.0, 0.75]))[0]  # 43 degrees: no axis is near
    turned = upright @ tilted @ np.linalg.inv(y_up(upright @ tilted, "auto"))
    mean = -turned[:, 1, :3].mean(0)
    assert np.allclose(mean / np.linalg.norm(mean), [0, 1, 0], atol=1e-9)


def test_where_a_rig_looks():
    point, miss, distance = convergence(rig())
    assert np.abs(point).max() < 1e-9
    assert miss < 1e-9
    assert distance == pytest.approx(math.hypot(1.0, 0.1))
    assert convergence(np.linalg.inv(rig()))[1] > 0.2, "read in the wrong direction, they look nowhere"


@pytest.mark.parametrize(("fisheye", "radius"), [(False, 0.3 * (1 + 0.2 * 0.09)), (True, math.atan(0.3) * 1.0)])
def test_a_lens_is_undone(fisheye, radius):
    """A dot seen at r = 0.3 (times the focal length) lands where the model of the lens puts it."""
    K = np.array([[100.0, 0, 50.5], [0, 100.0, 50.5], [0, 0, 1]])
    lens = Lens(K, (0.0, 0.0, 0.0, 0.0) if fisheye else (0.2, 0.0, 0.0, 0.0), fisheye)
    x, y = lens.sampling(101, 101)
    assert x[50, 80] == pytest.approx(50 + 100 * radius, abs=1e-3)
    assert y[50, 80] == pytest.approx(50, abs=1e-3)
    distorted = np.zeros((101, 101), np.uint8)
    cv2.circle(distorted, (round(50 + 100 * radius), 50), 2, 255, -1)
    assert undistort(distorted, (x, y))[50, 80] > 200


def test_colour_calibration_with_the_identity_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (70, 5, 3), dtype=np.uint8)
    for terms in (3, 4, 5, 7, 8, 10, 11, 14, 16, 17, 19, 20, 22):
        matrix = np.zeros((3, terms))
        matrix[:, :3] = np.eye(3)
        assert np.array_equal(apply_ccm(image, check_ccm(matrix, "it")), image)
    with pytest.raises(StudioError, match="6 columns"):
        check_ccm(np.zeros((3, 6)), "it")


def test_colour_calibration_by_hand():
    """Linear 0.5, 0.25, 1: the cube of red (0.125) and red² green (0.0625) as new red; 19 columns."""
    encoded = np.array([[[188, 137, 255]]], np.uint8)
    matrix = np.zeros((3, 19))
    matrix[0, 16] = matrix[0, 10] = 1.0  # RRR, RRG
    linear = 0.5029**3 + 0.5029**2 * 0.2502
    assert apply_ccm(encoded, matrix)[0, 0].tolist() == [round(255 * (1.055 * linear ** (1 / 2.4) - 0.055)), 0, 0]


def test_a_calibration_for_another_shape_is_named(tmp_path):
    example = nersemble_vhap(tmp_path)
    path = example.hostile[0]
    data = json.loads(path.read_text())
    write_json(path, {**data, "width": 3208, "height": 2200})
    with pytest.raises(StudioError, match="does not fit images of 44x64"):
        readers()["nersemble"].read(example.source, tmp_path / "out", readers()["nersemble"].settings())


def test_pictures_of_all_kinds(tmp_path):
    colour = np.random.default_rng(1).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    deep = colour.astype(np.uint16) * 257
    for pixels, shape in ((deep[..., ::-1], (6, 4, 3)), (deep[..., 0], (6, 4, 1)), (colour[..., 0], (6, 4, 1))):
        cv2.imwrite(str(tmp_path / "x.png"), pixels)
        read = decode(tmp_path / "x.png", "x")
        assert read.shape == shape
        assert np.array_equal(read, colour if shape[2] == 3 else colour[..., :1])


def test_a_small_file_cannot_claim_a_huge_picture(tmp_path):
    ok, data = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    assert ok
    raw = bytearray(data.tobytes())
    raw[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(StudioError, match=r"too large|damaged"):
        decode(bytes(raw), "x")


def test_a_picture_whose_parts_claim_more_than_there_is_takes_no_memory():
    ok, data = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    assert ok
    raw = bytearray(data.tobytes())
    assert raw[37:41] == b"IDAT"
    raw[33:37] = (0xFF00063D).to_bytes(4, "big")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StudioError, match="empty or damaged"):
        decode(bytes(raw), "x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_default_splits_hold_out_time_and_a_camera():
    assert default_splits(10, 1) == {"train": Split(tuple(range(8)), (0,)), "test": Split((8, 9), (0,))}
    assert default_splits(10, 4) == {
        "train": Split(tuple(range(8)), (0, 1, 3)),
        "novel_view": Split(tuple(range(8)), (2,)),
        "novel_expression": Split((8, 9), (0, 1, 3)),
    }
    assert default_splits(1, 9)["novel_view"] == Split((0,), (0, 8))


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_damaged_and_hostile_files(name, tmp_path):
    """Twenty of the mutations of ``python -m benchmarks.fuzz``."""
    if name == "renderme360":
        pytest.importorskip("h5py", reason="renderme360 needs h5py")
    target = Target(name, tmp_path)
    outcomes = [target.attempt(seed) for seed in range(20)]
    assert set(outcomes) <= {"read", "refused", "read, though not recognised"}
    assert "refused" in outcomes
