"""Files of Gaussians: written by us and read by others, written by others and read by us."""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.avatars import load_avatar
from reenact.exporters import Subject, export
from reenact.exporters.compressed_ply import CompressedPly
from reenact.exporters.delta_ply import MOVING, STEPS, DeltaPly
from reenact.exporters.ply import Ply
from reenact.exporters.ply_sequence import PlySequence
from reenact.exporters.sog import Sog
from reenact.exporters.spz import Spz
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest
from studio.kernels.spherical_harmonics import sh_colors_reference
from studio.media.audio import Audio
from studio.media.splats import read_splats
from studio.media.splats.ply import raw_columns, rows_of, write_elements, write_ply
from studio.rotations import quat_to_matrix
from studio.splats import Splats, upright
from tests.node import node_package, run_node

COUNT = 500


def _splats(bands: int = 1) -> Splats:
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    quats = rand(COUNT, 4) - 0.5
    sizes = 0.001 + 0.01 * rand(COUNT, 3)
    return Splats(rand(COUNT, 3) - 0.3, quats, sizes, rand(COUNT), 2 * rand(COUNT, bands, 3) - 1)


class _Avatar:
    """Gaussians that grow and turn with the jaw."""

    space, codes = ARKIT52, Codes.neutral()

    def gaussians(self, codes: Codes) -> Splats:
        jaw = float(codes.expression[ARKIT52.index("jawOpen")])
        splats = _splats()
        return replace(splats, means=splats.means + 0.02 * jaw, scales=splats.scales * (1 + jaw))


AVATAR: Any = _Avatar()


def _track() -> CodeTrack:
    codes = Codes.neutral(batch=(3,)).with_channels(jawOpen=torch.tensor([0.0, 0.5, 1.0]))
    return CodeTrack(codes, 25.0, torch.ones(3, dtype=torch.bool))


def _same(ours: Splats, theirs: dict[str, np.ndarray], place: float, size: float, color: float) -> None:
    """Raw columns of another reader, whatever their order, against Gaussians."""
    columns = raw_columns(ours)
    found = np.stack([theirs[name] for name in "xyz"], 1)
    wanted = np.stack([columns[name] for name in "xyz"], 1)
    order = np.abs(wanted[:, None] - found[None]).max(2).argmin(1)
    assert sorted(order) == list(range(COUNT))
    np.testing.assert_allclose(found[order], wanted, atol=place)
    for i in range(3):
        np.testing.assert_allclose(theirs[f"scale_{i}"][order], columns[f"scale_{i}"], atol=size)
        np.testing.assert_allclose(theirs[f"f_dc_{i}"][order], columns[f"f_dc_{i}"], atol=color)
    opacity = [1 / (1 + np.exp(-values)) for values in (theirs["opacity"][order], columns["opacity"])]
    np.testing.assert_allclose(*opacity, atol=0.003)
    quats = [np.stack([table[f"rot_{i}"] for i in range(4)], 1) for table in (theirs, columns)]
    turned = quats[0][order] / np.linalg.norm(quats[0][order], axis=1, keepdims=True)
    assert np.abs((turned * quats[1]).sum(1)).min() > 0.9999


def _gsply_columns(path: Path) -> dict[str, np.ndarray]:
    gsply = pytest.importorskip("gsply", reason="needs the extra formats")
    data = gsply.read_spz(path) if path.suffix == ".spz" else gsply.plyread(path)
    columns = {"opacity": np.asarray(data.opacities).reshape(-1)}
    for names, values in (("xyz", data.means), ("scale", data.scales), ("rot", data.quats), ("f_dc", data.sh0)):
        for i, column in enumerate(np.asarray(values).reshape(COUNT, -1).T):
            columns[names[i] if names == "xyz" else f"{names}_{i}"] = column
    return columns


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.spz"])
def test_another_library_reads_them(tmp_path: Path, name: str) -> None:
    exporter = {"a.ply": Ply(up="y"), "a.compressed.ply": CompressedPly(up="y"), "a.spz": Spz()}[name]
    pytest.importorskip("gsply", reason="needs the extra formats")
    export(exporter, Subject(AVATAR), tmp_path / name)
    bounds = {"a.ply": (0, 1e-6, 1e-6), "a.compressed.ply": (0.001, 0.01, 0.01), "a.spz": (3e-4, 0.04, 0.02)}[name]
    _same(_splats(), _gsply_columns(tmp_path / name), *bounds)


def test_spz_follows_its_rules(tmp_path: Path) -> None:
    pytest.importorskip("gsply", reason="needs the extra formats")
    export(Spz(), Subject(AVATAR), tmp_path / "a.spz")
    data = gzip.decompress((tmp_path / "a.spz").read_bytes())
    magic, version, count, degree, fraction = struct.unpack_from("<IIIBB", data)
    assert (magic, version, count, degree) == (0x5053474E, 3, COUNT, 0)
    whole = np.frombuffer(data, np.uint8, 9 * COUNT, 16).reshape(COUNT, 3, 3).astype(np.int64) @ (1, 256, 65536)
    places = np.where(whole >= 1 << 23, whole - (1 << 24), whole) / 2.0**fraction
    place = 16 + 9 * COUNT
    alphas = np.frombuffer(data, np.uint8, COUNT, place) / 255
    colors = (np.frombuffer(data, np.uint8, 3 * COUNT, place + COUNT).reshape(COUNT, 3) / 255 - 0.5) / 0.15
    sizes = np.frombuffer(data, np.uint8, 3 * COUNT, place + 4 * COUNT).reshape(COUNT, 3) / 16 - 10
    words = np.frombuffer(data, "<u4", COUNT, place + 7 * COUNT)
    columns = {name: places[:, i] for i, name in enumerate("xyz")}
    columns |= {f"scale_{i}": sizes[:, i] for i in range(3)} | {f"f_dc_{i}": colors[:, i] for i in range(3)}
    columns["opacity"] = np.log(alphas.clip(1e-4, 1 - 1e-4) / (1 - alphas.clip(1e-4, 1 - 1e-4)))
    columns |= {f"rot_{i}": value for i, value in enumerate(np.transpose([_smallest_three(int(w)) for w in words]))}
    _same(_splats(), columns, 2e-6, 0.04, 0.02)


def _smallest_three(word: int) -> tuple[float, ...]:
    """wxyz: 2 bits for the largest of xyzw, then a sign and 9 bits for each of the others, the last one lowest."""
    largest, xyzw = word >> 30, [0.0] * 4
    for i in (i for i in (3, 2, 1, 0) if i != largest):
        xyzw[i] = (-1 if word >> 9 & 1 else 1) * (word & 511) / 511 / 2**0.5
        word >>= 10
    xyzw[largest] = (1 - sum(value**2 for value in xyzw)) ** 0.5
    return (xyzw[3], *xyzw[:3])


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.sog"])
def test_the_makers_of_sog_read_them(tmp_path: Path, name: str) -> None:
    package = node_package("@playcanvas/splat-transform")
    if name == "a.compressed.ply":
        pytest.importorskip("gsply", reason="needs the extra formats")
    exporter = {"a.ply": Ply("y"), "a.compressed.ply": CompressedPly("y"), "a.sog": Sog("y")}[name]
    export(exporter, Subject(AVATAR), tmp_path / name)
    run_node(package / "bin" / "cli.mjs", "-q", tmp_path / name, tmp_path / "back.csv")
    table = np.genfromtxt(tmp_path / "back.csv", delimiter=",", names=True)
    columns = {column: table[column] for column in table.dtype.names}
    _same(_splats(), columns, 0.001, 0.05, 0.02)


@pytest.mark.parametrize("bands", [1, 4, 9, 16])
def test_ply_keeps_every_number(tmp_path: Path, bands: int) -> None:
    splats = _splats(bands)
    write_ply(tmp_path / "a.ply", splats)
    back = read_splats(tmp_path / "a.ply")
    torch.testing.assert_close(back.means, splats.means)
    torch.testing.assert_close(back.sh, splats.sh)
    torch.testing.assert_close(back.scales, splats.scales)
    torch.testing.assert_close(back.opacities, splats.opacities)
    torch.testing.assert_close(back.quats, torch.nn.functional.normalize(splats.quats, dim=1))


def test_ply_has_the_standard_layout(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", _splats(16))
    header, data = (tmp_path / "a.ply").read_bytes().split(b"end_header\n", 1)
    names = [line.split()[-1] for line in header.decode("ascii").splitlines() if line.startswith("property float")]
    table = np.frombuffer(data, "<f4").reshape(COUNT, len(names))
    assert names[:10] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "f_rest_0"]
    assert names[-8:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    # Channel-major: green's first coefficient comes after the 15 of red.
    np.testing.assert_array_equal(table[:, names.index("f_rest_15")], _splats(16).sh[:, 1, 1])


@pytest.mark.parametrize("bands", [1, 16])
def test_half_a_turn_changes_no_picture(bands: int) -> None:
    splats = _splats(bands)
    turned, half = upright(splats, "-y"), torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    assert upright(splats, "y") is splats
    torch.testing.assert_close(turned.means, splats.means @ half)
    torch.testing.assert_close(quat_to_matrix(turned.quats), half @ quat_to_matrix(splats.quats))
    eye, degree = torch.tensor([0.3, 1.0, 2.0]), {1: 0, 16: 3}[bands]
    there = sh_colors_reference(turned.means, turned.sh, eye @ half, degree)
    torch.testing.assert_close(there, sh_colors_reference(splats.means, splats.sh, eye, degree))


def test_sequences_hold_every_frame(tmp_path: Path) -> None:
    audio = Audio(np.zeros((1920, 1), np.float32), 16_000)
    export(PlySequence(up="y"), Subject(AVATAR, track=_track(), audio=audio), tmp_path / "frames")
    assert json.loads((tmp_path / "frames/sequence.json").read_text())["fps"] == 25.0
    assert sorted(p.name for p in (tmp_path / "frames").glob("*.ply")) == ["000000.ply", "000001.ply", "000002.ply"]
    last = read_splats(tmp_path / "frames/000002.ply")
    torch.testing.assert_close(last.scales, 2 * _splats().scales)
    assert (tmp_path / "frames/audio.wav").is_file()


def test_an_animated_ply_adds_up_to_every_frame(tmp_path: Path) -> None:
    export(DeltaPly(up="y"), Subject(AVATAR, track=_track()), tmp_path / "a.delta.ply")
    data = (tmp_path / "a.delta.ply").read_bytes()
    header, body = data.split(b"end_header\n", 1)
    assert b"element delta_vertex_2 500" in header
    base = read_splats(tmp_path / "a.delta.ply")  # the first frame, for readers that know nothing of motion
    torch.testing.assert_close(base.scales, _splats().scales)
    place = COUNT * 17 * 4
    for index in range(3):
        low, high = np.frombuffer(body, "<f4", 20, place).reshape(2, 10)
        codes = np.frombuffer(body, "<u2", 10 * COUNT, place + 80).reshape(COUNT, 10)
        delta = codes / STEPS * (high - low) + low
        truth = AVATAR.gaussians(_track().codes[index])
        np.testing.assert_allclose(delta[:, 0] + base.means[:, 0].numpy(), truth.means[:, 0], atol=1e-6)
        np.testing.assert_allclose(delta[:, 5], (truth.scales / base.scales).log()[:, 2], atol=1e-5)
        place += 80 + 20 * COUNT
    assert place == len(body)
    assert MOVING[6:] == ("rot_0", "rot_1", "rot_2", "rot_3")


def test_files_made_by_others_are_static_avatars(shared: Path) -> None:
    ply, sog = (load_avatar(shared / "data/splats" / name) for name in ("massa_bust_3dgs.ply", "massa.sog"))
    assert isinstance(ply, Avatar)
    picture = ply.render(ply.camera.resized(64, 64), ply.codes)
    assert 0.1 < float(picture.alpha.mean()) < 0.6
    # The PLY was cut out of the SOG by its maker: every one of its Gaussians is there.
    known = {tuple(row) for row in sog.gaussians(sog.codes).means.tolist()}
    assert all(tuple(row) in known for row in ply.gaussians(ply.codes).means.tolist())


def test_ours_come_back_as_they_were(tmp_path: Path) -> None:
    for name, exporter in {"a.ply": Ply(), "a.sog": Sog()}.items():
        export(exporter, Subject(AVATAR), tmp_path / name)
        avatar = load_avatar(tmp_path / name)
        camera: Camera = avatar.camera
        assert camera.viewmats[0, 1, 1] > 0.9  # up is -y: the image's down is the file's y
        avatar.save(tmp_path / f"{name}.folder", Manifest(kind="avatar"))
        again = load_avatar(tmp_path / f"{name}.folder")
        torch.testing.assert_close(again.gaussians(again.codes).means, avatar.gaussians(avatar.codes).means)


def _hostile(folder: Path) -> dict[str, bytes]:
    write_ply(folder / "good.ply", _splats())
    good = (folder / "good.ply").read_bytes()
    export(Sog(), Subject(AVATAR), folder / "good.sog")
    with zipfile.ZipFile(folder / "good.sog") as archive:
        meta = json.loads(archive.read("meta.json"))
        parts = {name: archive.read(name) for name in archive.namelist()}

    def sog(**changed: Any) -> bytes:
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            for name, data in {**parts, "meta.json": json.dumps({**meta, **changed}).encode()}.items():
                archive.writestr(name, data)
        return (folder / "x.zip").read_bytes()

    nan = raw_columns(_splats())
    nan["x"] = np.full(COUNT, np.nan, "<f4")
    write_elements(folder / "nan.ply", [("vertex", rows_of(nan))])
    return {
        "empty.ply": b"",
        "text.ply": b"hello",
        "no_end.ply": good[:40],
        "cut.ply": good[:-5],
        "huge.ply": good.replace(b"vertex 500", b"vertex 999999999999"),
        "negative.ply": good.replace(b"vertex 500", b"vertex -500"),
        "type.ply": good.replace(b"property float opacity", b"property quark opacity"),
        "ascii.ply": good.replace(b"binary_little_endian", b"ascii"),
        "list.ply": good.replace(b"property float nx", b"property list uchar int nx"),
        "other.ply": good.replace(b"opacity", b"opaqity"),
        "nan.ply": (folder / "nan.ply").read_bytes(),
        "cut.sog": (folder / "good.sog").read_bytes()[:-100],
        "version.sog": sog(version=1),
        "count.sog": sog(count=10**12),
        "more.sog": sog(count=COUNT * 5),
        "path.sog": sog(quats={"files": ["../../etc/passwd"]}),
        "book.sog": sog(scales={"codebook": [1.0], "files": ["scales.webp"]}),
        "nothing.sog": sog(means=None),
        "text.spz": b"hello",
        "text.compressed.ply": b"hello",
    }


def test_hostile_files_are_one_line(tmp_path: Path) -> None:
    for name, data in _hostile(tmp_path).items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(StudioError) as caught:
            load_avatar(tmp_path / name)
        assert "\n" not in str(caught.value), name
        assert name in str(caught.value) or "gsply" in str(caught.value), name


def test_some_broken_gaussians_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = raw_columns(_splats())
    columns["x"] = np.where(np.arange(COUNT) < 3, np.inf, columns["x"]).astype("<f4")
    write_elements(tmp_path / "a.ply", [("vertex", rows_of(columns))])
    assert len(read_splats(tmp_path / "a.ply")) == COUNT - 3
    assert "3 of 500 Gaussians left out" in capsys.readouterr().err


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="does not fit the format"):
        export(Sog(), Subject(AVATAR), tmp_path / "a.ply")
    (tmp_path / "b.ply").write_text("mine")
    with pytest.raises(StudioError, match="exists already"):
        export(Ply(), Subject(AVATAR), tmp_path / "b.ply")
    with pytest.raises(StudioError, match="needs a motion"):
        export(DeltaPly(), Subject(AVATAR), tmp_path / "a.delta.ply")
    assert (tmp_path / "b.ply").read_text() == "mine"
