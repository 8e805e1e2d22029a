"""``studio check``: what is wrong with a capture, and what to do about it."""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.errors import StudioError
from studio.folders import next_free, require_new

if TYPE_CHECKING:
    from capture.checking.finding import Verdict
    from capture.checks import Check

_COLUMN, _WIDTH = 22, 110


def run(config: Config) -> None:
    """Print a line for each finding and write the report. Raises StudioError when something must be mended."""
    folder, source = config.optional_path("capture"), config.optional_path("source")
    if (folder is None) == (source is None):
        raise StudioError(
            "either a capture or a source is needed",
            got="neither" if folder is None else "both",
            expected="capture=… or source=…",
        )
    out = config.optional_path("out")
    if out is None:
        out = next_free(Path("outputs") / f"check_{_name(folder or source)}")
    require_new(out)
    if folder is not None:
        _check(config, folder, out)
        return
    from studio.cli.verbs.ingest import ingest

    with tempfile.TemporaryDirectory() as temporary:
        _check(config, ingest(source, Path(temporary) / _name(source), config.values["reader"]), out)


def _name(path: Path | None) -> str:
    assert path is not None
    whole = path.resolve()
    return whole.stem if whole.is_file() else f"{whole.parent.name}_{whole.name}".strip("_")


def _check(config: Config, folder: Path, out: Path) -> None:
    from capture.checking.run import PAGE, REPORT, CheckConfig, check_capture, write_report
    from studio.captures import open_capture

    settings = Config({name: config.values[name] for name in ("pictures", "track", "landmarker")}).to(CheckConfig)
    report = check_capture(open_capture(folder, complete=False), settings, _tell)
    write_report(report, out)
    finish(out / PAGE, out / REPORT)
    if report.count("bad"):
        raise StudioError(f"{report.count('bad')} problems found in {folder}", next=f"see {out / PAGE}")


def _tell(check: Check, verdict: Verdict) -> None:
    for item in verdict.findings:
        state = "----" if item.state == "unknown" else item.state
        text = f"{item.found}; {item.advice}" if item.advice else item.found
        first, *more = textwrap.wrap(text, _WIDTH, break_on_hyphens=False)
        print(f"{state:<4}  {check.title:<{_COLUMN}.{_COLUMN}}  {first}", flush=True)
        for line in more:
            print(" " * (_COLUMN + 8) + line, flush=True)
