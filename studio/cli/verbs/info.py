"""``studio info``: what a folder is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.cli.config import Config
from studio.folders import MANIFEST, Manifest, read_manifest


def run(config: Config) -> None:
    """Print the manifest of a folder in a few lines, sizes of its files, and the manifests of the folders inside."""
    folder, verify = config.path("folder"), config.flag("verify")
    manifest = read_manifest(folder, kind=None, verify=verify)
    print("\n".join(_describe(folder, manifest, verify)))
    inner = sorted(path.parent for path in folder.rglob(MANIFEST) if path.parent != folder)
    for child in inner:
        if not any(part.startswith(".") for part in child.relative_to(folder).parts):
            read = read_manifest(child, kind=None, verify=verify)
            print(f"holds           {child.relative_to(folder)} ({_kind(read)}, {_size(child)})")


def _describe(folder: Path, manifest: Manifest, verify: bool) -> Iterator[str]:
    checked = "content verified" if verify else "all there; verify=true compares their content"
    yield f"{folder}: {_kind(manifest)}, schema {manifest.schema}"
    yield f"files           {len(manifest.files)} of the manifest, {_size(folder)} ({checked})"
    for name in ("code_space", "head_hash", "kernels", "seed", "units", "axes", "licence", "consent"):
        value = getattr(manifest, name)
        if value is not None:
            yield f"{name:<15} {value}"
    yield f"made with       {', '.join(f'{name} {version}' for name, version in manifest.versions.items())}"
    for parent, digest in manifest.parents.items():
        yield f"made from       {parent} ({digest})"
    for name, value in manifest.body.items():
        yield f"{name:<15} {_short(value)}"


def _kind(manifest: Manifest) -> str:
    return f"synthetic {manifest.kind}" if manifest.synthetic else manifest.kind


def _size(folder: Path) -> str:
    size = float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _short(value: Any) -> str:
    """Long lists by their length, numbers with six digits."""
    if isinstance(value, list) and len(value) > 6:
        return f"{len(value)} entries, {_short(value[0])} … {_short(value[-1])}"
    if isinstance(value, list):
        return ", ".join(_short(item) for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key} {_short(item)}" for key, item in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
