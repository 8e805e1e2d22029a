"""Self-describing folders: a manifest in each, written under a temporary name and then renamed.

Nothing here deletes or overwrites what was there before; nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

from studio.errors import StudioError

SCHEMA = 1
MANIFEST = "manifest.json"
_RECORDED_PACKAGES = ("head-avatar-studio", "torch", "numpy", "numba", "gsplat", "mediapipe")


def _versions() -> dict[str, str]:
    installed = {item.name: item.version for item in metadata.distributions() if item.name in _RECORDED_PACKAGES}
    return {"python": platform.python_version(), **installed}


@dataclass(frozen=True)
class Manifest:
    """What a folder says of itself.

    Args:
        kind: "capture", "track", "run", "avatar" or "video".
        code_space: name of the space of the codes inside, if any.
        head_hash: content hash of the head model that the folder depends on, if any.
        kernels: the backend chosen when it was made ("cpu" or "cuda"), if any.
        seed: the random seed, if any.
        parents: folder or file -> content hash, of everything it was made from.
        files: file inside the folder -> content hash; filled in by ``write_folder``.
        licence: terms of the recording, as far as they are known.
        consent: what is known of the filmed person's consent.
        synthetic: True for media made by this program ("synthetic media" provenance).
        body: whatever the kind adds.
    """

    kind: str
    code_space: str | None = None
    head_hash: str | None = None
    kernels: str | None = None
    seed: int | None = None
    parents: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    licence: str = "unknown"
    consent: str = "unknown"
    synthetic: bool = False
    body: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA
    units: str = "metres, radians, pixels"
    axes: str = "world y up; cameras OpenCV (x right, y down, z forward)"
    versions: Mapping[str, str] = field(default_factory=_versions)


def content_hash(path: Path) -> str:
    """sha256 (first 16 hex digits) of a file, or of a folder's manifest, which holds the hashes of its files."""
    path = path / MANIFEST if path.is_dir() else path
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def write_json(path: Path, data: object) -> None:
    """Write JSON under a temporary name and rename it, so that a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_new(folder: Path, *, next: str = "choose another name") -> None:
    """Raise StudioError if ``folder`` exists and holds anything."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudioError(f"{folder} exists already", got="a folder with contents", expected="a new name", next=next)


def next_free(folder: Path) -> Path:
    """``folder`` itself, or the first of folder-2, folder-3, … that does not exist (name-2.mp4 for a file's name)."""
    names = (folder.name if number == 1 else f"{folder.stem}-{number}{folder.suffix}" for number in count(1))
    candidates = (folder.with_name(name) for name in names)
    return next(candidate for candidate in candidates if not candidate.exists())


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder``, renamed to it when the block ends well and removed when it fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # ours, and gone already when it was renamed


@contextmanager
def write_folder(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Make a folder whole or not at all.

    Yields a temporary folder beside ``folder``; when the block ends well, the hashes of its files go into the manifest
    and it is renamed to ``folder``. When the block fails, the temporary folder is removed and nothing else changes.

    Raises:
        StudioError: ``folder`` exists and is not empty.
    """
    require_new(folder)
    with new_folder(folder) as temporary:
        yield temporary
        names = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
        files = {name: content_hash(temporary / name) for name in names}
        write_json(temporary / MANIFEST, dataclasses.asdict(dataclasses.replace(manifest, files=files)))


def read_manifest(folder: Path, *, kind: str | None, verify: bool = False, complete: bool = True) -> Manifest:
    """Read and check the manifest of a folder.

    Args:
        folder: the folder.
        kind: what it must be; None for any kind.
        verify: also compare the hash of every file.
        complete: refuse a folder from which files are missing; without, only the manifest must be there.

    Raises:
        StudioError: no such folder, no or damaged manifest, another kind, a newer schema, missing or changed files.
    """
    named = kind or "studio"
    if not folder.is_dir():
        article = "an" if named[0] in "aeiou" else "a"
        raise StudioError(f"no such folder: {folder}", expected=f"{article} {named} folder", next="check the path")
    path = folder / MANIFEST
    if not path.is_file():
        raise StudioError(
            f"{folder} is not a {named} folder", got=f"no {MANIFEST}", expected=f"a folder made by studio ({named})"
        )
    try:
        data = json.loads(path.read_text())
        known = {item.name for item in dataclasses.fields(Manifest)}
        manifest = Manifest(**{key: value for key, value in data.items() if key in known})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StudioError(
            f"damaged manifest: {path}", got=error, expected="JSON written by studio", next="restore or remake it"
        ) from error
    if kind is not None and manifest.kind != kind:
        raise StudioError(f"{folder} is of another kind", got=manifest.kind, expected=kind, next="check the path")
    if manifest.schema > SCHEMA:
        raise StudioError(
            f"{folder} was made by a newer studio", got=f"schema {manifest.schema}", expected=f"at most {SCHEMA}"
        )
    if complete:
        _check_files(folder, manifest, verify)
    return manifest


def _check_files(folder: Path, manifest: Manifest, verify: bool) -> None:
    listings: dict[str, set[str]] = {}  # asking for each of a capture's many thousand files would take a second
    for name, digest in manifest.files.items():
        if name.startswith("/") or ".." in name.split("/"):
            raise StudioError(f"{folder / MANIFEST} names a file that leads out of the folder", got=repr(name)[:90])
        parent, _, own = name.rpartition("/")
        if parent not in listings:
            listings[parent] = _files_in(folder / parent)
        if own not in listings[parent]:
            raise StudioError(
                f"missing file: {folder / name}", expected="every file of the manifest", next="restore or remake it"
            )
        if verify and content_hash(folder / name) != digest:
            raise StudioError(
                f"damaged file: {folder / name}", got="another content hash", expected=digest, next="restore it"
            )


def _files_in(folder: Path) -> set[str]:
    """Names of the files of a folder; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()
