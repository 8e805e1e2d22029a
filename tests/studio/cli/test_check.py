"""The verbs check and colour as a user calls them."""

import shutil

import pytest

from studio.assets import find_asset


@pytest.mark.skipif(find_asset("face_landmarker") is None, reason="no face landmarker (STUDIO_ASSETS)")
def test_check_writes_its_report_and_says_what_is_wrong(studio, tiny_demo, tmp_path):
    capture = tmp_path / "my capture"
    shutil.copytree(tiny_demo / "capture", capture)
    outcome = studio("check", f"capture={capture}", f"out={tmp_path / 'one'}")
    assert (tmp_path / "one" / "check.html").is_file()
    assert "Calibration file" in outcome.out
    next((capture / "images").glob("*/00003.png")).unlink()
    outcome = studio("check", f"capture={capture}", f"out={tmp_path / 'two'}")
    assert outcome.code == 2
    assert "1 pictures missing" in outcome.out
    assert "problems found" in outcome.line
    outcome = studio("check", f"capture={capture}", f"out={tmp_path / 'two'}")
    assert outcome.code == 2
    assert "exists already" in outcome.line


def test_check_needs_one_thing_to_look_at(studio, tmp_path):
    for settings in ([], [f"capture={tmp_path}", f"source={tmp_path}"]):
        outcome = studio("check", *settings)
        assert outcome.code == 2
        assert "either a capture or a source is needed" in outcome.line
    outcome = studio("check", f"capture={tmp_path / 'nothing'}")
    assert "no such folder" in outcome.line


def test_colour_refuses_what_it_cannot_measure(studio, tiny_demo, tmp_path):
    outcome = studio("colour", f"capture={tiny_demo / 'capture'}", "by=chart", f"out={tmp_path / 'out'}")
    assert outcome.code == 2
    assert "by=chart needs a file" in outcome.line
    assert not (tmp_path / "out").exists()
