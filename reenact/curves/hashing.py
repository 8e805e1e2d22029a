"""A content hash of a file, or of a folder of files that has no manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from studio.folders import content_hash


def source_hash(path: Path) -> str:
    """sha256 (first 16 hex digits) of a file; of a folder, of the names and hashes of the files in it."""
    if path.is_file():
        return content_hash(path)
    digest = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}{content_hash(file)}".encode())
    return digest.hexdigest()[:16]
