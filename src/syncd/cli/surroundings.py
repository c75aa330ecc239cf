"""Whose eyes `check --env` and `doctor` look with: those of the daemon that runs with these files, where one does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from syncd.cli.link import Unreachable
from syncd.cli.output import Failure
from syncd.config import main_file
from syncd.secrets import SecretError
from syncd.surroundings import user_of

if TYPE_CHECKING:
    from syncd.cli.app import App
    from syncd.config import Config

SERVICE_ENVIRONMENT = "/etc/syncd/environment"
"""Where the unit that is shipped has the service's variables from."""
AS_THE_SERVICE = f"systemd-run --wait --pipe -p User=syncd -p EnvironmentFile={SERVICE_ENVIRONMENT}"
"""Before a command: it runs as the service's user, with the service's variables."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the running daemon has around it, or that nobody told."""

    silent: str = ""
    """Why the daemon did not tell; empty: it did."""
    user: str = ""
    uid: int = 0
    descriptors: int = 0
    secrets: Mapping[tuple[str, str], SecretError | None] = field(default_factory=dict)
    """By place and reference: why it cannot be read; None: it can."""
    hashes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """And the short hash of what it is."""

    @property
    def told(self) -> bool:
        return not self.silent

    @property
    def who(self) -> str:
        """Who looked."""
        if self.told:
            return f"by the running daemon (as {self.user})"
        return f"by this command (as {user_of(os.geteuid())}, with its own variables)"

    @property
    def eyes(self) -> str:
        """And why not the daemon."""
        return self.who if self.told else f"{self.who}: {self.silent}"


def theirs(config: Config, seen: Around) -> bool:
    """Does the running daemon know the database's address, and this command none, or another one?"""
    from syncd.cli.load import vault_of
    from syncd.secrets import fingerprint

    url = config.database.url
    if url is None or seen.secrets.get(("database.url", url.text), url) is not None:
        return False
    try:
        return fingerprint(vault_of(config).resolve(url)) != seen.hashes["database.url", url.text]
    except SecretError:
        return True


def around(app: App) -> Around:
    """Ask the daemon. Never raises: nobody there is an answer too."""
    try:
        told = app.link().get("surroundings")
        if told["configuration"] != str(main_file(app.config_directory).resolve()):
            return Around(f"the daemon at this address has other files ({told['configuration']})")
        return Around(
            user=str(told["user"]),
            uid=int(told["uid"]),
            descriptors=int(told["descriptors"]),
            secrets={_key(one): _trouble(one) for one in told["secrets"]},
            hashes={_key(one): str(one["hash"]) for one in told["secrets"]},
        )
    except Unreachable as away:
        return Around("the daemon does not answer" if away.there else "no daemon runs")
    except Failure as failed:
        return Around(f"the daemon does not tell ({failed.why or failed.what})")
    except (SecretError, KeyError, TypeError, ValueError) as failed:
        return Around(f"the daemon cannot be asked ({failed})")


def _key(one: Mapping[str, Any]) -> tuple[str, str]:
    return str(one["place"]), str(one["reference"])


def _trouble(one: Mapping[str, Any]) -> SecretError | None:
    return None if one["ok"] else SecretError(str(one["error"]), hint=str(one["hint"]))
