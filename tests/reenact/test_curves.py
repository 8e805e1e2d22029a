"""Curves of other programs: read as they are laid out, and written back as they were read."""

from __future__ import annotations

import csv
import gzip
import json
import socket
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reenact.convert import CodeMap, convert, fit_map
from reenact.curves import WRITERS, read_curves, write_curves
from reenact.curves.livelink_udp import (
    LinkReceiver,
    NotAPacket,
    make_packet,
    packets_of,
    parse_packet,
    read_packets,
    sort_out,
    track_of,
)
from reenact.torso import NECK_PIVOT
from studio.codes import ARKIT52, FLAME100, Codes, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid

ENDINGS = {"livelink": [".csv"], "mediapipe": [".csv", ".json"], "audio2face": [".csv", ".json"], "flame": [".npz", ""]}
FORMATS = [(form, ending) for form, endings in ENDINGS.items() for ending in endings]


def _take(frames: int = 12, fps: float = 30.0, space: object = ARKIT52) -> CodeTrack:
    generator = torch.Generator().manual_seed(3)

    def noise(*shape: int, size: float) -> torch.Tensor:
        return size * torch.randn(*shape, generator=generator)

    codes = Codes.neutral(space, (frames,))  # type: ignore[arg-type]
    neck = noise(frames, 3, size=0.2)
    turn, pivot = axis_angle_to_matrix(neck), torch.tensor(NECK_PIVOT)
    codes = replace(
        codes,
        expression=torch.rand(frames, len(codes.space), generator=generator),
        neck_pose=neck,
        head_to_world=rigid(turn, pivot - turn @ pivot),
    )
    if space is FLAME100:
        codes = replace(codes, jaw_pose=noise(frames, 3, size=0.1), eye_pose=noise(frames, 2, 3, size=0.1))
    return CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool), {"expression": "made up"})


def _content(path: Path) -> object:
    """Everything in a file or folder that must come back."""
    if path.is_dir():
        return {file.name: _content(file) for file in sorted(path.iterdir())}
    if path.suffix == ".npz":
        with np.load(path) as data:
            return {name: data[name].tolist() for name in data.files}
    return path.read_bytes()


@pytest.mark.parametrize(("form", "ending"), FORMATS)
def test_what_was_read_and_not_edited_is_written_as_it_was(tmp_path: Path, form: str, ending: str) -> None:
    track = _take(space=FLAME100 if form == "flame" else ARKIT52)
    first, second = tmp_path / f"first{ending}", tmp_path / f"second{ending}"
    write_curves(first, track, form)
    back = read_curves(first, fps=30.0)
    write_curves(second, back, form)
    assert _content(first) == _content(second)
    assert back.fps == pytest.approx(track.fps, rel=1e-3)
    known = [name for name in track.codes.space.channels if not (form == "mediapipe" and name == "tongueOut")]
    for name in known:
        index = track.codes.space.index(name)
        assert torch.allclose(back.codes.expression[:, index], track.codes.expression[:, index], atol=1e-6), name
    if form != "audio2face":  # which has no head
        assert torch.allclose(back.codes.head_to_world, track.codes.head_to_world, atol=1e-5)


@pytest.mark.parametrize(("form", "ending"), FORMATS)
def test_an_edit_is_written_and_the_rest_stays(tmp_path: Path, form: str, ending: str) -> None:
    track = _take(space=FLAME100 if form == "flame" else ARKIT52)
    write_curves(tmp_path / f"first{ending}", track, form)
    back = read_curves(tmp_path / f"first{ending}", fps=30.0)
    expression = back.codes.expression.clone()
    expression[4, 10] = 0.123
    write_curves(tmp_path / f"second{ending}", replace(back, codes=replace(back.codes, expression=expression)), form)
    again = read_curves(tmp_path / f"second{ending}", fps=30.0)
    assert torch.allclose(again.codes.expression, expression, atol=1e-6)


def _app_file(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    return path


def test_the_apps_own_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """As the app writes it: swapped pairs, eye angles of its own, a timecode that begins in the afternoon."""
    from reenact.curves.livelink_csv import COLUMNS

    rng = np.random.default_rng(0)
    table = rng.random((5, 61)).astype(np.float32)
    table[:, 52:] -= 0.5
    codes = [f"13:13:04:{31.652 + 2.0017 * index:06.3f}" for index in range(5)]
    rows = [[code, "61", *(f"{value:.10f}" for value in row)] for code, row in zip(codes, table)]
    source = _app_file(tmp_path / "take.csv", ["Timecode", "BlendShapeCount", *COLUMNS], rows)
    assert COLUMNS[14:18] == ("JawForward", "JawRight", "JawLeft", "JawOpen")
    track = read_curves(source)
    write_curves(tmp_path / "again.csv", track, "livelink")
    assert (tmp_path / "again.csv").read_bytes() == source.read_bytes()
    assert track.codes.expression[2, ARKIT52.index("jawLeft")] == pytest.approx(table[2, 16])


def test_missing_and_reordered_columns(tmp_path: Path) -> None:
    header = ["TIMECODE", "blendshapecount", "jawopen", "HEADYAW", "EyeBlinkLeft"]
    rows = [[f"00:00:00:{2 * index:06.3f}", "61", "0.5", "0.2", "1.0"] for index in range(4)]
    track = read_curves(_app_file(tmp_path / "few.csv", header, rows))
    assert track.fps == 30.0
    assert float(track.codes.expression[0, ARKIT52.index("jawOpen")]) == 0.5
    assert float(track.codes.neck_pose[0, 1]) == pytest.approx(0.2, abs=1e-5)
    assert "mouthPucker" in track.provenance["missing, taken as 0"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "no curves"),
        ("a.csv", "time,foo\n0,1\n", "no known channel"),
        ("a.csv", "time,jawOpen\n0,x\n", "wrong value in .* jawOpen = 'x'"),
        ("a.csv", "time,jawOpen\n0,nan\n", "wrong value"),
        ("a.csv", "Timecode,JawOpen\n1,0.5\n", "wrong timecodes"),
        ("a.json", "[1, 2]", "holds no frames"),
        ("a.json", "{", "no JSON file"),
        ("a.json", '[{"blendshapes": {"foo": 1}}]', "no known channel"),
        ("a.json", '{"weightMat": [[1, 2]], "facsNames": ["jawOpen"]}', "is damaged"),
        ("a.json", '{"weightMat": [[1]], "facsNames": ["jawOpen"], "exportFps": 0}', "wrong frame rate"),
        ("a.npz", "PK", "cannot read"),
        ("a.bin", "hello", "no format of curves"),
    ],
)
def test_damaged_files_are_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StudioError, match=message):
        read_curves(tmp_path / name)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for form, ending in FORMATS:
        path = tmp_path / f"{form}{ending or '_folder'}"
        track = _take(space=FLAME100 if form == "flame" else ARKIT52)
        write_curves(path, track, form)
        with pytest.raises(StudioError, match="exists already"):
            write_curves(path, track, form)
    with pytest.raises(StudioError, match="another space"):
        write_curves(tmp_path / "x.csv", _take(space=FLAME100), "livelink")
    with pytest.raises(StudioError, match="livelink"):
        write_curves(tmp_path / "x.csv", _take(), "telepathy")
    assert set(WRITERS) == {*ENDINGS, "action_units"}  # which cannot be read back


def test_mediapipe_results_as_its_javascript_gives_them(tmp_path: Path) -> None:
    """A frame without a face in between is held and marked."""

    def frame(jaw: float, at: float) -> dict[str, object]:
        scores = [("_neutral", 0.1), ("jawOpen", jaw), ("mouthSmileLeft", 0.25)]
        categories = [{"index": i, "categoryName": name, "score": score} for i, (name, score) in enumerate(scores)]
        matrix = np.eye(4)
        matrix[:3, 3] = (1.0, 2.0, -40.0)  # centimetres
        flat = matrix.T.reshape(-1).tolist()
        matrixes = [{"rows": 4, "columns": 4, "data": flat}]
        return {
            "timestampMs": at,
            "faceBlendshapes": [{"categories": categories}],
            "facialTransformationMatrixes": matrixes,
        }

    frames = [frame(0.1, 0), {"timestampMs": 40, "faceBlendshapes": []}, frame(0.3, 80), frame(0.4, 120)]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    track = read_curves(tmp_path / "a.json")
    assert track.fps == 25.0
    assert track.valid.tolist() == [True, False, True, True]
    assert torch.allclose(track.codes.expression[:, ARKIT52.index("jawOpen")], torch.tensor([0.1, 0.1, 0.3, 0.4]))
    assert torch.allclose(track.codes.head_to_world[0, :3, 3], torch.tensor([0.01, 0.02, -0.4]))


def test_mediapipes_own_golden_scores(tmp_path: Path, shared: Path) -> None:
    text = (shared / "data/mediapipe_goldens/face_blendshapes_out.prototxt").read_text()
    scores = [float(line.split()[1]) for line in text.splitlines() if "score:" in line]
    names = [line.split('"')[1] for line in text.splitlines() if "label:" in line]
    assert len(names) == 52
    item = [{"category_name": name, "score": score} for name, score in zip(names, scores)]
    (tmp_path / "a.json").write_text(json.dumps({"fps": 30, "frames": [{"face_blendshapes": [item]}] * 2}))
    track = read_curves(tmp_path / "a.json")
    for name, score in zip(names, scores):
        if name != "_neutral":
            assert float(track.codes.expression[0, ARKIT52.index(name)]) == pytest.approx(score, abs=1e-6), name


def test_audio2face_keeps_the_shapes_of_the_tongue(tmp_path: Path) -> None:
    with (tmp_path / "frames.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["timeCode", "blendShapes.JawOpen", "blendShapes.TongueTipUp"])
        writer.writerows([[repr(index / 60), "0.25", "0.75"] for index in range(6)])
    track = read_curves(tmp_path / "frames.csv")
    assert track.fps == 60.0
    write_curves(tmp_path / "again.csv", track, "audio2face")
    rows = list(csv.DictReader((tmp_path / "again.csv").open()))
    assert {row["blendShapes.TongueTipUp"] for row in rows} == {"0.75"}
    assert [row["timeCode"] for row in rows] == [repr(index / 60) for index in range(6)]


def test_flame_in_one_file_and_in_many_is_the_same(tmp_path: Path) -> None:
    track = _take(space=FLAME100)
    write_curves(tmp_path / "one.npz", track, "flame")
    write_curves(tmp_path / "many", track, "flame")
    one, many = read_curves(tmp_path / "one.npz"), read_curves(tmp_path / "many")
    for name, value in one.codes.tensors().items():
        assert torch.equal(value, many.codes.tensors()[name]), name
    assert len(list((tmp_path / "many").iterdir())) == len(track)


def test_flame_becomes_arkit_by_its_joints() -> None:
    codes = replace(Codes.neutral(FLAME100, (2,)), jaw_pose=torch.tensor([[0.165, 0, 0], [0, 0, 0]]))
    eyes = torch.zeros(2, 2, 3)
    eyes[:, :, 1] = 0.3  # both to the subject's left
    track = CodeTrack(replace(codes, eye_pose=eyes), 25.0, torch.ones(2, dtype=torch.bool))
    moved = convert(track)
    weights = dict(zip(ARKIT52.channels, moved.codes.expression[0].tolist()))
    assert weights["jawOpen"] == pytest.approx(0.5)
    assert weights["eyeLookOutLeft"] == weights["eyeLookInRight"] == pytest.approx(0.5)
    assert "left out" in moved.provenance["expression"]
    with pytest.raises(StudioError, match="no way between"):
        convert(_take(), FLAME100)


def test_a_map_fitted_on_two_tracks_takes_expression_over(tmp_path: Path) -> None:
    frames, generator = 300, torch.Generator().manual_seed(0)
    flame = _take(frames, space=FLAME100)
    mixing = torch.rand(100, 52, generator=generator) / 60
    weights = (flame.codes.expression @ mixing).clamp(0, 1)
    arkit = replace(_take(frames), codes=replace(_take(frames).codes, expression=weights))
    made = fit_map(flame, arkit)
    assert made.error < 0.02
    made.save(tmp_path / "map.npz")
    moved = convert(flame, using=CodeMap.load(tmp_path / "map.npz"))
    assert (moved.codes.expression - weights).abs().mean() < 0.02
    with pytest.raises(StudioError, match="same frames"):
        fit_map(flame, _take(20))
    with pytest.raises(StudioError, match="other code spaces"):
        convert(arkit, FLAME100, made)


def test_recorded_packets(shared: Path) -> None:
    track = read_curves(shared / "data/livelink/dao.gesichter")
    assert track.fps == 60.0
    assert len(track) >= 180
    assert float(track.valid.float().mean()) > 0.9
    jaw = track.codes.expression[:, ARKIT52.index("jawOpen")]
    assert 0.01 < float(jaw.max()) <= 1.0
    sweep = read_curves(shared / "data/livelink/debug-jawopen.gesichter").codes.expression
    moving = [name for index, name in enumerate(ARKIT52.channels) if float(sweep[:, index].max()) > 0.5]
    assert moving == ["jawOpen"]
    head = read_curves(shared / "data/livelink/debug-headyaw.gesichter").codes
    assert head.expression.abs().max() == 0
    assert head.neck_pose[:, 1].abs().max() > 0.5
    assert head.neck_pose[:, (0, 2)].abs().max() < 1e-4


def test_packets_come_back_byte_for_byte(shared: Path) -> None:
    for packet in read_packets(shared / "data/livelink/dao.gesichter"):
        again = parse_packet(make_packet(parse_packet(packet)))
        assert np.array_equal(again.values, parse_packet(packet).values)
        assert again.time == pytest.approx(parse_packet(packet).time, abs=1e-4)


def test_the_app_over_the_network_with_garbage_in_between() -> None:
    packets = packets_of(_take(30, fps=60.0))
    rng = np.random.default_rng(0)
    garbage = [b"", b"\x06", b"hello", rng.bytes(400), packets[0][:100], b"\x06" + struct.pack(">I", 2**31) + b"x" * 9]
    broken = bytearray(packets[3])
    broken[-4:] = struct.pack(">f", float("nan"))

    with LinkReceiver(port=0, host="127.0.0.1") as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def send() -> None:
            for index, packet in enumerate(packets):
                for data in (*garbage[index : index + 1], packet):
                    sender.sendto(data, ("127.0.0.1", receiver.port))
                time.sleep(0.002)
            sender.sendto(bytes(broken), ("127.0.0.1", receiver.port))

        thread = threading.Thread(target=send)
        thread.start()
        track = receiver.record(seconds=5.0, patience=0.5)
        thread.join()
        assert receiver.ignored == len(garbage) + 1
    assert len(track) == 30
    assert track.fps == 60.0
    assert bool(track.valid.all())
    assert torch.allclose(track.codes.expression, _take(30).codes.expression, atol=1e-6)
    assert track.provenance["packets ignored"] == str(len(garbage) + 1)


def test_a_gap_in_the_packets_is_not_valid() -> None:
    frames = sort_out(packets_of(_take(30, fps=60.0)))[0]
    track = track_of(frames[:10] + frames[20:])
    assert len(track) == 30
    assert not bool(track.valid[12:18].any())
    assert bool(track.valid[:10].all())


def test_nothing_but_garbage(tmp_path: Path) -> None:
    with pytest.raises(NotAPacket):
        parse_packet(b"\x06" * 320)
    with pytest.raises(StudioError, match=r"got 2 packets of another kind"):
        track_of(*sort_out([b"a", b"b"]))
    (tmp_path / "a.gesichter").write_bytes(gzip.compress(b"\x06" + struct.pack(">II", 3, 99) + b"short"))
    with pytest.raises(StudioError, match="no recording of packets"):
        read_curves(tmp_path / "a.gesichter")
