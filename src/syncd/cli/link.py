"""The line to the running daemon: its admin API over TCP or a Unix socket, with the standard library alone.

Only the address and the token are read from the configuration, and leniently: `syncd status` has to work exactly when
the rest of the configuration is broken.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from syncd.cli.exits import Exit
from syncd.cli.output import Failure

if TYPE_CHECKING:
    from http.client import HTTPConnection

DEFAULT_ADMIN = "127.0.0.1:8081"
DEFAULT_LISTEN = "127.0.0.1:8080"
_EXITS = {400: Exit.USAGE, 401: Exit.REFUSED, 403: Exit.REFUSED, 404: Exit.USAGE, 422: Exit.CONFIG, 503: Exit.TRY_LATER}

_CODES = {"credential": Exit.REFUSED}
"""Of errors whose status says less than they do."""


class Unreachable(Failure):
    """Nobody answers."""

    there = False
    """Somebody is there all the same: it took the connection and said nothing, or this user may not ask it."""


class Link:
    def __init__(self, address: str, *, token: str | None = None, said_in: str = "") -> None:
        """`address` as in the configuration; `said_in` names the file it comes from."""
        self.address = address
        self._token = token
        self._said_in = said_in

    @classmethod
    def of(cls, directory: Path, *, public: bool = False) -> Link:
        """The admin (or public) site of the daemon that runs with this configuration directory."""
        file = directory if os.path.isfile(directory) else directory / "syncd.yaml"  # noqa: PTH113 - of no right, too
        found = _read(file)
        server = found.get("server") if isinstance(found.get("server"), dict) else {}
        assert isinstance(server, dict)
        key, default = ("listen", DEFAULT_LISTEN) if public else ("admin", DEFAULT_ADMIN)
        address = os.environ.get(f"SYNCD_{key.upper()}") or server.get(key) or default
        token = None if public else _token(file, found, server.get("admin_token"))
        said_in = f"server.{key} in {file}" if key in server else f"the default; {_why_default(file, key)}"
        return cls(str(address), token=token, said_in=said_in)

    def get(
        self, path: str, query: Mapping[str, Any] | list[tuple[str, Any]] | None = None, *, seconds: float = 10.0
    ) -> dict[str, Any]:
        return self._json("GET", f"/api/v1/{path}" + (f"?{urlencode(query)}" if query else ""), None, seconds)

    def post(self, path: str, said: Mapping[str, Any], *, seconds: float = 30.0) -> dict[str, Any]:
        return self._json("POST", f"/api/v1/{path}", json.dumps(said), seconds)

    def tell(self, path: str, said: Mapping[str, Any]) -> None:
        """Post and do not wait for the answer; the daemon goes on with it."""
        connection = self._open(5.0)
        try:
            connection.request("POST", f"/api/v1/{path}", json.dumps(said), self._headers())
        except OSError as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def deliver(self, path: str, headers: Mapping[str, str], body: bytes, *, seconds: float = 30.0) -> tuple[int, str]:
        """Post a delivery as a partner would, nothing added to it: status and body of the answer."""
        return self._exchange("POST", path, body, {**headers, "Connection": "close"}, seconds)

    def probe(self, path: str, *, seconds: float = 5.0) -> tuple[int, str]:
        """Status and body of a probe."""
        return self._exchange("GET", path, None, self._headers(), seconds)

    def serves_syncd(self, path: str) -> bool:
        """Does a syncd answer there, whatever it says?"""
        from http.client import HTTPException

        connection = self._open(2.0)
        try:
            connection.request("GET", path, headers=self._headers())
            return connection.getresponse().getheader("Server") == "syncd"
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: str | None, seconds: float) -> dict[str, Any]:
        status, text = self._exchange(method, path, body, self._headers(), seconds)
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if status < 400 and isinstance(found, dict):
            return found
        if isinstance(found, dict) and isinstance(found.get("error"), dict):
            error = found["error"]
            if error.get("code") == "token":
                error["hint"] = _about_token(self._token is not None)
            asked = click.get_current_context(silent=True)
            raise Failure(
                f"{asked.command_path if asked is not None else path} failed",  # as it says without a daemon
                str(error.get("message", "")),
                str(error.get("hint", "")),
                exit=_CODES.get(str(error.get("code")), _EXITS.get(status, Exit.FAILURES)),
            )
        raise Failure(
            f"the daemon answered {status} to {method} {path.partition('?')[0]}",
            "it may be of another release than this command" if status in {404, 405} else text[:200],
            "syncd --version; journalctl -u syncd -n 50",
            exit=_EXITS.get(status, Exit.FAILURES) if status != 404 else Exit.FAILURES,
        )

    def _exchange(
        self, method: str, path: str, body: str | bytes | None, headers: Mapping[str, str], seconds: float
    ) -> tuple[int, str]:
        from http.client import HTTPException  # with all it imports, a fifth of what `syncd --help` costs

        connection = self._open(seconds)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _open(self, seconds: float) -> HTTPConnection:
        from http.client import HTTPConnection

        if self.address.startswith("unix:"):
            from syncd.cli.unix_connection import UnixConnection

            return UnixConnection(self.address.removeprefix("unix:"), seconds)
        host, _, port = self.address.rpartition(":")
        host = host.strip("[]")
        if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - an address to call, not to bind
            host = "127.0.0.1"
        try:
            return HTTPConnection(host, int(port), timeout=seconds)
        except ValueError:
            raise Failure(
                f"{self.address!r} is not an address", f"it is {self._said_in}", "syncd check", exit=Exit.CONFIG
            ) from None

    def _headers(self) -> dict[str, str]:
        found = {"Content-Type": "application/json", "X-Syncd-Actor": who(), "Connection": "close"}
        if self._token is not None:
            found["Authorization"] = f"Bearer {self._token}"
        return found

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            why = "it accepted the connection and then said nothing"
            do = "see whether it is stuck: journalctl -u syncd -n 50"
        elif isinstance(error, PermissionError):
            why = "this user may not use its socket"
            do = "as the service's user: sudo -u syncd syncd ...; or join the group syncd"
        else:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            do = "systemctl status syncd; or start one: syncd run"
        why = f"{why} ({self.address} is {self._said_in})" if self._said_in else why
        failure = Unreachable(f"no daemon answers at {self.address}", why, do, exit=Exit.UNREACHABLE)
        failure.there = isinstance(error, TimeoutError | PermissionError)
        return failure


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
    except (OSError, ValueError, yaml.YAMLError):
        return {"server": _glimpsed(file)}
    return found if isinstance(found, dict) else {}


def _about_token(given: bool) -> str:
    """What to do where the daemon wants another token than it was given, or was given none."""
    if os.environ.get("SYNCD_ADMIN_TOKEN"):
        return "SYNCD_ADMIN_TOKEN is not this daemon's token: unset it, or set it to what its server.admin_token names"
    if given:
        return "the token in server.admin_token's place is not what the daemon started with: systemctl restart syncd"
    return (
        "set SYNCD_ADMIN_TOKEN to it; or name the daemon's own configuration, where server.admin_token is: --config DIR"
    )


def _why_default(file: Path, key: str) -> str:
    """Why the address of that file is not known."""
    import yaml

    try:
        yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
    except FileNotFoundError:
        return f"there is no {file}: name another by --config DIR or SYNCD_CONFIG"
    except OSError as error:
        return f"{file} cannot be read by this user: {error.strerror}"
    except (ValueError, yaml.YAMLError):
        return f"{file} is no YAML at present: syncd check"
    return f"server.{key} in {file} changes it"


def _glimpsed(file: Path) -> dict[str, str]:
    """The addresses in a file that is no YAML at present: whoever broke it wants to ask the daemon what it says of it."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return {}
    said = "\n".join(line.partition(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("#"))
    return dict(re.findall(r"\b(listen|admin):[ \t]+[\"']?([^\s,}\"']+)", said))


def _token(file: Path, found: dict[str, Any], ref: Any) -> str | None:
    given = os.environ.get("SYNCD_ADMIN_TOKEN")
    if given or ref is None:
        return given or None
    from syncd.secrets import Ref, Vault

    section = found.get("secrets")
    directory = section.get("directory") if isinstance(section, dict) else None
    base = None if directory is None else file.parent / str(directory)
    return Vault(base, os.environ).resolve(Ref.model_validate(ref)).reveal()


def who() -> str:
    """Who runs this command, for the audit log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
