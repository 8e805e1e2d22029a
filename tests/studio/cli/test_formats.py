"""``studio ingest`` and ``studio export`` of foreign formats, as typed."""

from __future__ import annotations

import json

from studio.captures import open_capture
from tests.contracts.reader_examples import nersemble, vhap


def test_in_with_terms_out_and_in_again(studio, tmp_path):
    example = vhap(tmp_path / "theirs")
    ours, out, back = tmp_path / "ours", tmp_path / "export", tmp_path / "back"
    done = studio("ingest", f"source={example.source}", f"out={ours}", "licence=CC BY 4.0", "consent=signed, 2026")
    assert (done.code, done.out.splitlines()[0]) == (0, f"wrote {ours}")
    manifest = open_capture(ours).manifest
    assert (manifest.licence, manifest.consent) == ("CC BY 4.0", "signed, 2026")
    done = studio("export", f"capture={ours}", "format=nersemble", f"out={out}")
    assert done.code == 0
    assert done.out.splitlines() == [
        f"wrote {out}",
        f"next: studio ingest source={out}/001/sequences/ours reader=nersemble",
    ]
    done = studio("ingest", f"source={out}/001/sequences/ours", "reader=nersemble", f"out={back}", "reader.height=32")
    assert done.code == 0
    capture = open_capture(back)
    assert (capture.cameras.height, capture.fps, len(capture)) == (32, 25.0, 4)
    assert json.loads((out / "studio_capture.json").read_text())["licence"] == "CC BY 4.0"


def test_mistakes_are_one_line(studio, tmp_path):
    example = nersemble(tmp_path / "theirs")
    studio("ingest", f"source={example.source}", f"out={tmp_path / 'ours'}")
    done = studio("export", f"capture={tmp_path / 'ours'}", f"out={tmp_path / 'x'}")
    assert (done.code, "a capture needs a format" in done.line, "format=vhap" in done.line) == (2, True, True)
    done = studio("export", f"capture={tmp_path / 'ours'}", "format=fbx", f"out={tmp_path / 'x'}")
    assert (done.code, "unknown choice of format; got fbx" in done.line) == (2, True)
    done = studio("ingest", f"source={example.source}", "reader=nersemble", "reader.fps=-1", f"out={tmp_path / 'y'}")
    assert (done.code, "fps of the footage" in done.line) == (2, True)
    assert not (tmp_path / "x").exists()
