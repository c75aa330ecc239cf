"""What the daemon's own process has around it: its user, its limit of open files, and whether it can read each secret that
the files on disk name now.

A command is run by another user, from another shell: a variable that the unit's `EnvironmentFile=` sets is not there, a file
that root may read the service may not. So `syncd check --env` and `syncd doctor` ask the one who has to work with it.
"""

from __future__ import annotations

import os
import pwd
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anyio import to_thread

from syncd import drivers
from syncd.config import Config, load, main_file
from syncd.errors import ConfigError, SyncdError
from syncd.secrets import Ref, Vault, fingerprint


def references(config: Config, *, embedded: bool = False) -> Iterator[tuple[str, Ref]]:
    """Every secret the configuration names, with the place that names it; `embedded`: whose database has no need of any."""
    if config.database.url is not None and not embedded:
        yield "database.url", config.database.url
    if config.server.admin_token is not None:
        yield "server.admin_token", config.server.admin_token
    for key, ref in (("alerts.url", config.alerts.url), ("alerts.secret", config.alerts.secret)):
        if ref is not None:
            yield key, ref
    if config.secrets.key is not None:
        yield "secrets.key", config.secrets.key
    for name, (partner, integration) in config.integrations.items():
        if not partner.is_enabled(name):
            continue
        for key, credential in integration.credentials.items():
            yield f"{name}.{key}", credential
        for number, secret in enumerate(integration.webhook.secrets if integration.webhook else (), 1):
            yield f"{name}.webhook.{number}", secret


def user_of(uid: int) -> str:
    """A user's name; the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Surroundings:
    """Implements `server.desk_surroundings.SurroundingsDesk`."""

    def __init__(self, directory: Path, environ: Mapping[str, str], *, embedded: bool) -> None:
        self._directory = directory
        self._environ = environ
        self._embedded = embedded

    async def view(self) -> dict[str, Any]:
        """See the desk. Raises ConfigError where the files cannot be read."""
        return {
            "configuration": str(main_file(self._directory).resolve()),
            "pid": os.getpid(),
            "uid": os.geteuid(),
            "user": user_of(os.geteuid()),
            "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "secrets": await to_thread.run_sync(self._secrets),
        }

    def _secrets(self) -> list[dict[str, Any]]:
        """As a reload would find them, by a vault of its own: what the daemon works with is left alone."""
        config = load(self._directory, drivers=drivers.facts(), env=self._environ).config
        if config is None:
            raise ConfigError("the configuration cannot be read", hint="syncd check")
        vault = Vault(config.secrets.directory, self._environ)
        found = []
        for place, ref in references(config, embedded=self._embedded):
            told: dict[str, Any] = {"place": place, "reference": ref.text}
            try:
                found.append({**told, "ok": True, "hash": fingerprint(vault.resolve(ref)), "error": "", "hint": ""})
            except SyncdError as failed:
                found.append({**told, "ok": False, "hash": None, "error": str(failed), "hint": failed.hint})
        return found
