"""Serialised files: what Python and torch write is read as data; whatever would run, or take more memory than the file
holds, is refused."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.unpickler import Record, read_serialised

DATA = {
    "flame": {"exp": np.arange(6, dtype=np.float32).reshape(1, 6), "names": ["a", "ü"], "none": None},
    "size": np.array([512, 400]),
    "frame_id": "00001",
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "flags": (True, False, -7, 2**40, 0.5),
    "scalar": np.float32(3.5),
    "ordered": collections.OrderedDict(first=1, second=np.uint8([1, 2])),
}


def check(read):
    assert read["flame"]["names"] == ["a", "ü"]
    assert read["flame"]["none"] is None
    assert read["frame_id"] == "00001"
    assert read["flags"] == DATA["flags"]
    assert read["scalar"] == 3.5
    for name in ("size", "fortran", "big"):
        assert np.array_equal(read[name], DATA[name])
        assert read[name].shape == DATA[name].shape
    assert np.array_equal(read["flame"]["exp"], DATA["flame"]["exp"])
    assert np.array_equal(read["ordered"]["second"], [1, 2])


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol(protocol, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(DATA, protocol=protocol))
    check(read_serialised(path))


def test_what_torch_saves_with_tensors(tmp_path):
    path = tmp_path / "x.frame"
    base = torch.arange(24.0).reshape(4, 6)
    torch.save({**DATA, "transposed": base.T, "part": base[1:3, ::2], "whole": torch.tensor([1, 2])}, path)
    read = read_serialised(path)
    check(read)
    assert np.array_equal(read["transposed"], base.T.numpy())
    assert np.array_equal(read["part"], base[1:3, ::2].numpy())
    assert np.array_equal(read["whole"], [1, 2])


class Runs:
    """Serialised, it is a call of whatever it is given."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("contained", [False, True])
def test_nothing_is_executed(contained, tmp_path):
    path, proof = tmp_path / "x.frame", tmp_path / "proof"
    for call in ((os.system, (f"touch {proof}",)), (eval, (f"open({str(proof)!r}, 'w')",)), (open, (str(proof), "w"))):
        if contained:
            torch.save({"flame": Runs(*call)}, path)
        else:
            path.write_bytes(pickle.dumps({"flame": Runs(*call)}))
        with pytest.raises(StudioError, match="it would have to call something"):
            read_serialised(path)
    assert not proof.exists()


def test_an_unknown_object_is_only_its_fields(tmp_path):
    class Thing:
        """Unknown to the reader."""

    Thing.__qualname__ = "Thing"
    globals()["Thing"] = Thing
    thing = Thing()
    thing.x = np.ones(3)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"j": thing}))
    read = read_serialised(path)["j"]
    assert isinstance(read, Record)
    assert read.name.endswith(".Thing")
    assert np.array_equal(read.state["x"], np.ones(3))


def _huge_array() -> bytes:
    """An array of 2^40 numbers without their bytes."""
    return pickle.dumps(np.zeros(3, np.float64), protocol=4).replace(b"K\x03\x85", b"\x8a\x06\0\0\0\0\0\x01\x85", 1)


def _copies() -> bytes:
    """One long text, encoded to bytes ten thousand times."""
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    call = b"h\x01h\x00h\x02\x86R"
    return b"\x80\x02c_codecs\nencode\nq\x010" + text + b"q\x000X\x06\0\0\0latin1q\x020](" + call * 10_000 + b"e."


def _nested_key() -> bytes:
    """A dictionary's key whose hash takes 2^60 steps."""
    return b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"}h\x00K\x01s."


def _nested_lists() -> bytes:
    return b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b"."


def _memo() -> bytes:
    """A memo index of 2^31."""
    return b"\x80\x02]r\xff\xff\xff\x7f."


@pytest.mark.parametrize("make", [_huge_array, _copies, _nested_key, _nested_lists, _memo])
def test_small_files_cannot_take_much_memory_or_time(make, tmp_path):
    import tracemalloc

    path = tmp_path / "x.pkl"
    path.write_bytes(make())
    tracemalloc.start()
    began = time.process_time()
    if make is _memo:
        assert read_serialised(path) == []
    else:
        with pytest.raises(StudioError):
            read_serialised(path)
    assert time.process_time() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 64e6
    tracemalloc.stop()


def test_damage_is_one_line(tmp_path):
    path = tmp_path / "x.frame"
    with pytest.raises(StudioError, match="no such file"):
        read_serialised(path)
    torch.save(DATA, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StudioError, match=r"x\.frame"):
        read_serialised(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "x")
    with pytest.raises(StudioError, match=r"not a file of torch\.save"):
        read_serialised(path)
