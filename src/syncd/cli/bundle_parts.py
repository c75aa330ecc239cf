"""Gathers what goes into `syncd bundle`. What is away leaves its file out, with the reason, and keeps no other from it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import yaml

from syncd import __version__
from syncd.cli.app import App, arun
from syncd.cli.link import Link, Unreachable
from syncd.cli.output import Failure
from syncd.errors import SyncdError
from syncd.redaction import KNOWN, VEIL
from syncd.support.bundle import Part, as_json
from syncd.support.redacted import Pseudonyms, clean, configuration, literals, log_line, sample

if TYPE_CHECKING:
    from syncd.config import Config

T = TypeVar("T")

LOG_LINES = 2000
COMMAND_SECONDS = 120.0
_SECRET_NAMES = ("TOKEN", "SECRET", "PASSWORD", "KEY", "URL")
_OURS = "credentials, persons (mail addresses, long numbers), ids of records"
_NOBODY = frozenset({"", "root", "syncd", "page", "admin API", "SIGHUP", "the configuration", "the partner"})
_LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - names, nothing listens
_ASKED: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("status", "status", {}, "what syncd status shows, with limits and conditions"),
    ("changes", "changes", {"limit": 500}, "what people, reloads and the daemon did lately"),
    ("breakers", "breakers", {}, "every scope's breakers and holds"),
    ("memory", "memory", {}, "memory, what holds it, slow steps of the loop"),
    ("figures", "figures", {"window": "24h"}, "calls, errors, delays and queues of the last day"),
    ("dead-letters", "dlq", {}, "dead letters and rejects by cause, without payloads"),
    ("log-levels", "log-level", {}, "the log's levels"),
)


class Files:
    """The configuration directory, read leniently: a broken file is a reason to look, not to stop."""

    def __init__(self, app: App) -> None:
        directory = app.config_directory
        self.main = directory if directory.is_file() else directory / "syncd.yaml"
        found = sorted((self.main.parent / "partners").glob("*.y*ml"))
        self.read: dict[str, Any] = {}
        self.broken: dict[str, str] = {}
        for path in [self.main, *found]:
            name = path.name if path == self.main else f"partners/{path.name}"
            try:
                self.read[name] = yaml.safe_load(path.read_text("utf-8"))
            except (OSError, ValueError, yaml.YAMLError) as error:
                self.broken[name] = f"it cannot be read: {type(error).__name__}"

    def names(self) -> Mapping[str, list[str]]:
        """What says whose installation it is, by kind."""
        found: dict[str, list[str]] = {"integration": [], "company": [], "host": [platform.node()], "user": []}
        for whole in self.read.values():
            for kind, text in _named(whole):
                found[kind].append(text)
        user = os.environ.get("USER", "")
        found["user"] = [user] if user not in ("", "root", "syncd") else []
        return found


def _named(value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if key == "integrations" and isinstance(item, Mapping):
            yield from (("integration", str(name)) for name in item)
        if key == "company" and isinstance(item, str):
            yield "company", item
        if isinstance(item, str) and "://" in item:
            with suppress(ValueError):  # a broken URL names no host that could be told
                host = urlsplit(item).hostname or ""
                if host not in _LOOPBACK:
                    yield "host", host
        yield from _named(item)


def know_secrets(app: App, files: Files) -> Config | None:
    """Have every secret known that can be: those in files, in the environment, and those the references lead to."""
    for whole in files.read.values():
        for text in literals(whole):
            KNOWN.pin(text)
    for name, text in os.environ.items():
        if any(part in name.upper() for part in _SECRET_NAMES):
            KNOWN.pin(text)
            with suppress(ValueError):
                KNOWN.pin(urlsplit(text).password or "")
    from syncd.cli.load import read_config, vault_of

    try:
        config = read_config(app.config_directory).config
    except (SyncdError, Failure):
        return None
    if config is not None:
        vault = vault_of(config)
        for ref in _references(config):
            with suppress(SyncdError, OSError):
                vault.resolve(ref)
    return config


def _references(value: Any) -> Iterator[Any]:
    from pydantic import BaseModel

    from syncd.secrets import Ref

    if isinstance(value, Ref):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _references(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)


def gathered(app: App, say: Callable[[str], None]) -> tuple[list[Part], Pseudonyms]:
    """All parts, and the other names `--anonymous` gives."""
    files = Files(app)
    config = know_secrets(app, files)
    parts = [
        Part("version.json", "versions of syncd, Python, the system and libraries", "nothing", as_json(_version()))
    ]
    about = "the configuration: structure, references, numbers, hosts"
    without = "every secret, whatever stands under options, headers, params and body, comments"
    for name, whole in files.read.items():
        text = yaml.safe_dump(configuration(whole), sort_keys=False, allow_unicode=True)
        parts.append(Part(f"config/{name}", about, without, text))
    parts += [Part(f"config/{name}", about, without, missing=why) for name, why in files.broken.items()]
    say("asking the daemon")
    link = app.link()
    lost: list[str] = []
    parts += [_asked(link, lost, *each) for each in _ASKED]
    parts += [
        _probed(Link.of(app.config_directory, public=True), lost, *each)
        for each in (("metrics", "txt"), ("health", "json"))
    ]
    say("asking the database")
    parts.append(_database(app, config))
    say("syncd doctor")
    parts.append(_doctor(app))
    parts += _log(link, lost)
    return parts, Pseudonyms(everybody(files.names(), parts))


def everybody(names: Mapping[str, list[str]], parts: Sequence[Part]) -> Mapping[str, list[str]]:
    """The names in files, those of integrations that are in none any more, and of people who did something."""
    told = {
        part.name: json.loads(part.text) for part in parts if part.name in ("status.json", "changes.json") and part.text
    }
    found = {kind: [*known] for kind, known in names.items()}
    for one in told.get("status.json", {}).get("integrations", ()):
        found["integration"].append(str(one.get("name") or ""))
        found["company"].append(str(one.get("company") or ""))
    for one in told.get("changes.json", {}).get("changes", ()):
        found["integration"].append(str(one.get("integration") or ""))
        user, _, host = str(one.get("who") or "").partition("@")
        if user not in _NOBODY:
            found["user"].append(user)
        found["host"].append(host)
    return found


def _version() -> dict[str, Any]:
    libraries = [
        "httpx", "aiohttp", "asyncpg", "pydantic", "orjson", "anyio", "uvloop", "structlog", "cryptography", "click",
    ]  # fmt: skip
    found = {}
    for name in libraries:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {"syncd": __version__, "python": sys.version, "system": platform.platform(), "libraries": found}


def from_daemon(lost: list[str], ask: Callable[[], T]) -> T:
    """What the daemon answers. Raises Failure. One that hangs is waited for once and not for each file: `lost`."""
    if lost:
        raise Failure(lost[0])
    try:
        return ask()
    except Unreachable as error:
        if error.there:
            lost.append(error.what)
        raise


def _asked(link: Link, lost: list[str], name: str, path: str, query: Mapping[str, Any], about: str) -> Part:
    file = f"{name}.json"
    try:
        found = from_daemon(lost, lambda: link.get(path, query, seconds=20.0))
    except Failure as error:
        return Part(file, about, _OURS, missing=": ".join(filter(None, (error.what, error.why))))
    for cause in found.get("causes", ()) if path == "dlq" else ():
        cause.pop("examples", None)
    for one in found.get("changes", ()) if path == "changes" else ():
        wanted = (one.get("after") or {}).get("id")
        if isinstance(wanted, str):  # the id of a record that somebody wanted to have read
            one["after"]["id"], one["text"] = VEIL, one["text"].replace(" ".join(wanted.split()), VEIL)
    return Part(file, about, _OURS, as_json(found))


def _probed(link: Link, lost: list[str], path: str, kind: str) -> Part:
    about = {"metrics": "all metrics, as a scrape sees them", "health": "what /health answers"}[path]
    try:
        status, text = from_daemon(lost, lambda: link.probe(f"/{path}", seconds=20.0))
    except Failure as error:
        return Part(f"{path}.{kind}", about, _OURS, missing=": ".join(filter(None, (error.what, error.why))))
    if status >= 500 and path == "metrics":
        return Part(f"{path}.{kind}", about, _OURS, missing=f"it answered {status}")
    cleaned = "\n".join(map(sample, text.split("\n"))) if path == "metrics" else _as_json(text)
    return Part(f"{path}.{kind}", about, _OURS, cleaned)


def _database(app: App, config: Config | None) -> Part:
    about = "schema version and table sizes"
    if config is None:
        return Part("database.json", about, _OURS, missing="the configuration is not valid: syncd check")

    async def look() -> dict[str, Any]:
        async with app.store(config) as store:
            standing = await store.migrations.status()
            applied = [{"name": each.name, "at": each.applied_at} for each in standing.applied]
            return {"schema": standing.version, "applied": applied, **await store.sizes()}

    try:
        return Part("database.json", about, _OURS, as_json(arun(look())))
    except (SyncdError, Failure, OSError) as error:
        return Part("database.json", about, _OURS, missing=f"the database was not asked: {error}")


def _doctor(app: App) -> Part:
    about = "the checklists of syncd doctor, offline"
    words = [sys.executable, "-m", "syncd", "doctor", "--json", "--offline", "--config", str(app.config_directory)]
    words += ["--embedded"] if app.embedded else []
    words += ["--state-dir", str(app.state_dir)] if app.state_dir is not None else []
    text, missing = _said(words)
    return Part("doctor.json", about, _OURS, _as_json(text), missing)


def _as_json(text: str) -> str:
    try:
        return as_json(json.loads(text))
    except ValueError:
        return clean(text)


def _log(link: Link, lost: list[str]) -> list[Part]:
    about = f"the latest log lines, {LOG_LINES:,} at most"
    parts = []
    try:
        lines = from_daemon(lost, lambda: link.get("log-lines", seconds=20.0))["lines"]
        parts.append(Part("log.txt", "the latest log lines the daemon remembers", _OURS, _lines(lines)))
    except Failure as error:
        parts.append(Part("log.txt", "the latest log lines the daemon remembers", _OURS, missing=error.what))
    journal = shutil.which("journalctl")
    if journal is None or not Path("/run/systemd/system").is_dir():
        parts.append(Part("journal.txt", about, _OURS, missing="no systemd journal here"))
    else:
        words = [journal, "-u", "syncd", "-n", str(LOG_LINES), "--no-pager", "-o", "short-iso"]
        text, missing = _said(words)
        parts.append(Part("journal.txt", about, _OURS, _lines(text.splitlines()), missing))
    return parts


def _lines(found: Sequence[str]) -> str:
    return "".join(log_line(line) + "\n" for line in found)


def _said(words: list[str]) -> tuple[str, str]:
    """What a command printed, or nothing and why."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            words, capture_output=True, text=True, errors="replace", timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"it could not be run: {type(error).__name__}"
    return (done.stdout, "") if done.stdout.strip() else ("", done.stderr.strip()[:500] or "it printed nothing")
