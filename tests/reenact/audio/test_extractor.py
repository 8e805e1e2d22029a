"""A user's own speech features: windows without seams, the adapter on them, and networks of another form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reenact.audio.adapter import learn_adapter
from reenact.audio.extractor import SpeechExtractor
from reenact.audio.features import RATE
from studio.errors import StudioError

pytest.importorskip("onnxruntime", reason="the extra matte is not installed")


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _field(number: int, payload: int | bytes) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(payload, int):
        return _varint(number << 3) + _varint(payload)
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _value(name: str, shape: tuple[int | str, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, side) if isinstance(side, int) else _field(2, side.encode())) for side in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def _constant(name: str, values: np.ndarray) -> bytes:
    kind = 1 if values.dtype == np.float32 else 7
    dims = b"".join(_field(1, side) for side in values.shape)
    return dims + _field(2, kind) + _field(8, name.encode()) + _field(9, values.tobytes())


def _node(inputs: list[str], output: str, operator: str, attributes: bytes = b"") -> bytes:
    names = b"".join(_field(1, name.encode()) for name in inputs)
    return names + _field(2, output.encode()) + _field(4, operator.encode()) + attributes


def _listed(name: str, values: list[int]) -> bytes:
    return _field(5, _field(1, name.encode()) + b"".join(_field(8, value) for value in values) + _field(20, 7))


def write_network(path: Path, step: int = 320, shape: tuple[int | str, ...] = (1, "n")) -> Path:
    """Sound [1, N] -> [1, N / step, 8]: band filters, rectified, as a stand-in for a trained network."""
    time = np.arange(400) / RATE
    filters = np.stack([np.sin(2 * np.pi * hertz * time) * np.hanning(400) for hertz in 200 * 1.5 ** np.arange(8)])
    graph = b"".join(
        _field(1, node)
        for node in (
            _node(["x", "axis"], "a", "Unsqueeze"),
            _node(["a", "w"], "b", "Conv", _listed("strides", [step]) + _listed("pads", [40, 40])),
            _node(["b"], "c", "Abs"),
            _node(["c"], "y", "Transpose", _listed("perm", [0, 2, 1])),
        )
    )
    graph += _field(2, b"g")
    graph += _field(5, _constant("w", filters[:, None].astype(np.float32)))
    graph += _field(5, _constant("axis", np.array([1], np.int64)))
    graph += _field(11, _value("x", shape)) + _field(12, _value("y", (1, "t", 8)))
    path.write_bytes(_field(1, 8) + _field(8, _field(2, 13)) + _field(7, graph))
    return path


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> SpeechExtractor:
    return SpeechExtractor(write_network(tmp_path_factory.mktemp("net") / "features.onnx"))


@pytest.mark.parametrize("sizes", [[1234], [7 * RATE], [40 * RATE]])
def test_pieces_and_windows_leave_no_seam(extractor: SpeechExtractor, sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    sound = (0.1 * rng.normal(size=26 * RATE)).astype(np.float32)
    pieces, at = [], 0
    while at < len(sound):
        pieces.append(sound[at : at + sizes[len(pieces) % len(sizes)]])
        at += len(pieces[-1])
    found = np.concatenate(list(extractor.hear(pieces)))
    assert found.shape == (26 * 50, 8)
    whole = extractor._window(np.zeros(0, np.float32), sound, np.zeros(0, np.float32))
    assert np.abs(found - whole)[5:-5].max() < 0.05 * whole.std() + 0.02 * np.abs(whole).max()


def test_a_subject_is_learned_from_such_features(extractor: SpeechExtractor) -> None:
    """A mouth that opens with the low voice, which the features hear."""
    rng = np.random.default_rng(1)
    loud = np.repeat(rng.random(80) > 0.5, RATE // 5)
    time = np.arange(len(loud)) / RATE
    sound = (0.3 * np.sin(2 * np.pi * 450 * time) * loud + 1e-3 * rng.normal(size=len(loud))).astype(np.float32)
    own = np.zeros((int(len(sound) / RATE * 25), 52))
    own[:, 17] = 0.5 * loud[(np.arange(len(own)) * RATE // 25)]
    adapter = learn_adapter(sound, own, 25.0, extractor)
    assert adapter.basis.shape[1] == 8
    assert adapter.extractor is extractor


@pytest.mark.parametrize(
    ("change", "message"),
    [({"step": 160}, "no features of speech"), ({"shape": (1, 3, "n")}, "other inputs|load"), ({}, "cannot load")],
)
def test_another_network_is_one_line(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = write_network(tmp_path / "x.onnx", **change)  # type: ignore[arg-type]
    if not change:
        path.write_bytes(b"no network")
    with pytest.raises(StudioError, match=message):
        list(SpeechExtractor(path).hear([np.zeros(RATE, np.float32)]))
    with pytest.raises(StudioError, match="no such file"):
        SpeechExtractor(tmp_path / "nowhere.onnx")
