"""Every check finds its fault in a small rig and stays silent about a clean one."""

import json

import numpy as np
import pytest

from benchmarks.check import alarms, is_found
from benchmarks.check_faults import FAULTS, copy_of
from capture.checking.run import CheckConfig, check_capture, write_report
from capture.checks import checks
from studio.assets import find_asset
from studio.captures import open_capture
from studio.errors import StudioError

missing = find_asset("face_landmarker") is None
needs_landmarker = pytest.mark.skipif(missing, reason="no face landmarker (STUDIO_ASSETS)")
WITHOUT_FACES = (
    *("missing frames", "skipped frame numbers", "truncated files", "black frames", "half decoded frames"),
    *("repeated frame", "K of another size", "duplicated camera", "same pose twice", "missing mattes", "matte lost"),
    *("expression never shown", "no sound", "silent sound", "sound too short"),
)
WITH_FACES = (
    *("OpenGL axes", "camera-to-world", "left-handed, Unity", "left-handed world", "z up", "millimetres"),
    *("exposure", "white balance", "matte holes", "head out of frame", "desynchronised", "out of focus"),
)


@pytest.fixture(scope="module")
def memory():
    """Looks at pictures, shared by the tests."""
    return {}


def check(folder, memory, **settings):
    return check_capture(open_capture(folder, complete=False), CheckConfig(**settings), memory=memory)


@pytest.fixture(scope="module")
def clean(little_rig, memory):
    return check(little_rig.folder, memory)


@needs_landmarker
def test_a_clean_rig_raises_no_alarm(clean):
    assert alarms(clean) == [], [item.found for item in clean.findings]
    assert clean.count("bad") == 0
    measured = [name for name, (_, verdict) in clean.verdicts.items() if verdict.state != "unknown"]
    assert len(measured) >= len(checks()) - 1


@needs_landmarker
@pytest.mark.parametrize("name", [*WITHOUT_FACES, *WITH_FACES])
def test_a_fault_is_found(name, little_rig, memory, tmp_path):
    fault = FAULTS[name]
    named = fault.make(copy_of(little_rig.folder, tmp_path / "faulty"), np.random.default_rng(5))
    report = check(tmp_path / "faulty", memory)
    assert is_found(report, fault, named), [item.found for item in report.findings]


def test_every_fault_of_the_benchmark_leaves_the_original_alone(little_rig, tmp_path):
    before = {path: path.read_bytes() for path in little_rig.folder.rglob("*") if path.is_file()}
    for name in ("repeated frame", "swapped cameras", "desynchronised", "exposure", "no sound"):
        FAULTS[name].make(copy_of(little_rig.folder, tmp_path / name), np.random.default_rng(0))
    assert {path: path.read_bytes() for path in before} == before


@needs_landmarker
def test_the_report_is_whole_and_needs_nothing_else(clean, tmp_path):
    write_report(clean, tmp_path / "report")
    data = json.loads((tmp_path / "report" / "check.json").read_text())
    assert list(data["checks"]) == list(checks())
    assert sum(data["counts"].values()) == len(clean.findings)
    text = (tmp_path / "report" / "check.html").read_text(encoding="utf-8")
    for check_ in checks().values():
        assert check_.title in text
    assert "data:image/jpeg;base64," in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text


def test_without_a_landmarker_faces_are_not_measured_instead_of_failing(little_rig, tmp_path):
    report = check(little_rig.folder, {}, landmarker=tmp_path / "nothing.task", pictures=40)
    states = {name: verdict.state for name, (_, verdict) in report.verdicts.items()}
    assert states["conventions"] == states["exposure"] == "unknown"
    assert states["pictures"] == states["calibration"] == "ok"
    assert report.count("bad") == 0


@needs_landmarker
def test_photos_without_a_face_pass(shared, tmp_path):
    """A sculpted head: no face is found, and the calibration is judged by features of the pictures."""
    from capture.readers.calibrated_photos import READER

    source = tmp_path / "few"
    (source / "images").mkdir(parents=True)
    data = json.loads((shared / "data" / "buddha" / "cameras.json").read_text())
    data["frames"] = data["frames"][:5]
    for frame in data["frames"]:
        (source / frame["file"]).write_bytes((shared / "data" / "buddha" / frame["file"]).read_bytes())
    (source / "cameras.json").write_text(json.dumps(data))
    report = check(READER.read(source, tmp_path / "capture", READER.settings()), {})
    assert report.count("bad") == 0
    text = " ".join(item.found for item in report.findings)
    assert "no face found" in text


def test_an_empty_capture_is_refused(little_rig, tmp_path):
    copy = copy_of(little_rig.folder, tmp_path / "copy")
    manifest = json.loads((copy.folder / "manifest.json").read_text())
    manifest["body"]["timestep_ids"] = []
    (copy.folder / "manifest.json").unlink()
    (copy.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StudioError):
        check(copy.folder, {})
