"""A chain of stages in one output folder: timed, skipped when done, resumable, summed up in summary.json."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from studio.errors import StudioError
from studio.folders import require_new, write_json
from studio.logs import say

JOB, SUMMARY = "job.json", "summary.json"


class Chain:
    """The stages of one job; a context manager that takes its folder away again when nothing came of it.

    Args:
        out: the output folder; everything that the stages make lies in it.
        settings: what decides the result, as plain values; a resumed chain must have the same.
        resume: continue in an existing folder.

    Raises:
        StudioError: the folder exists (without ``resume``), or was begun with other settings.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.out = out
        self._job: dict[str, Any] = {"settings": json.loads(json.dumps(settings)), "stages": {}}
        if resume and (out / JOB).is_file():
            self._job = _continued(out, self._job["settings"])
        else:
            require_new(out, next="choose another name, or resume=true to go on with it")
            out.mkdir(parents=True, exist_ok=True)
            self._note()

    def __enter__(self) -> Chain:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None and [path.name for path in self.out.iterdir()] == [JOB]:
            (self.out / JOB).unlink()
            self.out.rmdir()

    def _note(self) -> None:
        """Keep what is known of the job on disk."""
        try:
            write_json(self.out / JOB, self._job)
        except OSError:
            if not any(self.out.iterdir()):
                self.out.rmdir()
            raise

    def stage(self, name: str, result: Path, make: Callable[[], object], notes: Path | None = None) -> Path:
        """Run a stage unless it is done.

        Args:
            name: what it is called in the summary.
            result: the file or folder that it makes, whole or not at all.
            make: makes it; is called again when an earlier call was interrupted.
            notes: a JSON object that it leaves, for the summary.

        Returns:
            ``result``.
        """
        if name in self._job["stages"] and result.exists():
            say(f"{name}: done already ({result})")
            return result
        say(f"{name} …")
        began = time.perf_counter()
        make()
        took = time.perf_counter() - began
        more = json.loads(notes.read_text()) if notes is not None and notes.exists() else {}
        place = result.relative_to(self.out).as_posix()
        self._job["stages"][name] = {"seconds": round(took, 2), "result": place, **more}
        self._note()
        say(f"{name}: {took:.0f} s")
        return result

    def finish(self, metrics: Mapping[str, Any], files: Mapping[str, Path]) -> Path:
        """Write summary.json: stages with seconds, metrics, files (relative to it), machine."""
        stages = [{"stage": name, **values} for name, values in self._job["stages"].items()]
        summary = {
            "stages": stages,
            "seconds": round(sum(item["seconds"] for item in stages), 2),
            "metrics": metrics,
            "files": {name: os.path.relpath(path, self.out) for name, path in files.items()},
            "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "system": platform.system()},
            "settings": self._job["settings"],
        }
        write_json(self.out / SUMMARY, summary)
        return self.out / SUMMARY


def _continued(out: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The job that was begun in a folder. Raises StudioError when it is damaged or had other settings."""
    try:
        job: dict[str, Any] = json.loads((out / JOB).read_text())
        begun, stages = job["settings"], job["stages"]
        changed = sorted(key for key in {*begun, *settings} if begun.get(key) != settings.get(key))
        dict(stages)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudioError(f"damaged file: {out / JOB}", got=repr(error), next="choose another name for out") from error
    if changed:
        raise StudioError(
            f"{out} was begun with other settings",
            got=f"another {' and '.join(changed)}",
            expected="those it was begun with",
            next="repeat them, or choose another name for out",
        )
    return job
