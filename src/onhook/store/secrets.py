"""Secrets: tokens known by their hash alone, and the few that must be read again, kept encrypted."""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Literal

from cryptography.fernet import Fernet, InvalidToken

TokenPrefix = Literal["talq_", "key_"]
"""What a token begins with: `talq_` for TalkOver's dialect, `key_` for Anunzi's and ours."""


class SecretError(ValueError):
    """A secret cannot be read with this key, or the key is not one."""


def new_token(prefix: TokenPrefix) -> str:
    """Return a new token with 192 random bits."""
    return prefix + secrets.token_hex(24)


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token, in hexadecimal; a fast hash does, for a token is random and long."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def same_token(one: str, other: str) -> bool:
    """Compare two tokens in a time that does not tell where they differ."""
    return hmac.compare_digest(hash_token(one), hash_token(other))


class SecretBox:
    """Encrypts what must be read again (trunk passwords, keys that sign), with integrity (Fernet).

    `key` is 32 bytes in URL-safe base64, as `load_or_create_key` returns. Raises `SecretError` otherwise.
    """

    def __init__(self, key: bytes) -> None:
        try:
            self._fernet = Fernet(key)
        except ValueError as error:
            raise SecretError("the secret key must be 32 bytes in URL-safe base64") from error

    def encrypt(self, secret: str) -> str:
        """Return the secret encrypted, as ASCII text; each time another."""
        return self._fernet.encrypt(secret.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """Return the secret. Raises `SecretError` for another key's or damaged text."""
        try:
            return self._fernet.decrypt(encrypted.encode()).decode()
        except InvalidToken as error:
            raise SecretError("this secret was encrypted with another key, or is damaged") from error


def load_or_create_key(path: Path) -> bytes:
    """Return the key in the file at `path`, making a new one (mode 0600, on disk) when there is none.

    Several processes may do this at once: one key wins. Raises OSError, or `SecretError` for a file that
    holds no key; such a file is never replaced, for with it every stored secret would be lost.
    """
    if not path.exists():
        _create_key(path)
    key = path.read_bytes().strip()
    SecretBox(key)
    return key


def _create_key(path: Path) -> None:
    """Put a whole key at `path`, or nothing; leave a key alone that came first."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
