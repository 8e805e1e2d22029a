"""Results of tasks on disk: a folder with the hashes of its files, there as a whole or not at all.

A result is made beside the others under a hidden name, its files and their folders are flushed to the disk, then it is
renamed; what a power cut leaves is either the whole or a hidden folder that the next driver removes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.folders import write_json

DONE = "done.json"  # in a result: files -> sha256 and bytes, and what it took
LOG = "log.jsonl"  # of a job: one line for each event
WORKERS = "workers.log"  # of a job: what workers say
SCRATCH, _MAKING = ".scratch", ".making"


def path_of(job: Path, name: str, hidden: str = "") -> Path:
    """Where a task's result lies, or its hidden counterpart.

    Hidden folders are siblings of the first part of the name, so that relative paths in what is made stay true.
    """
    return job / f"{hidden}.{name}" if hidden else job / name


@contextmanager
def sealed(job: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields a folder to fill and notes to make; seals and renames it when the block ends well."""
    target = path_of(job, name)
    parent = path_of(job, name, _MAKING)
    parent.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{parent.name}.", dir=parent.parent))
    notes: dict[str, Any] = {}
    try:
        yield temporary, notes
        files = {str(path.relative_to(temporary)): _entry(path) for path in _files_of(temporary)}
        notes["bytes"] = sum(entry["bytes"] for entry in files.values())
        write_json(temporary / DONE, {"files": files, **notes})
        _flush(temporary / DONE)
        for folder in (temporary, *(path for path in temporary.rglob("*") if path.is_dir())):
            _flush(folder)
        temporary.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.replace(target)
        except OSError:  # a worker whose driver was killed has been faster: its result has the same bytes
            if read_result(job, name) is None:
                raise
        _flush(target.parent)
        shutil.rmtree(path_of(job, name, SCRATCH), ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_result(job: Path, name: str, *, verify: bool = False) -> dict[str, Any] | None:
    """What ``done.json`` says of a task, or None where it is not done, a file is missing or has another size.

    Args:
        job: the job folder.
        name: the task.
        verify: also compare the content of every file.
    """
    folder = path_of(job, name)
    try:
        done: dict[str, Any] = json.loads((folder / DONE).read_text())
        for file, entry in done["files"].items():
            if (folder / file).stat().st_size != entry["bytes"]:
                return None
            if verify and sha256(folder / file) != entry["sha256"]:
                return None
        return done
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def files_of(folder: Path) -> list[str]:
    """The names of a result's files, sorted. Raises StudioError when it is missing or damaged."""
    try:
        return sorted(json.loads((folder / DONE).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudioError(f"damaged result: {folder}", got=repr(error), next="studio jobs resume") from error


def read_file(folder: Path, name: str) -> bytes:
    """A file of a result, whole as it was sealed.

    Raises:
        StudioError: the result or the file is missing, or has another content.
    """
    try:
        wanted = json.loads((folder / DONE).read_text())["files"][name]["sha256"]
        data = (folder / name).read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudioError(f"damaged result: {folder / name}", got=repr(error), next="studio jobs resume") from error
    if hashlib.sha256(data).hexdigest() != wanted:
        raise StudioError(f"damaged result: {folder / name}", got="another content", next="studio jobs resume")
    return data


def discard(job: Path, name: str) -> None:
    """Remove a result: it is renamed first, so that nobody meets half of it."""
    folder = path_of(job, name)
    if folder.exists():
        away = Path(tempfile.mkdtemp(prefix=f"{_MAKING}.", dir=job))
        with suppress(OSError):
            folder.replace(away / "old")
        shutil.rmtree(away, ignore_errors=True)


def sweep(job: Path) -> None:
    """Remove what killed workers left half-made, and end a torn line of the log; only for the job's owner."""
    log = job / LOG
    if log.is_file() and log.stat().st_size and not log.read_bytes().endswith(b"\n"):
        with log.open("ab") as stream:
            stream.write(b"\n")
    for folder in job.glob(f"{_MAKING}.*"):
        shutil.rmtree(folder, ignore_errors=True)


def note(job: Path, event: str, **values: Any) -> None:
    """Append a line to the log in one write, so that lines of several processes do not mix."""
    line = json.dumps({"event": event, **values}) + "\n"
    descriptor = os.open(job / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def note_start(job: Path, name: str) -> None:
    """Say in the log that a task begins."""
    note(job, "start", task=name, process=os.getpid())


def read_log(job: Path) -> list[dict[str, Any]]:
    """The events of a job; a line that a power cut has torn is left out."""
    events = []
    with suppress(FileNotFoundError):
        for line in (job / LOG).read_text(errors="replace").splitlines():
            with suppress(ValueError):
                events.append(json.loads(line))
    return events


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream: Any) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _entry(path: Path) -> dict[str, Any]:
    _flush(path)
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _flush(path: Path) -> None:
    """Have the system write a file or the names in a folder to the disk."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
