"""Planted secrets of every kind, everything failing, everything at DEBUG: none of them is found anywhere (criterion 9)."""

from __future__ import annotations

import asyncio
import base64
import os
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import pytest

from tests.whole.daemon import Daemon, Rows
from tests.whole.echo import Echo, forms_of

KEY_BYTES = bytes(range(7, 39))
PLANTED = {
    "header_key": "PLANTED-header-key-000001",
    "query_key": "PLANTED-query/key+000002",
    "bearer": "PLANTED-bearer-000003",
    "username": "PLANTED-user-000004",
    "password": "PLANTED-pass/word+&=?-000005",
    "client_id": "PLANTED-client-id-000006",
    "client_secret": "PLANTED-client-secret-000007",
    "refresh": "PLANTED-refresh-000008",
    "other_id": "PLANTED-other-id-000009",
    "other_secret": "PLANTED-other-secret-000010",
    "webhook": "PLANTED-webhook-000011",
    "admin": "PLANTED-admin-token-000012",
    "ring": base64.b64encode(KEY_BYTES).decode(),
}
DATABASE_PASSWORD = "PLANTED-database-000013"
TOKENS = [(f"PLANTED-access-0001{number}", f"PLANTED-rotated-0002{number}") for number in range(6)]
ALL = [*PLANTED.values(), DATABASE_PASSWORD, *(secret for pair in TOKENS for secret in pair)]
JOINED = [
    f"{PLANTED['username']}:{PLANTED['password']}",
    f"{PLANTED['client_id']}:{PLANTED['client_secret']}",
    f"{PLANTED['other_id']}:{PLANTED['other_secret']}",
]
FORMS = {form: secret for secret in [*ALL, *JOINED] for form in forms_of(secret)}

KINDS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "header": ({"kind": "api_key", "header": "X-Key"}, {"api_key": "header_key"}),
    "query": ({"kind": "api_key", "query": "key"}, {"api_key": "query_key"}),
    "bearer": ({"kind": "bearer"}, {"token": "bearer"}),
    "basic": ({"kind": "basic"}, {"username": "username", "password": "password"}),
    "client": (
        {"kind": "oauth2_client", "token_path": "/oauth/token", "client": "basic"},
        {"client_id": "client_id", "client_secret": "client_secret"},
    ),
    "refresh": (
        {"kind": "oauth2_refresh", "token_path": "/oauth/token", "client": "form"},
        {"client_id": "other_id", "client_secret": "other_secret", "refresh_token": "refresh"},
    ),
}


@dataclass
class Seen:
    """Everything anybody may see, by where it was seen."""

    texts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, *texts: str | bytes) -> None:
        self.texts += [(where, text if isinstance(text, str) else text.decode("utf-8", "replace")) for text in texts]

    def leaks(self) -> list[str]:
        found = set()
        for where, text in self.texts:
            for form, secret in FORMS.items():
                if form in text:
                    at = text.index(form)
                    found.add(f"{where}: {secret} as {form}: ...{text[max(at - 80, 0) : at + len(form) + 20]!r}")
        return sorted(found)


def partner_file(name: str, base_url: str) -> dict[str, Any]:
    auth, credentials = KINDS[name]
    return {
        "driver": "rest",
        "base_url": f"{base_url}/{name}/v1",
        "rest": {
            "auth": auth,
            "test": "/me",
            "limits": {"tiers": ["1000/s"], "share": 1.0, "breaker": {"failures": 10_000, "cooldown": "1s"}},
            "resources": {"items": {"path": "/items", "records": "items", "fields": {"n": "n"}}},
        },
        "resources": {"items": {"every": "1s", "strategy": "full"}},
        "integrations": {
            f"i{name}": {
                "credentials": {key: {"file": secret} for key, secret in credentials.items()},
                "webhook": {"secrets": [{"file": "webhook"}]},
            }
        },
    }


@pytest.fixture
async def planted(tmp_path: Path, database: str) -> AsyncIterator[tuple[Daemon, Echo, Echo]]:
    """The daemon with all secrets in files, its log at debug; the partner, and the origin it redirects to."""
    echo, away = Echo(list(TOKENS)), Echo(list(TOKENS))
    base_url = await echo.start()
    echo.away = await away.start()
    directory = tmp_path / "secrets"
    directory.mkdir()
    for name, value in PLANTED.items():
        path = directory / name
        path.touch(mode=0o600)
        path.write_text(f"k1:{value}\n" if name == "ring" else value + "\n")
    parts = urlsplit(database)
    user, _, host = parts.netloc.rpartition("@")
    url = urlunsplit(parts._replace(netloc=f"{user.partition(':')[0] or 'postgres'}:{DATABASE_PASSWORD}@{host}"))
    daemon = Daemon(tmp_path, url, {f"p{name}": partner_file(name, base_url) for name in KINDS}, cold=True)
    daemon.write_main(
        {
            "secrets": {"directory": str(directory), "key": {"file": "ring"}},
            "log": {"level": "debug"},
            "server": {
                "listen": f"127.0.0.1:{daemon.port}",
                "admin": f"127.0.0.1:{daemon.admin_port}",
                "admin_token": {"file": "admin"},
            },
        }
    )
    await daemon.start()
    try:
        yield daemon, echo, away
    finally:
        if daemon.process is not None and daemon.process.returncode is None:
            await daemon.kill()
        await echo.stop()
        await away.stop()


async def admin(daemon: Daemon, method: str, path: str, said: Any = None, *, token: str = PLANTED["admin"]) -> str:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.request(method, f"http://127.0.0.1:{daemon.admin_port}{path}", json=said) as answer,
    ):
        return f"{answer.status} {dict(answer.headers)} {await answer.text()}"


async def dump(rows: Rows) -> list[tuple[str, str]]:
    """Every value of every table, bytes as the text they may be."""
    found = []
    tables = await rows.connection.fetch(
        "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'"
    )
    for table in tables:
        for row in await rows.connection.fetch(f"SELECT * FROM {table['name']}"):
            for column, value in row.items():
                text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                found.append((f"table {table['name']}.{column}", text))
    activity = await rows.connection.fetch("SELECT query, application_name FROM pg_stat_activity")
    return found + [("pg_stat_activity", f"{row['query']} {row['application_name']}") for row in activity]


def process_list() -> list[tuple[str, str]]:
    """What `ps` shows to everybody."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append((str(path), path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")))
        except OSError:
            continue
    return found


async def run_all(daemon: Daemon, seen: Seen, commands: list[tuple[str, ...]], state: str) -> list[int]:
    """The commands, three at a time; their exit codes."""
    turns = asyncio.Semaphore(3)

    async def run(words: tuple[str, ...]) -> int:
        async with turns:
            code, out, err = await daemon.cli(*words, seconds=90)
        seen.add(f"syncd {' '.join(words)} ({state})", out, err)
        return code

    return list(await asyncio.gather(*[run(words) for words in commands]))


async def fail_in_every_way(daemon: Daemon, echo: Echo, seen: Seen) -> None:
    """Each integration meets each failure at least once in a run and once in a credential test."""
    for mode in (
        "ok",
        "500",
        "broken",
        "markup",
        "redirect-home",
        "redirect-away",
        "403",
        "ok",
        "refused",
        "ok",
        "401",
    ):
        if mode == "refused":
            await echo.stop()
        elif echo._runner is None:
            echo.mode = mode
            await echo.start()
        echo.mode = mode
        for name in KINDS:
            seen.add(f"test in {mode}", await admin(daemon, "POST", "/api/v1/test", {"integration": f"i{name}"}))

        async def met(mode: str = mode) -> bool:
            most = 1 if mode == "401" else 2  # a refused credential is not tried again for a while
            return mode == "refused" or all(echo.calls[mode, name] >= most for name in KINDS)

        await daemon.until(met, seconds=20)
        seen.add(f"/health in {mode}", (await daemon.get("/health"))[1])
        seen.add(f"status in {mode}", await admin(daemon, "GET", "/api/v1/status"))
        seen.texts += process_list()


@pytest.mark.timeout(240)
async def test_planted_secrets_are_found_in_no_output_endpoint_table_or_process_list(
    planted: tuple[Daemon, Echo, Echo], rows: Rows, tmp_path: Path
):
    daemon, echo, away = planted
    seen = Seen()

    async def synced() -> bool:
        return await rows.connection.fetchval("SELECT count(*) FROM syncd.records") == 2 * len(KINDS)

    await daemon.until(synced)
    await fail_in_every_way(daemon, echo, seen)
    assert not away.calls, "nothing followed a redirect to a foreign origin with a key in it"

    # Endpoints, wanted and unwanted.
    for path in ("/health", "/ready", "/metrics", "/nowhere", f"/webhooks/pheader/iheader?token={PLANTED['webhook']}"):
        seen.add(path.partition("?")[0], (await daemon.get(path))[1])
    for path in ("status", "names", "progress?wish=1&wish=2&wish=3", "nowhere"):
        seen.add(path, await admin(daemon, "GET", f"/api/v1/{path}"))
    seen.add("wrong token", await admin(daemon, "GET", "/api/v1/status", token=PLANTED["admin"][:-1]))
    said: dict[str, Any] = {"integration": "iheader"}
    for verb in ("sync", "reconcile", "pause", "resume"):
        seen.add(verb, await admin(daemon, "POST", f"/api/v1/{verb}", said))

    # A reload with another secret, a refused one, and a literal one on a line with a mistake.
    secret = tmp_path / "secrets" / "header_key"
    secret.write_text("PLANTED-header-key-000001-rotated\n")
    seen.add("reload", await admin(daemon, "POST", "/api/v1/reload"))
    file = daemon.config / "partners" / "pheader.yaml"
    good = file.read_text()
    file.write_text(good.partition("integrations:")[0] + (
        "integrations:\n"
        f"  iheader: {{credentials: {{api_key: {PLANTED['bearer']}, token: '{PLANTED['password']}'}}, evry: 5}}\n"
    ))  # fmt: skip
    seen.add("reload, literal", await admin(daemon, "POST", "/api/v1/reload"))
    for words in (("check",), ("check", "--json"), ("check", "--format", "github"), ("reload", "--wait")):
        code, out, err = await daemon.cli(*words)
        assert code in (1, 78), out + err
        seen.add(f"syncd {' '.join(words)} (literal)", out, err)
    file.write_text(good)
    secret.write_text(PLANTED["header_key"] + "\n")

    # The command line, with the daemon and without it.
    commands: list[tuple[str, ...]] = [
        ("status", "-v"), ("status", "--json"), ("check", "--env"), ("check", "--live", "--json"),
        ("credential", "list"), ("credential", "list", "--json"), ("dlq", "list"), ("dlq", "list", "--json"),
        ("records", "export", "ibasic/items"), ("sync", "iquery", "--debug"),
        ("evidence", "iquery"), ("evidence", "ibasic", "--json"), ("evidence", "irefresh", "--failed"),
        ("bundle", "--yes", "-o", str(tmp_path / "bundle.tar.gz")),
        *(("credential", "test", f"i{name}", "--debug") for name in ("query", "basic", "refresh")),
    ]  # fmt: skip
    await run_all(daemon, seen, commands, "with the daemon")
    with tarfile.open(tmp_path / "bundle.tar.gz") as bundle:
        for entry in bundle.getmembers():
            content = bundle.extractfile(entry)
            seen.add(f"bundle {entry.name}", b"" if content is None else content.read())
    held = {entry.removeprefix("bundle syncd-bundle/") for entry, text in seen.texts if entry.startswith("bundle ")}
    assert {"status.json", "log.txt", "metrics.txt", "dead-letters.json", "config/partners/pquery.yaml"} <= held
    letters = await rows.connection.fetch("SELECT id FROM syncd.dead_letters LIMIT 3")
    for letter in letters:
        _, out, err = await daemon.cli("dlq", "show", str(letter["id"]))
        seen.add("syncd dlq show", out, err)
    seen.texts += process_list()
    assert await daemon.stop() == 0
    await run_all(daemon, seen, [("credential", "test", "iquery", "--debug"), ("status", "--debug")], "no daemon")
    await run_all(daemon, seen, [("check", "--live", "--debug")], "no daemon")
    # A database that cannot be reached, its password in the URL.
    parts = urlsplit(daemon.database_url)
    daemon.env["SYNCD_TEST_DB"] = f"postgresql://nobody:{DATABASE_PASSWORD}@127.0.0.1:1{parts.path}"
    no_database: list[tuple[str, ...]] = [
        ("dlq", "list", "--debug"),
        ("check", "--env", "--debug"),
        ("migrate", "--debug"),
    ]
    assert 0 not in await run_all(daemon, seen, no_database, "no database")

    log = daemon.log()
    assert '"level":"debug"' in log
    seen.add("log", *log.splitlines())
    seen.texts += await dump(rows)
    state = tmp_path / "state"
    seen.texts += [(str(path), path.read_text(errors="replace")) for path in state.rglob("*") if path.is_file()]

    assert len(letters) > 0, "failures were recorded, so there was something to leak"
    assert any("****" in text for _, text in seen.texts), "something was masked, so the partner did echo"
    assert len(seen.texts) > 500
    leaks = seen.leaks()
    assert leaks == [], f"{len(leaks)} leaks:\n" + "\n".join(leaks[:40])


def test_what_is_looked_for_would_be_found():
    """The search itself: each planted secret, in each form, in the middle of a text."""
    for form in FORMS:
        seen = Seen()
        seen.add("here", f'{{"reason":"x {form} y"}}')
        assert seen.leaks(), form
    assert len(ALL) >= 12
    assert not any(form in os.environ.get("PATH", "") for form in FORMS)
