"""Failures: one line, the right exit code, the traceback kept where it helps."""

import errno
import re

import pytest

from studio.cli import main as entry
from studio.cli import report as reporting
from studio.errors import StudioError


class RustError(Exception):
    """As safetensors raises them: the system's error is text only."""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StudioError("bad", got="x", next="y"), 2, "studio: bad; got x; next: y"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b.png"), 2, "the disk is full at /a/b.png"),
        (OSError(errno.EFBIG, "File too large"), 2, "the disk is full"),
        (RustError("I/O error: No space left on device (os error 28)"), 2, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), 2, "cannot use /a; got Permission denied"),
        (ImportError("libGL.so.1: cannot open shared object file"), 2, "sudo apt install libgl1"),
        (MemoryError("8 TB"), 2, "out of memory"),
        (KeyboardInterrupt(), 130, "continue with: studio train 'capture=a b' resume=true"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_line_and_the_exit_code(error, code, line, capsys, monkeypatch):
    monkeypatch.delenv("STUDIO_DEBUG", raising=False)
    assert reporting.report(error, ["train", "capture=a b"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert len(err.strip().splitlines()) == 1


def test_a_defect_keeps_its_traceback(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reporting, "user_log_path", lambda *_, **__: tmp_path)
    monkeypatch.delenv("STUDIO_DEBUG", raising=False)
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError("oh\nno")
    assert reporting.report(caught.value, ["train", "capture=a"]) == 1
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "a defect: ZeroDivisionError: oh no" in line
    (log,) = tmp_path.iterdir()
    assert str(log) in line
    assert re.search(r"studio train capture=a\n\nTraceback", log.read_text())


def test_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("STUDIO_DEBUG", "1")
    assert reporting.report(StudioError("bad"), ["train"]) == 2
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 0, "usage: studio"),
        (["--help"], 0, "usage: studio"),
        (["--version"], 0, "studio 0"),
        (["info", "-h"], 0, "folder="),
        (["trian"], 2, "got trian; expected train"),
        (["frobnicate"], 2, "expected ingest, check, colour, matte, track, train"),
        (["info", "--folder", "x"], 2, "unknown switch; got --folder"),
        (["info", "folder=nowhere"], 2, "no such folder: nowhere"),
    ],
)
def test_the_command_line(arguments, code, text, capsys):
    assert entry.main(arguments) == code
    out, err = capsys.readouterr()
    assert text in (err if code else out)
    if code:
        assert len(err.strip().splitlines()) == 1
