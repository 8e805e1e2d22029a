"""The key that signs: the user's own, or one made on this machine.

``STUDIO_SIGNING`` names a folder with ``key.pem`` (Ed25519, PKCS 8) and ``chain.pem`` (its certificate, then the
issuers'). Without it a key and a certificate of an authority of this machine are made once: they prove that files come
from one place and were not changed, not who that is.
"""

from __future__ import annotations

import datetime
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from studio.errors import StudioError
from studio.folders import new_folder

KEY, CHAIN = "key.pem", "chain.pem"
_YEARS = 10


@dataclass(frozen=True)
class Identity:
    """A key and the certificates that go with it, PEM."""

    key: bytes
    chain: bytes

    @property
    def private(self) -> Ed25519PrivateKey:
        try:
            loaded = serialization.load_pem_private_key(self.key, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StudioError("the signing key cannot be read", got=error, expected="Ed25519, PEM") from error
        if not isinstance(loaded, Ed25519PrivateKey):
            raise StudioError("the signing key is of another kind", got=type(loaded).__name__, expected="Ed25519")
        return loaded

    @property
    def name(self) -> str:
        """Whom the first certificate names."""
        return common_name(x509.load_pem_x509_certificates(self.chain)[0])


def common_name(certificate: x509.Certificate) -> str:
    """The name in a certificate."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else "unnamed"


def identity() -> Identity:
    """The user's, or this machine's, made at first use. Raises StudioError when a folder that was named lacks it."""
    named = os.environ.get("STUDIO_SIGNING")
    folder = Path(named) if named else _usual_folder()
    if not named and not (folder / KEY).is_file():
        make_identity(folder, f"head avatar studio on {socket.gethostname()}"[:60])
    try:
        return Identity((folder / KEY).read_bytes(), (folder / CHAIN).read_bytes())
    except OSError as error:
        raise StudioError(f"no signing key in {folder}", got=error.strerror, expected=f"{KEY} and {CHAIN}") from error


def make_identity(folder: Path, name: str) -> None:
    """A new key with a certificate by a new authority, whose own key is thrown away."""
    authority, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    root = _certificate(f"{name} (authority)", f"{name} (authority)", authority, authority, is_authority=True)
    leaf = _certificate(name, f"{name} (authority)", key, authority, is_authority=False)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    with new_folder(folder) as temporary:
        (temporary / KEY).touch(mode=0o600)
        (temporary / KEY).write_bytes(pem)
        encoding = serialization.Encoding.PEM
        (temporary / CHAIN).write_bytes(leaf.public_bytes(encoding) + root.public_bytes(encoding))


def _certificate(
    name: str, issuer: str, key: Ed25519PrivateKey, by: Ed25519PrivateKey, *, is_authority: bool
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
    usage = x509.KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False)
    built = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_id, critical=False)
    )
    if not is_authority:  # what C2PA asks of a signer's certificate
        built = built.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return built.sign(by, None)


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "head avatar studio"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def fingerprint(chain: bytes) -> str:
    """sha256 of the signer's certificate, 16 hex digits."""
    return x509.load_pem_x509_certificates(chain)[0].fingerprint(hashes.SHA256()).hex()[:16]


def _usual_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("head-avatar-studio") / "signing"
