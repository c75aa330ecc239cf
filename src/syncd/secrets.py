"""Secrets: the type that cannot be printed, the references that name one, the vault that resolves them (R14).

A secret enters the process here and leaves it only by `reveal()`, which the transport, auth and crypto call. Every
Secret made registers its value in `KNOWN`, so the log's redaction knows tokens obtained at run time too. What does not
live here: encrypted storage of run-time credentials (store/sealing.py).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    field_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from syncd.errors import ConfigError
from syncd.redaction import KNOWN

_FILE_BYTES = 64 * 1024
"""No credential is longer; a path to the wrong file should not be slurped."""
_HASH_KEY = os.urandom(16)
REF_HELP = "name where it is kept: {file: partner/name}, {env: NAME} or {credential: name}"


class SecretError(ConfigError):
    """A reference cannot be resolved; `hint` holds the step that helps, such as the chmod to run."""


class Secret:
    """A text nobody sees by accident: str(), format(), pickling and JSON raise, repr() shows nothing of it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        KNOWN.add(value)

    def reveal(self) -> str:
        """The text itself. Only for the transport, auth and crypto, at the moment of use."""
        return self._value

    def __eq__(self, other: object) -> bool:
        """Takes the same time wherever the first difference stands."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_utf8(self._value), _utf8(other._value))

    def __hash__(self) -> int:
        # Keyed by this process alone, so that a printed hash tells nothing.
        return int.from_bytes(hashlib.blake2b(_utf8(self._value), key=_HASH_KEY, digest_size=8).digest(), "big")

    def __repr__(self) -> str:
        return "Secret(****)"

    def _refuse(self) -> NoReturn:
        raise TypeError("a secret has no text of its own: call reveal() where it is sent, and nowhere else")

    def __str__(self) -> str:
        self._refuse()

    def __format__(self, spec: str) -> str:
        self._refuse()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self._refuse()

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)


def _utf8(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def fingerprint(secret: Secret) -> str:
    """Eight hex digits that tell two secrets apart in a log and say nothing else about them."""
    return hashlib.sha256(b"syncd fingerprint\0" + _utf8(secret.reveal())).hexdigest()[:8]


class Ref(BaseModel):
    """Where one secret is kept: exactly one of an environment variable, a file, a systemd credential, or a literal.

    In YAML `{env: NAME}`, `{file: path}`, `{credential: name}`; a bare text is a literal, which `check` warns about.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="An environment variable's name.")
    file: str | None = Field(
        None,
        min_length=1,
        description="A file's path, relative to `secrets.directory` or absolute. Only its owner may read it.",
    )
    credential: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.-]+$", description="The name of a systemd credential (`LoadCredential=`)."
    )
    literal: Secret | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        match value:
            case Ref():
                return value
            case str():
                if not value:
                    raise PydanticCustomError("secret", "the secret is empty", {"help": REF_HELP})
                return {"literal": Secret(value)}
            case dict():
                if isinstance(value.get("literal"), Secret):
                    return value
                if "literal" in value:
                    raise PydanticCustomError("secret", "unknown key 'literal'", {"help": REF_HELP})
                known = [key for key in ("env", "file", "credential") if key in value]
                if len(known) > 1:
                    words = " and ".join(known)
                    raise PydanticCustomError("secret", "{words} name two places", {"words": words, "help": REF_HELP})
                if not value:
                    raise PydanticCustomError("secret", "the reference is empty", {"help": REF_HELP})
                return value
            case bool() | int() | float():
                raise PydanticCustomError(
                    "secret", "a secret is text; this reads as another type", {"help": "put it in quotes"}
                )
        raise PydanticCustomError("secret", "expected a reference to a secret", {"help": REF_HELP})

    @field_serializer("literal")
    def _hide(self, value: Secret | None) -> str | None:
        return None if value is None else "****"

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        def place(name: str) -> dict[str, Any]:
            described = {"type": "string", "description": cls.model_fields[name].description}
            return {
                "type": "object",
                "properties": {name: described},
                "required": [name],
                "additionalProperties": False,
            }

        literal = {
            "type": "string",
            "minLength": 1,
            "description": "The secret itself: a warning, an error under --strict.",
        }
        return {
            "title": "Ref",
            "description": "Where a secret is kept.",
            "anyOf": [place("env"), place("file"), place("credential"), literal],
            "examples": [{"file": "guesty/client_secret"}, {"env": "SYNCD_DATABASE_URL"}, {"credential": "key"}],
        }

    @property
    def text(self) -> str:
        """As written in YAML; a literal shows its fingerprint only."""
        for name in ("env", "file", "credential"):
            if (value := getattr(self, name)) is not None:
                return f"{{{name}: {value}}}"
        return f"literal #{fingerprint(self.literal)}" if self.literal else "nothing"


class Vault:
    """Resolves references. A value is read once and kept until `reload()`, so one run never mixes old and new."""

    def __init__(self, directory: Path | None, env: Mapping[str, str]) -> None:
        self._directory = directory
        self._env = env
        self._held: dict[Ref, Secret] = {}

    def resolve(self, ref: Ref) -> Secret:
        """Raises SecretError, which says what to run, for what is missing, empty or readable by others."""
        held = self._held.get(ref)
        if held is None:
            held = self._held[ref] = self._read(ref)
            KNOWN.pin(held.reveal())
        return held

    def reload(self) -> None:
        """Forget what was read (SIGHUP): the next resolve reads anew. Old values stay known to the log's redaction."""
        self._held.clear()

    def fingerprints(self) -> dict[Ref, str]:
        """Short hashes of everything resolved since the last reload: what a reload compares and logs."""
        return {ref: fingerprint(secret) for ref, secret in self._held.items()}

    def _read(self, ref: Ref) -> Secret:
        if ref.literal is not None:
            return ref.literal
        if ref.env is not None:
            value = self._env.get(ref.env)
            if value is None:
                raise SecretError(
                    f"environment variable {ref.env} is not set",
                    hint=f"set {ref.env} where syncd is started; one that runs sees it after a restart",
                )
            return Secret(_sound(value, f"environment variable {ref.env}"))
        if ref.credential is not None:
            return self._read_credential(ref.credential)
        return self._read_file(self.path(ref))

    def path(self, ref: Ref) -> Path:
        """The file a `{file:}` reference names. Raises SecretError if it is relative to no directory."""
        path = Path(ref.file or "").expanduser()
        if path.is_absolute():
            return path
        if self._directory is None:
            raise SecretError(
                f"{ref.text} is relative, and no secrets directory is configured",
                hint="set secrets: {directory: /etc/syncd/secrets} in syncd.yaml",
            )
        if ".." in path.parts:
            raise SecretError(f"{ref.text} leaves the secrets directory", hint="write an absolute path instead")
        return self._directory / path

    def _read_credential(self, name: str) -> Secret:
        directory = self._env.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise SecretError(
                f"credential {name!r} is wanted, but systemd passed none",
                hint=f"add LoadCredential={name}:/path to the unit, or use {{file:}}",
            )
        # systemd shows the service user's access as group bits (an ACL mask), so only "others" counts here.
        return self._read_file(Path(directory) / name, forbidden=stat.S_IRWXO)

    def _read_file(self, path: Path, forbidden: int = stat.S_IRWXG | stat.S_IRWXO) -> Secret:
        try:
            # Not blocking: a FIFO in place of the file must not hang a reload.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise SecretError(
                f"secret file {path} does not exist", hint=f"install -m 600 /dev/stdin {shlex.quote(str(path))}"
            ) from None
        except OSError as error:
            raise SecretError(
                f"secret file {path} cannot be read: {error.strerror}", hint=f"ls -l {shlex.quote(str(path))}"
            ) from None
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise SecretError(f"secret file {path} is not an ordinary file")
            if mode & forbidden:
                raise SecretError(
                    f"secret file {path} has mode {stat.S_IMODE(mode):04o}: others may read or change it",
                    hint=f"chmod 600 {shlex.quote(str(path))}",
                )
            raw = os.read(descriptor, _FILE_BYTES + 1)
        finally:
            os.close(descriptor)
        if len(raw) > _FILE_BYTES:
            raise SecretError(f"secret file {path} is larger than {_FILE_BYTES // 1024} KiB: is it the right file?")
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise SecretError(f"secret file {path} is not UTF-8 text") from None
        # One line end belongs to the editor, not to the secret; a second one would be the secret's own.
        return Secret(_sound(value.removesuffix("\n").removesuffix("\r"), f"secret file {path}"))


def _sound(value: str, where: str) -> str:
    if not value.strip():
        raise SecretError(f"{where} is empty")
    if "\0" in value:
        raise SecretError(f"{where} holds a NUL byte")
    return value
