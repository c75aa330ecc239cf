"""Secrets at rest: AES-256-GCM, bound to the integration, the kind and the key they were sealed for.

The binding is the cipher's associated data, so a row copied to another integration, or relabelled, does not open. Several
keys may be known at once: the first seals, all open, and `Credentials.reseal` moves rows to the first.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syncd import codec
from syncd.errors import StoreError

_NONCE_BYTES = 12
_KEY_BYTES = 32
_FORMAT = b"syncd1"
_LOST = "put the key back (syncd key rotate --check); where it is lost: syncd key rotate --forget-lost"
HOW_TO_MAKE_A_KEY = "this makes a key: (printf k1:; head -c 32 /dev/urandom | base64) > FILE; chmod 600 FILE"


class SealError(StoreError):
    """A sealed secret cannot be opened with the keys there are. The database was reached: to ask again changes nothing."""


class KeyRing:
    """Keys by id. No representation shows a key."""

    __slots__ = ("_keys", "current")

    def __init__(self, keys: Mapping[str, bytes], current: str | None = None) -> None:
        """`current` seals; without it, the first does. Raises StoreError for an unusable ring."""
        if not keys:
            raise StoreError("the key ring is empty", hint=HOW_TO_MAKE_A_KEY)
        for key_id, key in keys.items():
            if len(key) != _KEY_BYTES:
                raise StoreError(f"key {key_id} has {len(key)} bytes where {_KEY_BYTES} are due")
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.current = current if current is not None else next(iter(keys))
        if self.current not in self._keys:
            raise StoreError(f"the key ring has no key {self.current}")

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    def __reduce__(self) -> str:
        raise TypeError("a key ring does not leave its process")

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Lines of `id:base64 of 32 bytes`, the sealing key first. Blank lines and # comments are skipped."""
        keys: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            key_id, colon, encoded = line.strip().partition(":")
            try:
                if not colon or not key_id:
                    raise ValueError
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except (ValueError, binascii.Error):
                raise StoreError(f"line {number} of the key file is not `id:base64`", hint=HOW_TO_MAKE_A_KEY) from None
        return cls(keys)

    @classmethod
    def load_or_create(cls, path: Path) -> KeyRing:
        """The ring in this file; made where there is none, with mode 0600, for the owner of its directory."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if path.stat().st_mode & 0o077:
                raise StoreError(f"{path} may be read by others", hint=f"chmod 600 {path}") from None
            return cls.parse(path.read_text("ascii"))
        with os.fdopen(handle, "w", encoding="ascii") as file:
            if os.geteuid() == 0:  # `sudo syncd check --live` before the first start: the service must read it too
                owner = path.parent.stat()
                with contextlib.suppress(PermissionError):  # a root that may not give files away
                    os.fchown(handle, owner.st_uid, owner.st_gid)
            file.write(new_key_line())
            file.flush()
            os.fsync(file.fileno())
        return cls.parse(path.read_text("ascii"))

    def seal(self, integration: str, kind: str, value: Mapping[str, str]) -> tuple[str, bytes]:
        """The id of the key used, and the ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        bound = _binding(integration, kind, self.current)
        return self.current, nonce + self._keys[self.current].encrypt(nonce, codec.dumps(dict(value)), bound)

    def open(self, integration: str, kind: str, key_id: str, ciphertext: bytes) -> dict[str, str]:
        """What was sealed. Raises SealError for an unknown key, another's row or a changed one."""
        key = self._keys.get(key_id)
        if key is None:
            raise SealError(
                f"the credential {kind} of {integration} is sealed with key {key_id}, which is not in the key ring",
                hint=_LOST,
            )
        nonce, sealed = ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:]
        try:
            opened = codec.loads(key.decrypt(nonce, sealed, _binding(integration, kind, key_id)))
        except (InvalidTag, ValueError):
            raise SealError(
                f"the credential {kind} of {integration} does not open: it was changed, or belongs to another row",
                hint=_LOST,
            ) from None
        return {str(name): str(each) for name, each in opened.items()}


def new_key_line() -> str:
    """A fresh key as a line of a key file."""
    return f"k{os.urandom(4).hex()}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}\n"


def _binding(integration: str, kind: str, key_id: str) -> bytes:
    """Unambiguous whatever the names contain: each part is preceded by its length."""
    parts = [_FORMAT, integration.encode(), kind.encode(), key_id.encode()]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
