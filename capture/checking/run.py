"""All checks of a capture, and what they leave on disk."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from capture.checking.evidence import Evidence, gather
from capture.checking.finding import STATES, Finding, State, Verdict
from capture.checking.look import Look
from capture.checking.mistaken import without_mistaken_faces
from capture.checks import Check, checks
from studio.captures import Capture
from studio.errors import StudioError
from studio.folders import write_json

REPORT, PAGE = "check.json", "check.html"


@dataclass(frozen=True)
class CheckConfig:
    """How a capture is checked.

    Args:
        pictures: at most so many are looked at, in three runs of neighbouring frames from every camera.
        track: whose expressions are counted; the first one when not given.
        landmarker: MediaPipe's model bundle; found through ``studio.assets`` when not given.
    """

    pictures: int = 3000
    track: str | None = None
    landmarker: Path | None = None


@dataclass(frozen=True)
class Report:
    """What all checks said, by name and in order."""

    evidence: Evidence
    verdicts: dict[str, tuple[Check, Verdict]]

    @property
    def findings(self) -> list[Finding]:
        return [item for _, verdict in self.verdicts.values() for item in verdict.findings]

    def count(self, state: State) -> int:
        """How many findings are of a state."""
        return sum(item.state == state for item in self.findings)


def check_capture(
    capture: Capture,
    config: CheckConfig | None = None,
    on_verdict: Callable[[Check, Verdict], None] | None = None,
    memory: MutableMapping[str, Look] | None = None,
) -> Report:
    """Look at a capture and ask every check.

    Args:
        capture: opened with ``complete=False``, so that missing files are findings.
        config: see ``CheckConfig``.
        on_verdict: called after each check.
        memory: looks by content, kept between calls on captures that share pictures.

    Raises:
        StudioError: the capture has no timesteps or cameras.
    """
    config = config or CheckConfig()
    if not len(capture) or not len(capture.cameras):
        raise StudioError(f"{capture.folder} is empty", got=f"{len(capture)} timesteps", expected="at least one")
    gathered = gather(capture, config.pictures, config.landmarker, config.track or "", memory)
    evidence = without_mistaken_faces(gathered)
    verdicts = {}
    for name, check in checks().items():
        verdict = check.ask(evidence)
        verdicts[name] = (check, verdict)
        if on_verdict is not None:
            on_verdict(check, verdict)
    return Report(evidence, verdicts)


def write_report(report: Report, out: Path) -> None:
    """Write check.json and check.html into a folder, which is made."""
    from capture.checking.page import page

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / REPORT, as_json(report))
    (out / PAGE).write_text(page(report), encoding="utf-8")


def as_json(report: Report) -> dict[str, Any]:
    """The findings for programs."""
    capture = report.evidence.capture
    return {
        "capture": capture.folder.name,
        "cameras": list(report.evidence.names),
        "timesteps": len(capture),
        "looked_at": [int(timestep) for timestep in report.evidence.timesteps],
        "counts": {state: report.count(state) for state in STATES},
        "checks": {
            name: {
                "title": check.title,
                "state": verdict.state,
                "findings": [asdict(item) for item in verdict.findings],
            }
            for name, (check, verdict) in report.verdicts.items()
        },
    }
