"""Ed25519 keys (RFC 8032) as PEM files, through the package cryptography."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragguard.errors import InvalidInputError
from ragguard.provenance.canonical import domain

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def generate(private: Path, public: Path) -> str:
    """Make a pair of keys; the file of the private one can be read by its owner alone.

    Args:
        private: The file of the private key, PKCS 8 in PEM, not encrypted.
        public: The file of the public key.

    Returns:
        The public key, in hexadecimal.

    Raises:
        InvalidInputError: If a file is there already or cannot be written, or cryptography is not installed.
    """
    ed25519, serialization = _cryptography()
    key = ed25519.Ed25519PrivateKey.generate()
    private_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public_pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if public.exists():
        raise InvalidInputError(f"{public} is there already; name another file")
    for path, mode, data in ((private, 0o600, private_pem), (public, 0o644, public_pem)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
        except FileExistsError as error:
            raise InvalidInputError(f"{path} is there already; name another file") from error
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be written: {error}") from error
    return public_key(key)


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        InvalidInputError: If it is missing, encrypted, or no Ed25519 key. The message never has what is in the file.
    """
    ed25519, serialization = _cryptography()
    content = _read(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise InvalidInputError(f"the private key {path} is encrypted; give one that is not, with mode 600") from None
    except Exception:
        raise InvalidInputError(f"{path} is no private key in PEM; make one: ragguard keygen {path}") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InvalidInputError(f"{path} is no Ed25519 key; make one: ragguard keygen {path}")
    private_key: Ed25519PrivateKey = key
    return private_key


def load_public(path: Path) -> str:
    """Read a public key; in hexadecimal.

    Raises:
        InvalidInputError: If it is missing, or no Ed25519 key.
    """
    ed25519, serialization = _cryptography()
    content = _read(path)
    try:
        key = serialization.load_pem_public_key(content)
    except Exception:
        raise InvalidInputError(f"{path} is no public key in PEM; ragguard keygen writes it beside the private one") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InvalidInputError(f"{path} is no Ed25519 key")
    return str(key.public_bytes_raw().hex())


def public_key(key: Ed25519PrivateKey) -> str:
    """The public key that belongs to a private one, in hexadecimal."""
    return key.public_key().public_bytes_raw().hex()


def sign(key: Ed25519PrivateKey, head: str) -> str:
    """Sign the hash of a head; in hexadecimal."""
    return key.sign(domain("signature") + bytes.fromhex(head)).hex()


def is_signed(head: str, public: str, signature: str) -> bool:
    """Whether a signature of the hash of a head was made with the private key of this public one.

    Raises:
        InvalidInputError: If cryptography is not installed.
    """
    ed25519, _ = _cryptography()
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), domain("signature") + bytes.fromhex(head))
    except (InvalidSignature, ValueError):
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"the key {path} cannot be read: {error.strerror}") from error


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as missing:
        raise InvalidInputError(
            "signatures need the package cryptography: pip install 'ragguard-defense[provenance]'"
        ) from missing
    return ed25519, serialization
