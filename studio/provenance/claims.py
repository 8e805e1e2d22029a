"""What videos, pictures and files of an avatar say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from studio.folders import Manifest, content_hash, read_manifest
from studio.provenance.seal import Claim

RENDERED = "Synthetic media: rendered from a head avatar, not a recording of the person shown."
MODEL = "Synthetic media: a head avatar, not a recording of the person shown."
NOBODY: Mapping[str, str] = MappingProxyType({})


def claim_of(manifest: Manifest) -> Claim:
    """What a rendered video's manifest says of provenance."""
    avatars = {name: value for name, value in manifest.parents.items() if name.split(" ")[0] == "avatar"}
    drivers = {name: value for name, value in manifest.parents.items() if name not in avatars}
    return Claim(RENDERED, avatars, drivers, manifest.consent, manifest.licence)


def claim_about(avatar: Path, driven_by: Mapping[str, str] = NOBODY, statement: str = RENDERED) -> Claim:
    """What shows a stored avatar, with the consent and licence that its capture gave it.

    Args:
        avatar: its folder, or a file of Gaussians made by others, of which nothing is known.
        driven_by: names and content hashes of what it was driven by.
        statement: that it is synthetic.
    """
    origin = origin_of(avatar)
    told = {} if origin is None else {"consent": origin.consent, "licence": origin.licence}
    return Claim(statement, {avatar_name(avatar): content_hash(avatar)}, driven_by, **told)


def avatar_name(folder: Path) -> str:
    """What a video calls the avatar that it was made from."""
    own = folder.resolve()
    return f"avatar {own.parent.name if own.name == 'avatar' else own.name}"


def origin_of(folder: Path) -> Manifest | None:
    """The manifest of an avatar folder; None for files of other programs, which say nothing."""
    return read_manifest(folder, kind="avatar") if folder.is_dir() else None
