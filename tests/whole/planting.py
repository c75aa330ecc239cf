"""Daemons with partners of every kind, and what is planted in them: as it happens in life, at the partner's side, in the
database, on the disk, in a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from syncd.testing.control import Control
from syncd.testing.process import Served, serve
from tests.conftest import _administer, database_url
from tests.whole.conftest import PLAIN, hooked, only, partner
from tests.whole.daemon import Daemon
from tests.whole.plain import KEY, WEBHOOK_SECRET, Plain
from tests.whole.postgres import Cutter
from tests.whole.watching import SECRET, Watch

EVERY = "15s"
OTHER_SECRET = "whsec_" + "c29tZWJvZHkgZWxzZSdzIHNpZ25pbmcga2V5"  # not-a-secret
DISK_BYTES = 96 * 2**20


class World:
    """Four daemons: `main`, whose partners fall ill; `held`, whose tables somebody locks; `far`, to whose database packets
    can be delayed; `full`, whose database lies on a disk of its own."""

    def __init__(self, folder: Path, postgres: str, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._postgres = postgres
        self._stack = stack
        self.served: dict[str, Served] = {}
        self.cutter: Cutter | None = None
        self.daemons: dict[str, Daemon] = {}
        self.disks: dict[str, Path] = {}
        """Small ones, by the daemon that uses it."""
        self.sessions: list[asyncpg.Connection] = []
        """Of somebody else, in the database."""

    async def simulator(self, name: str, port: int = 0, **options: Any) -> Served:
        served = await serve(Plain(**{"things": 60, **options}), port=port)
        self.served[name] = served
        self._stack.push_async_callback(served.aclose)
        return served

    def control(self, name: str) -> Control:
        return Control(self.served[name].url)

    async def database(self, more: str = "") -> str:
        name = f"syncd_trouble_{uuid.uuid4().hex[:12]}"
        await _administer(self._postgres, f"CREATE DATABASE {name} {more}")
        self._stack.push_async_callback(_administer, self._postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        return database_url(self._postgres, name)

    async def daemon(
        self, watch: Watch, name: str, url: str, partners: dict[str, Any], state: Path | None = None
    ) -> Daemon:
        hook = await self._stack.enter_async_context(watch.receiver(name))
        told = {
            "url": {"env": "ALERTS_URL"},
            "secret": {"env": "ALERTS_SECRET"},
            "severities": ["page", "ticket", "note"],
        }
        main: dict[str, Any] = {"alerts": told} | ({"state_directory": str(state)} if state else {})
        env = {"ALERTS_URL": hook, "ALERTS_SECRET": SECRET}
        env |= {"SYNCD_STATE_DIRECTORY": str(state)} if state else {}
        folder = self._folder / name
        folder.mkdir()
        daemon = Daemon(folder, url, partners, main=main, env=env)
        watch.daemons[name] = self.daemons[name] = daemon
        await self._stack.enter_async_context(daemon)
        return daemon

    async def main(self, watch: Watch) -> Daemon:
        """Everybody is polled every quarter of a minute, but `quiet_*`, who are only probed."""
        partners: dict[str, Any] = {}
        for name in ("revoked", "down", "failing", "slow", "renamed", "reloaded"):
            partners[name] = self._polled(await self.simulator(name), name)
        for name in ("quiet_revoked", "quiet_down", "quiet_slow"):
            partners[name] = self._polled(await self.simulator(name), name) | {"resources": only()}
        partners["tight"] = self._tight(await self.simulator("tight", things=300, tiers=["40/10s"]), "40/10s")
        partners["retyped"] = self._polled(await self.simulator("retyped"), "retyped", "things")
        partners["signed"] = await self._hooked("signed")
        daemon = await self.daemon(watch, "main", await self.database(), partners)
        await self.subscribe(daemon, "signed", WEBHOOK_SECRET)
        return daemon

    async def held(self, watch: Watch) -> Daemon:
        daemon = await self.daemon(watch, "held", await self.database(), {"stuck": await self._hooked("stuck")})
        await self.subscribe(daemon, "stuck", WEBHOOK_SECRET)
        return daemon

    async def subscribe(self, daemon: Daemon, name: str, secret: str) -> None:
        """Deliveries of this partner go to the daemon, signed with this secret; no others do."""
        await self.control(name).ask("DELETE", "webhooks")
        await self.control(name).webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/{name}/{name}", secret)

    async def far(self, watch: Watch, postgres_socket: str) -> Daemon:
        self.cutter = await self._stack.enter_async_context(Cutter(postgres_socket))
        at = urlsplit(await self.database())
        url = self.cutter.url(at.username or "", at.path.lstrip("/"))
        state = self.disks["far"] = self._stack.enter_context(disk("16m"))
        partners = {"near": self._polled(await self.simulator("near"), "near")}
        return await self.daemon(watch, "far", url, partners, state)

    async def full(self, watch: Watch) -> Daemon:
        room = self.disks["full"] = self._stack.enter_context(disk(str(DISK_BYTES)))
        name = f"small_{uuid.uuid4().hex[:8]}"
        await _administer(self._postgres, f"CREATE TABLESPACE {name} LOCATION '{place(room, self._postgres)}'")
        self._stack.push_async_callback(_administer, self._postgres, f"DROP TABLESPACE IF EXISTS {name}")
        served = await self.simulator("grown", things=200, size=2000)
        partners = {"grown": self._polled(served, "grown")}
        return await self.daemon(watch, "full", await self.database(f"TABLESPACE {name}"), partners)

    async def _hooked(self, name: str) -> dict[str, Any]:
        served = await self.simulator(name)
        integration = {"credentials": {"api_key": KEY}, "webhook": {"secrets": [WEBHOOK_SECRET]}}
        return hooked(served.base_url, resources=only("things")) | {"integrations": {name: integration}}

    @staticmethod
    def _polled(served: Served, name: str, resource: str = "flow") -> dict[str, Any]:
        settings = {"company": f"{name.title()} Ltd", "credentials": {"api_key": KEY}}
        return partner(served.base_url, resources=only(resource, every=EVERY), integrations={name: settings})

    @staticmethod
    def _tight(served: Served, rate: str) -> dict[str, Any]:
        rest = {**PLAIN, "page_size": 10, "limits": {"tiers": [rate], "share": 1.0}}
        integrations = {"tight": {"credentials": {"api_key": KEY}}}
        return partner(served.base_url, rest=rest, resources=only("flow", every=EVERY), integrations=integrations)


@contextmanager
def disk(size: str) -> Iterator[Path]:
    """A small file system. Raises PermissionError where none may be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-disk-"))
    folder.chmod(0o755)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        folder.rmdir()
        raise PermissionError(done.stderr.decode().strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def place(folder: Path, postgres: str) -> Path:
    """A folder in it that the server may use as a tablespace."""
    socket = Path(parse_qs(urlsplit(postgres).query)["host"][0])
    made = folder / "space"
    made.mkdir(mode=0o700)
    owner = (socket / ".s.PGSQL.5432").stat()
    os.chown(made, owner.st_uid, owner.st_gid)
    return made


def fill(folder: Path) -> None:
    """Leave no room on its disk, by the file `ballast`."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(512))
