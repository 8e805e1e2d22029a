"""``studio info``: what a folder or an exported file is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.cli.config import Config
from studio.errors import StudioError
from studio.folders import MANIFEST, Manifest, read_manifest


def run(config: Config) -> None:
    """Print what a folder or a file is."""
    file, folder = config.optional_path("file"), config.optional_path("folder")
    if (file is None) == (folder is None):
        expected = "folder=… or file=…"
        raise StudioError("studio info needs a folder or a file", got="both" if file else "nothing", expected=expected)
    if file is not None:
        _file(file)
    elif folder is not None:
        _folder(folder, config.flag("verify"))


def _file(path: Path) -> None:
    """Print the provenance of an exported file or folder. Raises StudioError where it does not hold."""
    from studio.provenance.seal import verify

    found = verify(path)
    if found.claim is not None:
        print(f"{path}: {found.claim.statement}")
        for name, value in found.claim.avatar.items():
            print(f"made from       {name} ({value})")
        for name, value in found.claim.driven_by.items():
            print(f"driven by       {name} ({value})")
        print(f"consent         {found.claim.consent}\nlicence         {found.claim.licence}")
        print(f"signed by       {found.signer}, {found.how}")
    if found.state == "changed":
        raise StudioError(f"{path} is not what was signed", got=found.detail, next="ask for the file again")
    print(f"{'signature holds' if found.state == 'intact' else f'{path} is unsigned: {found.detail}'}")


def _folder(folder: Path, verify: bool) -> None:
    """Print the manifest of a folder in a few lines, sizes of its files, and the manifests of the folders inside."""
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
