"""What is exported says what it is; what was changed afterwards is found out."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest

from studio.errors import StudioError
from studio.folders import Manifest, write_folder
from studio.media.images import read_image, write_image
from studio.media.video_reader import probe, read_frames
from studio.media.video_writer import VideoWriter
from studio.provenance.identity import CHAIN, KEY, Identity, identity, make_identity
from studio.provenance.seal import NOTE, Claim, seal, sealed, verify

CLAIM = Claim("Synthetic media", {"avatar anna": "12ab"}, {"clip": "34cd"}, "given", "CC BY 4.0")


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "anna.mp4"
    with VideoWriter(path, 25, (64, 48)) as writer:
        for index in range(12):
            writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    return path


@pytest.fixture(params=["C2PA manifest", "signed note"])
def way(request, monkeypatch):
    """With and without the library of C2PA."""
    if request.param == "C2PA manifest":
        pytest.importorskip("c2pa", reason="c2pa-python is not installed")
        return request.param
    real = builtins.__import__

    def without(name, *more, **named):
        if name == "c2pa":
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    return request.param


def test_a_sealed_video_tells_and_still_plays(video, way):
    before = [frame.copy() for frame in read_frames(video)]
    assert verify(video).state == "unsigned"
    seal(video, CLAIM)
    found = verify(video)
    assert (found.state, found.how, found.claim) == ("intact", way, CLAIM)
    assert "the tests" in found.signer
    assert probe(video).frames == 12
    assert all(np.array_equal(a, b) for a, b in zip(before, read_frames(video), strict=True))
    data = bytearray(video.read_bytes())
    data[data.rfind(b"mdat") + 300] ^= 1
    video.write_bytes(data)
    assert verify(video).state == "changed"


def test_a_sealed_picture(tmp_path, way):
    path = tmp_path / "anna.png"
    write_image(path, np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8), "a comment")
    before = read_image(path)
    seal(path, CLAIM)
    assert verify(path).claim == CLAIM
    np.testing.assert_array_equal(read_image(path), before)
    assert b"tEXtComment\0a comment" in path.read_bytes()


def test_what_is_sent_and_not_stored(tmp_path):
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(sealed((tmp_path / "a.png").read_bytes(), ".png", CLAIM))
    assert verify(tmp_path / "b.png").claim == CLAIM
    assert sealed(b"ply", ".ply", CLAIM) == b"ply"  # nothing can be put into it


def test_a_folder_is_sealed_with_all_that_its_manifest_lists(tmp_path):
    with write_folder(tmp_path / "frames", Manifest("video")) as folder:
        (folder / "000000.bin").write_bytes(b"x")
    seal(tmp_path / "frames", CLAIM)
    assert verify(tmp_path / "frames").state == "intact"
    assert verify(tmp_path / "frames/000000.bin").claim == CLAIM
    (tmp_path / "frames/000000.bin").write_bytes(b"y")
    assert verify(tmp_path / "frames").state == verify(tmp_path / "frames/000000.bin").state == "changed"
    (tmp_path / "frames/000000.bin").write_bytes(b"x")
    (tmp_path / "frames/000001.bin").write_bytes(b"x")
    assert verify(tmp_path / "frames").detail == "000001.bin was added"
    assert verify(tmp_path / "frames/000001.bin").state == "unsigned"
    (tmp_path / "frames/000001.bin").unlink()
    manifest = tmp_path / "frames" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("video", "photo"))
    assert verify(tmp_path / "frames").state == "changed"


@pytest.mark.parametrize("change", ["claim", "signature", "json", "chain", "huge"])
def test_a_note_that_was_tampered_with(tmp_path, change):
    path = tmp_path / "curves.csv"
    path.write_text("1,2,3")
    seal(path, CLAIM)
    note = tmp_path / f"curves.csv{NOTE}"
    data = json.loads(note.read_text())
    if change == "claim":
        data["claim"]["consent"] = "not given"
    elif change == "signature":
        data["signature"] = "AAAA" + data["signature"][4:]
    elif change == "chain":
        data["chain"] = "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----"
    note.write_text("{" if change == "json" else json.dumps(data) + (" " * 1_100_000 if change == "huge" else ""))
    assert verify(path).state == "changed"


def test_keys(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_SIGNING", str(tmp_path / "nobody"))
    with pytest.raises(StudioError, match="no signing key"):
        identity()
    make_identity(tmp_path / "mine", "me")
    assert (tmp_path / "mine" / KEY).stat().st_mode & 0o077 == 0
    chain = (tmp_path / "mine" / CHAIN).read_bytes()
    assert Identity((tmp_path / "mine" / KEY).read_bytes(), chain).name == "me"
    with pytest.raises(StudioError, match="cannot be read"):
        _ = Identity(b"no key", chain).private
    with pytest.raises(StudioError, match="no such file"):
        verify(tmp_path / "nothing.mp4")
