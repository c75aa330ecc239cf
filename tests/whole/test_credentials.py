"""Credentials in the hands of operators: rotated under a running daemon, refused, rolled back, killed halfway, taken up."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from aiohttp import web

from syncd.clock import SystemClock
from syncd.store import KeyRing, Store
from tests.whole import warm
from tests.whole.daemon import Daemon, Rows
from tests.whole.growing import Growing, growing_partner
from tests.whole.issuer import CLIENT_SECRET, Issuer
from tests.whole.test_tokens import partner

OLD, NEW, NEWER, NEWEST = (f"{word}-api-key-{word * 3}" for word in ("old", "new", "newer", "newest"))


class Watchful(Growing):
    """Counts the calls that try a key, and lets some of them wait."""

    def __init__(self, *keys: str) -> None:
        super().__init__(*keys)
        self.uses: dict[str, int] = {}
        """By key: calls of its test it is still good for."""
        self.held: set[str] = set()
        """Keys whose test gets no answer until they are taken out."""
        self.waiting: set[str] = set()
        self.narrow: set[str] = set()
        """Keys that may read nothing of what is needed."""

    async def _listing(self, request: web.Request) -> web.Response:
        if request.path != "/v1/extras":
            return await super()._listing(request)
        held = [] if request.headers.get("X-Api-Key") in self.narrow else ["items:read"]
        return self._refused(request) or web.json_response({"scopes": held})

    async def _me(self, request: web.Request) -> web.Response:
        key = request.headers.get("X-Api-Key", "")
        while key in self.held:
            self.waiting.add(key)
            await asyncio.sleep(0.02)
        self.waiting.discard(key)
        if key in self.uses:
            self.uses[key] -= 1
            if self.uses[key] < 0:
                return web.json_response({"error": "unknown key"}, status=401)
        return await super()._me(request)


class Command:
    """A command that can be killed in the middle."""

    def __init__(self, daemon: Daemon, *words: str, stdin: str = "") -> None:
        given, log = daemon.folder / "given", daemon.folder / "command.log"
        given.write_text(stdin)
        env = {**daemon.env, "SYNCD_CONFIG": str(daemon.config)}
        with given.open() as read, log.open("ab") as told:
            files = {"stdin": read.fileno(), "stdout": told.fileno(), "stderr": told.fileno()}
            self.process = warm.fork("syncd", *words, env=env, **files)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


class Place:
    """A daemon with one integration whose key is in a file, and its partner."""

    def __init__(self, daemon: Daemon, partner: Watchful, rows: Rows, file: Path) -> None:
        self.daemon, self.partner, self.rows, self.file = daemon, partner, rows, file

    @property
    def beside(self) -> list[str]:
        return sorted(one.name for one in self.file.parent.iterdir() if one != self.file)

    async def run(self, *words: str, stdin: str = "") -> tuple[int, str]:
        code, out, err = await self.daemon.cli("credential", *words, stdin=stdin.encode())
        assert not any(key in out + err for key in (OLD, NEW, NEWER, NEWEST)), "a value was shown"
        return code, out + err

    async def used(self, key: str) -> None:
        """The daemon's runs go on with this key."""
        before = self.partner.shown["/v1/items", key]

        async def more() -> bool:
            return self.partner.shown["/v1/items", key] > before

        await self.daemon.until(more, seconds=20)

    async def audited(self) -> list[str]:
        found = await self.rows.connection.fetch(
            "SELECT action FROM syncd.audit_log WHERE action LIKE 'credential%' ORDER BY id"
        )
        return [each["action"] for each in found]

    async def listed(self) -> dict[str, Any]:
        code, out, _ = await self.daemon.cli("credential", "list", "acme", "--json")
        assert code == 0
        [row] = [one for one in json.loads(out)["credentials"] if one["name"] == "api_key"]
        return dict(row)

    async def waits(self, key: str) -> None:
        async def there() -> bool:
            return key in self.partner.waiting

        await self.daemon.until(there, seconds=20, every=0.02)


@pytest.fixture
async def place(tmp_path: Path, database: str, rows: Rows) -> AsyncIterator[Place]:
    partner = Watchful(OLD)
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    file = folder / "acme_key"
    file.touch(mode=0o600)
    file.write_text(OLD + "\n")
    os.utime(file, (time.time() - 100 * 86_400,) * 2)
    body = growing_partner(await partner.start(), "acme", {"file": "acme_key"})
    asked = {"told": {"path": "/extras", "scopes": "scopes"}, "always": ["items:read"]}
    body["rest"] = {**body["rest"], "scopes": asked}
    daemon = Daemon(tmp_path, database, {"growing": body}, main={"secrets": {"directory": str(folder)}})
    try:
        await daemon.start()
        yield Place(daemon, partner, rows, file)
    finally:
        await daemon.stop()
        await partner.stop()


@pytest.mark.timeout(180)
async def test_a_key_is_rotated_refused_rolled_back_and_taken_up_again_after_kills(place: Place) -> None:
    daemon, partner, file = place.daemon, place.partner, place.file
    await place.used(OLD)
    row = await place.listed()
    assert (row["age_by"], row["source"], row["ends_with"], row["set_by"]) == ("file time", "file", "dold", None)
    assert 99 <= row["age_seconds"] / 86_400 < 101

    async def reminded() -> list[str]:
        found = (await daemon.status())["conditions"]
        return [f"{one['severity']} {one['code']} {one['action']}" for one in found if one["code"] == "credential-old"]

    [told] = await daemon.until(reminded, seconds=20)
    assert told.startswith("note credential-old get a new one from the partner")
    assert await daemon.metric('syncd_credential_age_seconds{credential="api_key",integration="acme"}') > 99 * 86_400

    # Refused when it is tried: nothing is changed.
    code, said = await place.run("rotate", "acme", stdin=NEW)
    assert code == 77, said
    assert "nothing was changed" in said
    assert (file.read_text().strip(), place.beside) == (OLD, [])

    # Partner away: nothing is changed, and it may be tried again.
    port = partner.port
    await partner.stop()
    code, said = await place.run("rotate", "acme", "api_key", stdin=NEW)
    assert code == 75, said
    assert (file.read_text().strip(), place.beside) == (OLD, [])
    partner.port = port
    await partner.start()
    assert (await daemon.cli("breaker", "acme", "reset"))[0] == 0  # it had opened meanwhile
    await place.used(OLD)

    # Taken: it is in force in the daemon, verified by it, and nothing of the old one is left.
    partner.keys = {OLD, NEW}
    code, said = await place.run("rotate", "acme", stdin=NEW)
    assert code == 0, said
    assert "is in force; the daemon was answered with it" in said
    partner.keys = {NEW}
    await place.used(NEW)
    assert (file.read_text().strip(), place.beside, file.stat().st_mode & 0o777) == (NEW, [], 0o600)
    row = await place.listed()
    assert row["age_by"] == "audit log"
    assert row["set_by"]

    # Taken on trial and not by the daemon: rolled back, and the daemon goes on with the old one.
    partner.keys, partner.uses = {NEW, NEWER}, {NEWER: 1}
    code, said = await place.run("rotate", "acme", stdin=NEWER)
    assert code == 77, said
    assert "rolled back" in said
    assert (file.read_text().strip(), place.beside) == (NEW, [])
    await place.used(NEW)
    partner.uses = {}
    assert await place.audited() == ["credential_rotated", "credential_rotation_undone"]

    # One that lacks what is needed changes nothing, unless that is meant; and no window keeps a person from it.
    partner.narrow = {NEWER}
    code, said = await place.run("rotate", "acme", stdin=NEWER)
    assert code == 77, said
    assert "it lacks items:read" in said
    assert (file.read_text().strip(), place.beside) == (NEW, [])
    written = (daemon.config / "partners" / "growing.yaml").read_text()
    began = datetime.now(UTC) - timedelta(minutes=2)
    window = {"cron": f"{began.minute} {began.hour} * * *", "for": "30m", "reason": "they move house"}
    daemon.write_partner("growing", yaml.safe_load(written) | {"maintenance": [window]})
    assert (await daemon.cli("reload", "--wait"))[0] == 0

    async def maintained() -> bool:
        return (await daemon.integration("acme"))["state"] == "paused"

    await daemon.until(maintained, seconds=15)
    listed = partner.calls["/v1/items"]
    code, said = await place.run("rotate", "acme", "--anyway", stdin=NEWER)
    assert code == 0, said
    assert "they move house; this was sent all the same" in said
    assert "missing: items:read" in said
    assert (file.read_text().strip(), place.beside) == (NEWER, [])
    assert partner.calls["/v1/items"] == listed
    daemon.write_partner("growing", written)
    assert (await daemon.cli("reload", "--wait"))[0] == 0
    partner.narrow = set()
    await place.used(NEWER)
    code, said = await place.run("rotate", "acme", stdin=NEW)
    assert code == 0, said
    await place.used(NEW)

    # Killed while it is tried: the old one is in force, and what is left is said and taken up.
    partner.held = {NEWER}
    command = Command(daemon, "credential", "rotate", "acme", stdin=NEWER)
    await place.waits(NEWER)
    await command.kill()
    assert (file.read_text().strip(), place.beside) == (NEW, ["acme_key.new"])
    assert "--resume" in (await place.listed())["left"]
    partner.held = set()
    partner.waiting.clear()
    code, said = await place.run("rotate", "acme", "--resume")
    assert code == 0, said
    assert (file.read_text().strip(), place.beside) == (NEWER, [])
    await place.used(NEWER)

    # Killed while the daemon takes it over: either is in force, and another rotation is not begun over it.
    partner.keys = {NEWER, NEWEST}

    async def cut() -> None:
        """A rotation that is killed while the daemon's reload tries the new one."""
        partner.held = set()
        command = Command(daemon, "credential", "rotate", "acme", stdin=NEWEST)
        while "acme_key.previous" not in place.beside:
            assert command.process.returncode is None, "it ended before it could be cut short"
            if "acme_key.new" in place.beside and partner.shown["/v1/me", NEWEST]:
                partner.held = {NEWEST}
            await asyncio.sleep(0.001)
        await command.kill()
        partner.held = set()

    await cut()
    code, said = await place.run("rotate", "acme", stdin=NEW)
    assert code == 1, said
    assert "is not over" in said
    assert "--undo" in said
    code, said = await place.run("rotate", "acme", "--undo")
    assert code == 0, said
    assert (file.read_text().strip(), place.beside) == (NEWER, [])
    await place.used(NEWER)
    partner.shown.clear()
    await cut()
    code, said = await place.run("rotate", "acme", "--resume")
    assert code == 0, said
    assert (file.read_text().strip(), place.beside) == (NEWEST, [])
    partner.keys = {NEWEST}
    await place.used(NEWEST)

    # Set by hand: not in force until it is reloaded, which is said; then it is.
    partner.keys = {NEWEST, OLD}
    code, said = await place.run("set", "acme", "api_key", stdin=OLD)
    assert code == 0, said
    assert "not in force" in (await place.listed())["state"]
    code, said = await place.run("set", "acme", "api_key", "--reload", stdin=OLD)
    assert code == 0, said
    assert "is in force" in said
    await place.used(OLD)
    assert (await place.audited())[-2:] == ["credential_set", "credential_set"]
    told = str(await place.rows.connection.fetch("SELECT before, after FROM syncd.audit_log"))
    assert not any(key in told + daemon.log() for key in (OLD, NEW, NEWER, NEWEST))


@pytest.mark.timeout(120)
async def test_a_sealing_key_is_rotated_under_a_running_daemon_whatever_is_killed(place: Place, database: str) -> None:
    daemon, keys = place.daemon, place.daemon.folder / "state" / "syncd.key"
    before = KeyRing.load_or_create(keys)
    store = await Store.open(database, clock=SystemClock(), key_ring=before, pool_size=1, migrate=False)
    for number in range(120):
        await store.credentials.put("acme", f"kind {number:03}", {"n": str(number)}, expires_at=None, replaces=None)

    async def rotate(*options: str) -> tuple[int, str]:
        code, out, err = await daemon.cli("key", "rotate", *options)
        secrets = [line.partition(":")[2] for line in keys.read_text().splitlines() if not line.startswith("#")]
        assert not any(one in out + err for one in secrets)
        return code, out + err

    async def in_daemon() -> dict[str, Any]:
        _, body = await daemon.get("/api/v1/keys", admin=True)
        return dict(json.loads(body))

    assert (await rotate("--check"))[0] == 0

    # Killed before the new key seals: it is known, nothing is sealed with it.
    held = await asyncpg.connect(database)
    locked = held.transaction()
    await locked.start()
    await held.execute("LOCK TABLE syncd.leases IN ACCESS EXCLUSIVE MODE")
    command = Command(daemon, "key", "rotate")
    while "# next" not in keys.read_text():
        await asyncio.sleep(0.02)
    while len((await in_daemon())["ids"]) < 2:
        await asyncio.sleep(0.05)
    await command.kill()
    await locked.rollback()
    assert (await in_daemon())["current"] == before.current
    assert await store.credentials.by_key() == {before.current: 120}
    code, said = await rotate("--check")
    assert code == 1
    assert "under way" in said

    # Killed while rows are sealed anew: some are, some are not, and all open.
    locked = held.transaction()
    await locked.start()
    await held.execute("SELECT 1 FROM syncd.credentials WHERE kind = 'kind 070' FOR UPDATE")
    command = Command(daemon, "key", "rotate")
    while len(await store.credentials.by_key()) < 2 or (await store.credentials.by_key())[before.current] > 50:
        await asyncio.sleep(0.02)
    await command.kill()
    await locked.rollback()
    await held.close()
    after = KeyRing.parse(keys.read_text())
    assert after.current != before.current
    rows = await store.credentials.by_key()
    assert sum(rows.values()) == 120
    assert rows[after.current] in (70, 71)  # the server may finish the statement that waited for the lock
    store.credentials.use(after)
    values = [await store.credentials.get("acme", f"kind {number:03}") for number in range(120)]
    assert [one.value["n"] for one in values if one is not None] == [str(number) for number in range(120)]
    assert (await in_daemon())["current"] == after.current
    assert (await rotate("--forget-old"))[0] == 1

    # The same command goes on; then the old key may go.
    code, said = await rotate()
    assert code == 0, said
    assert await store.credentials.by_key() == {after.current: 120}
    code, said = await rotate("--forget-old")
    assert code == 0, said
    assert KeyRing.parse(keys.read_text()).ids == (after.current,)
    assert (await in_daemon())["ids"] == [after.current]
    assert keys.stat().st_mode & 0o777 == 0o600
    await store.aclose()


@pytest.mark.timeout(120)
async def test_a_client_secret_takes_its_tokens_along_and_costs_one_request(
    tmp_path: Path, database: str, rows: Rows
) -> None:
    """With refresh tokens that each use replaces: the chain is never lost, and what the old secret had is forgotten."""
    issuer = Issuer(database, tmp_path / "state" / "syncd.key", "oauth2_refresh")
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    (folder / "client").touch(mode=0o600)
    (folder / "client").write_text(CLIENT_SECRET)
    body = partner("oauth2_refresh", await issuer.start())
    body["integrations"]["acme"]["credentials"]["client_secret"] = {"file": "client"}
    daemon = Daemon(tmp_path, database, {"acme": body}, main={"secrets": {"directory": str(folder)}})

    async def goes_on() -> None:
        before = issuer.calls["ok"]

        async def more() -> bool:
            return issuer.calls["ok"] > before + 1

        await daemon.until(more, seconds=20)

    async def kinds() -> list[str]:
        found = await rows.connection.fetch("SELECT kind FROM syncd.credentials ORDER BY kind")
        return [each["kind"] for each in found]

    try:
        await daemon.start()
        await goes_on()
        before = issuer.token_requests
        code, out, err = await daemon.cli("credential", "rotate", "acme", stdin=b"wrong-secret-000")
        assert code == 77, out + err
        assert (issuer.token_requests, await kinds()) == (before + 1, ["oauth2_refresh"])
        await goes_on()

        # Killed while the token endpoint was asked: the trial's token passes for no other secret, and the chain lives.
        issuer.client_secrets.add("the-client-secret-0002")
        issuer.held_seconds, issuer.asked = 0.5, asyncio.Event()
        command = Command(daemon, "credential", "rotate", "acme", stdin="the-client-secret-0002")
        await asyncio.wait_for(issuer.asked.wait(), 20)
        await command.kill()
        issuer.held_seconds = 0.0

        async def given() -> bool:
            return len(await kinds()) == 2

        await daemon.until(given, seconds=20)
        code, out, err = await daemon.cli("credential", "rotate", "acme", stdin=b"wrong-secret-000")
        assert code == 77, out + err
        assert (issuer.token_requests, await kinds()) == (before + 3, ["oauth2_refresh"])
        issuer.revoke()
        await goes_on()
        assert (issuer.token_requests, issuer.refused_grants) == (before + 4, 2)

        code, out, err = await daemon.cli("credential", "rotate", "acme", stdin=b"the-client-secret-0002")
        assert code == 0, out + err
        assert (issuer.token_requests, await kinds()) == (before + 5, ["oauth2_refresh"])
        issuer.client_secrets = {"the-client-secret-0002"}
        issuer.revoke()
        await goes_on()
        assert issuer.token_requests == before + 6
        assert (issuer.refused_grants, (await daemon.integration("acme"))["state"]) == (2, "healthy")
    finally:
        await daemon.stop()
        await issuer.stop()
