"""Sealing a file with what it is, and telling later whether it is still that.

A C2PA manifest inside the file where the library is there (extra ``provenance``) and knows the format; else, and for
folders, a signed note beside it: JSON with the file's sha256, Ed25519 over its canonical form.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from studio import __version__
from studio.errors import StudioError
from studio.folders import MANIFEST, content_hash, read_manifest, write_json
from studio.provenance.identity import common_name, fingerprint, identity

NOTE = ".provenance.json"  # after the name of the file
_LABEL = "org.head-avatar-studio.synthetic"
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_EMBEDDED = (".mp4", ".mov", ".png", ".jpg", ".jpeg", ".webp")
_MOST_NOTE = 1_000_000  # bytes
_DEEPEST = 3  # folders above a file in which its sealed manifest may lie
State = Literal["intact", "changed", "unsigned"]


@dataclass(frozen=True)
class Claim:
    """What a file says of itself.

    Args:
        statement: that it is synthetic.
        avatar: whose face: names and content hashes of the avatars.
        driven_by: whose motion and voice, likewise.
        consent: of the filmed person, as the capture says.
        licence: of the recording, likewise.
    """

    statement: str
    avatar: Mapping[str, str] = field(default_factory=dict)
    driven_by: Mapping[str, str] = field(default_factory=dict)
    consent: str = "unknown"
    licence: str = "unknown"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Args:
        state: "intact", "changed" (the file or the claim is not what was signed) or "unsigned".
        how: "C2PA manifest" or "signed note".
        claim: what is said, where it can be read.
        signer: name and fingerprint of the certificate.
        detail: what is wrong.
    """

    state: State
    how: str = ""
    claim: Claim | None = None
    signer: str = ""
    detail: str = ""


def seal(path: Path, claim: Claim) -> None:
    """Put the claim into a finished file, or beside it; of a folder, beside its manifest, which has all hashes."""
    if path.suffix.lower() in _EMBEDDED and path.is_file() and _embed(path, claim):
        return
    target, note = _note_of(path)
    who = identity()
    said = {"file": target.name, "sha256": _sha256(target), "claim": asdict(claim), "generator": _generator()}
    signature = who.private.sign(_canonical(said))
    signed = {"signature": base64.b64encode(signature).decode(), "chain": who.chain.decode(), "algorithm": "Ed25519"}
    write_json(note, {**said, **signed})


def sealed(data: bytes, ending: str, claim: Claim) -> bytes:
    """A picture or video with the claim inside, for what is sent and not stored; as it was where nothing can do that.

    Args:
        data: the whole file.
        ending: of its name, such as ".png".
        claim: what it says of itself.
    """
    with TemporaryDirectory(prefix="seal") as folder:
        path = Path(folder) / f"file{ending}"
        path.write_bytes(data)
        return path.read_bytes() if _embed(path, claim) else data


def verify(path: Path) -> Verdict:
    """What a file or folder says of itself, and whether that holds. Raises StudioError when there is no such file.

    A folder holds when every file of its manifest does and no other is there; a file in a sealed folder by that
    folder's manifest.
    """
    if not path.exists():
        raise StudioError(f"no such file: {path}", next="check the path")
    found = _embedded(path) if path.is_file() and path.suffix.lower() in _EMBEDDED else None
    if found is not None:
        return found
    target, note = _note_of(path)
    if note.is_file() and target.is_file():
        verdict = _of_note(target, note)
        return _of_files(verdict, path, None) if path.is_dir() else verdict
    for folder in path.resolve().parents[:_DEEPEST]:
        target, note = _note_of(folder)
        if path.is_file() and note.is_file() and target.is_file():
            return _of_files(_of_note(target, note), folder, path.resolve().relative_to(folder).as_posix())
    return Verdict("unsigned", detail="no C2PA manifest that can be read here, and no signed note beside it")


def _of_files(verdict: Verdict, folder: Path, name: str | None) -> Verdict:
    """The verdict on a folder's manifest, carried over to one of its files, or to all."""
    if verdict.state != "intact":
        return verdict
    try:
        files = read_manifest(folder, kind=None, verify=name is None).files
    except StudioError as error:
        return replace(verdict, state="changed", detail=error.what)
    if name is None:
        own = {MANIFEST, MANIFEST + NOTE}
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - own
        added = sorted(there - files.keys())
        return replace(verdict, state="changed", detail=f"{added[0]} was added") if added else verdict
    if name not in files:
        return Verdict("unsigned", detail="the manifest of its folder does not list it")
    if content_hash(folder / name) != files[name]:
        return replace(verdict, state="changed", detail=f"{name} is not what was signed")
    return verdict


def _note_of(path: Path) -> tuple[Path, Path]:
    target = path / MANIFEST if path.is_dir() else path
    return target, target.with_name(target.name + NOTE)


def _of_note(target: Path, note: Path) -> Verdict:
    how = "signed note"
    try:
        if note.stat().st_size > _MOST_NOTE:
            raise ValueError("too large")
        data = json.loads(note.read_text(encoding="utf-8"))
        certificate = x509.load_pem_x509_certificates(str(data["chain"]).encode())[0]
        key = certificate.public_key()
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("another kind of key")
        said = {name: data[name] for name in ("file", "sha256", "claim", "generator")}
        signature, claim = base64.b64decode(data["signature"]), Claim(**data["claim"])
        signer = f"{common_name(certificate)} ({fingerprint(str(data['chain']).encode())})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return Verdict("changed", how, detail=f"the note is damaged: {error}")
    try:
        key.verify(signature, _canonical(said))
    except InvalidSignature:
        return Verdict("changed", how, claim, signer, "the note is not what was signed")
    if said["sha256"] != _sha256(target):
        return Verdict("changed", how, claim, signer, f"{target.name} is not what was signed")
    return Verdict("intact", how, claim, signer)


def _embed(path: Path, claim: Claim) -> bool:
    """Put a C2PA manifest into the file; False where the library is missing or cannot."""
    try:
        import c2pa
    except ImportError:
        return False
    who = identity()
    action = {
        "action": "c2pa.created",
        "digitalSourceType": _SOURCE,
        "softwareAgent": {"name": "head-avatar-studio", "version": __version__},
    }
    manifest = {
        "claim_generator_info": [{"name": "head-avatar-studio", "version": __version__}],
        "title": path.name,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": _LABEL, "data": asdict(claim)},
        ],
    }
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.sealed{path.suffix}")
    info = c2pa.C2paSignerInfo(b"ed25519", who.chain, who.key, None)
    try:
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest) as builder:
            builder.sign_file(path, temporary, signer)
        temporary.replace(path)
    except c2pa.C2paError:  # a container that the library cannot write: a note does
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _embedded(path: Path) -> Verdict | None:
    """What the C2PA manifest in a file says; None where there is none, or no library to read it."""
    try:
        import c2pa
    except ImportError:
        return None
    try:
        with c2pa.Reader(path) as reader:
            store, state = json.loads(reader.json()), str(reader.get_validation_state())
    except c2pa.C2paError as error:
        if "ManifestNotFound" in str(type(error).__name__) + str(error):
            return None
        return Verdict("changed", "C2PA manifest", detail=str(error).splitlines()[0])
    active = store["manifests"][store["active_manifest"]]
    said = next((a["data"] for a in active.get("assertions", ()) if a.get("label", "").startswith(_LABEL)), None)
    claim = Claim(**said) if isinstance(said, dict) else None
    issuer = active.get("signature_info", {})
    signer = f"{issuer.get('common_name', 'unnamed')} (C2PA, {issuer.get('cert_serial_number', 'no number')})"
    failed = [item["code"] for item in store.get("validation_status", ()) if "untrusted" not in item["code"]]
    if state.lower() == "invalid" and failed:
        return Verdict("changed", "C2PA manifest", claim, signer, ", ".join(failed))
    return Verdict("intact", "C2PA manifest", claim, signer)


def _canonical(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _generator() -> str:
    return f"head-avatar-studio {__version__}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
