"""Files a user fetches once (face landmarker, head models): where they are looked for, and how they are verified."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from studio.errors import StudioError
from studio.logs import say


@dataclass(frozen=True)
class Asset:
    """One file (or folder, which is never downloaded) outside of the package."""

    file: str
    licence: str
    url: str | None = None
    sha256: str | None = None


ASSETS: Mapping[str, Asset] = {
    "face_landmarker": Asset(
        "face_landmarker.task",
        "Apache-2.0",
        "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    ),
    "ict_facekit": Asset("ict_facekit/ict_facekit_light.npz", "MIT"),
    "flame": Asset("flame/flame2023.pkl", "FLAME's own"),
}


def asset_folders() -> list[Path]:
    """Where assets are looked for, in order: STUDIO_ASSETS, STUDIO_SHARED, ../shared beside the project, the cache."""
    project = Path(__file__).resolve().parents[1]
    shared = os.environ.get("STUDIO_SHARED")
    folders = [
        os.environ.get("STUDIO_ASSETS"),
        Path(shared) / "assets" if shared else None,
        project.parent / "shared" / "assets",
        user_cache_path("head-avatar-studio") / "assets",
    ]
    return [Path(folder) for folder in folders if folder]


def find_asset(name: str) -> Path | None:
    """The path of an asset that is on this machine, or None."""
    candidates = (folder / ASSETS[name].file for folder in asset_folders())
    return next((path for path in candidates if path.exists()), None)


def require_asset(name: str, path: Path | None = None) -> Path:
    """The path of an asset: the one given, one found, or one downloaded into the user's cache and verified.

    Raises:
        StudioError: the given path does not exist, or nothing was found and it cannot be downloaded.
    """
    if path is not None:
        if not path.exists():
            raise StudioError(f"no such file: {path}", expected=ASSETS[name].file, next="check the path")
        return path
    return find_asset(name) or _download(name)


def _download(name: str) -> Path:
    asset = ASSETS[name]
    target = user_cache_path("head-avatar-studio") / "assets" / asset.file
    offline = f"fetch {asset.url or asset.file} once, then set STUDIO_ASSETS to its folder"
    if asset.url is None:
        raise StudioError(f"{asset.file} was not found", expected=f"it in {asset_folders()[0]}", next=offline)
    say(f"downloading {asset.file} ({asset.licence}) …")
    try:
        with urllib.request.urlopen(asset.url, timeout=60) as response:
            data = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise StudioError(f"cannot download {asset.file}", got=error, expected="a connection", next=offline) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != asset.sha256:
        raise StudioError(f"{asset.url} is not what it was", got=digest, expected=asset.sha256, next=offline)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(target)
    return target
