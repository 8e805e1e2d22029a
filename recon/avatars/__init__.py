"""Avatar representations: one file each, found by the ``kind`` in the manifest of an avatar folder."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from studio.errors import StudioError
from studio.folders import read_manifest
from studio.media.splats import is_splat_file

if TYPE_CHECKING:
    from studio.avatar import Avatar


def avatar_kinds() -> list[str]:
    """The representations that exist: every module of this package that has a KIND is one."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def load_avatar(folder: Path, kernels: str = "auto", gaussians: int | None = None) -> Avatar:
    """Open an avatar folder of any kind, or a file of 3D Gaussians made by others, ready to render.

    Args:
        folder: made by ``studio train``; it loads alone, without its run or capture. Or a file (.ply, .compressed.ply,
            .sog, .spz), which becomes a static avatar.
        kernels: "auto", "cuda" or "cpu".
        gaussians: its finest level of detail with at most so many, or its coarsest if all have more; all by default.
            Kinds without levels give all.

    Raises:
        StudioError: no such folder, missing or damaged files, or a kind that this version does not know.
    """
    if is_splat_file(folder):
        from recon.imported import load_splats

        return load_splats(folder, kernels)
    manifest = read_manifest(folder, kind="avatar")
    kind = str(manifest.body.get("kind"))
    if kind not in avatar_kinds():
        raise StudioError(f"unknown kind of avatar in {folder}", got=kind, expected=" | ".join(avatar_kinds()))
    avatar: Avatar = import_module(f"recon.avatars.{kind}").load(folder, kernels)
    if gaussians is not None:
        from recon.avatars.splats import SplatAvatar
        from recon.detail import at_level

        return at_level(avatar, gaussians) if isinstance(avatar, SplatAvatar) else avatar
    return avatar
