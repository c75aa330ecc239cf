"""The real daemon as a process: its files written, started, asked, signalled, killed, and its database read back."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import yaml

from tests.whole import warm

SOURCE = Path(__file__).resolve().parents[2] / "src"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


MADE: set[Daemon] = set()
"""All of this test: a fixture ends those that a failed one left running."""


class Daemon:
    """`async with Daemon(folder, database_url, {"plain": {...}}) as daemon:` starts it and waits until it is ready.

    `cold`: by an interpreter of its own, as an operator starts it; otherwise, as commands are, forked from one that has
    everything imported.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        partners: Mapping[str, Mapping[str, Any] | str],
        *,
        main: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cold: bool = False,
    ) -> None:
        self.folder = folder
        self.config = folder / "config"
        self.database_url = database_url
        self.port = free_port()
        self.admin_port = free_port()
        self.env = {
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "SYNCD_TEST_DB": database_url,
            "SYNCD_STATE_DIRECTORY": str(folder / "state"),
            **(env or {}),
        }
        self.cold = cold
        self.process: asyncio.subprocess.Process | warm.Forked | None = None
        MADE.add(self)
        self.log_path = folder / "daemon.log"
        (self.config / "partners").mkdir(parents=True, exist_ok=True)
        (folder / "state").mkdir(exist_ok=True)
        self.write_main(main or {})
        for name, body in partners.items():
            self.write_partner(name, body)

    def write_main(self, more: Mapping[str, Any]) -> None:
        body: dict[str, Any] = {
            "database": {"url": {"env": "SYNCD_TEST_DB"}},
            "server": {"listen": f"127.0.0.1:{self.port}", "admin": f"127.0.0.1:{self.admin_port}"},
            "state_directory": str(self.folder / "state"),
        }
        body.update(more)
        (self.config / "syncd.yaml").write_text(yaml.safe_dump(body))

    def write_partner(self, name: str, body: Mapping[str, Any] | str) -> None:
        text = body if isinstance(body, str) else yaml.safe_dump(dict(body), sort_keys=False)
        (self.config / "partners" / f"{name}.yaml").write_text(text)

    async def __aenter__(self) -> Daemon:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, *, wait: bool = True, seconds: float = 60.0) -> float:
        """Start it; returns seconds until ready. Raises AssertionError with its log when it is not in time."""
        began = time.monotonic()
        words = ("syncd", "run", "--config", str(self.config))
        with self.log_path.open("ab") as log:
            if self.cold or not warm.fits(self.env):
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", *words, stdout=log, stderr=log, env=self.env
                )
            else:
                with Path(os.devnull).open() as nothing:
                    files = {"stdin": nothing.fileno(), "stdout": log.fileno(), "stderr": log.fileno()}
                    self.process = warm.fork(*words, env=self.env, **files)
        if wait:
            await self.until_ready(seconds)
        return time.monotonic() - began

    async def until_ready(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        async with aiohttp.ClientSession() as http:
            while time.monotonic() < deadline:
                if self.process is not None and self.process.returncode is not None:
                    raise AssertionError(f"ended with {self.process.returncode}:\n{self.log()[-4000:]}")
                try:
                    async with http.get(f"http://127.0.0.1:{self.port}/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        raise AssertionError(f"not ready after {seconds} s:\n{self.log()[-4000:]}")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def kill(self) -> None:
        """As the machine's power does: no goodbye."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self, *, seconds: float = 45.0) -> int | None:
        """SIGTERM and wait; returns the exit code."""
        process = self.process
        if process is None:
            return None
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), seconds)
            except TimeoutError:
                process.kill()
                await process.wait()
                raise AssertionError(f"did not stop in {seconds} s:\n{self.log()[-4000:]}") from None
        return process.returncode

    def hup(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    async def get(self, path: str, *, admin: bool = False) -> tuple[int, bytes]:
        port = self.admin_port if admin else self.port
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.read()

    async def post(self, path: str, said: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """A wish to the admin API, `path` below /api/v1/."""
        url = f"http://127.0.0.1:{self.admin_port}/api/v1/{path}"
        async with aiohttp.ClientSession() as http, http.post(url, json=said or {}) as answer:
            found: dict[str, Any] = orjson.loads(await answer.read())
            return answer.status, found

    async def metric(self, sample: str) -> float:
        """One sample of /metrics by its name with its labels as written there; NaN where it is not."""
        _, body = await self.get("/metrics")
        for line in body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return math.nan

    async def integration(self, name: str) -> dict[str, Any]:
        """One integration's part of the status."""
        found: list[dict[str, Any]] = (await self.status())["integrations"]
        return next(one for one in found if one["name"] == name)

    async def status(self) -> dict[str, Any]:
        _, body = await self.get("/api/v1/status", admin=True)
        found: dict[str, Any] = orjson.loads(body)
        return found

    async def cli(self, *words: str, stdin: bytes | None = None, seconds: float = 60.0) -> tuple[int, str, str]:
        """One `syncd` command with this configuration: exit code, stdout, stderr."""
        env = {**self.env, "SYNCD_CONFIG": str(self.config)}
        if warm.fits(env):
            return await self._forked(words, stdin or b"", env, seconds)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "syncd",
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin), seconds)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def _forked(
        self, words: Sequence[str], stdin: bytes, env: Mapping[str, str], seconds: float
    ) -> tuple[int, str, str]:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            files = {"stdin": given.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
            process = warm.fork("syncd", *words, env=env, **files)
            try:
                code = await asyncio.wait_for(process.wait(), seconds)
            except TimeoutError:
                process.kill()
                raise
            for file in (out, err):
                file.seek(0)
            return code, out.read().decode(), err.read().decode()

    async def until(self, what: Any, *, seconds: float = 60.0, every: float = 0.1) -> Any:
        """Wait until `await what()` is true and return it. Raises AssertionError with the log's end when it is not."""
        deadline = time.monotonic() + seconds
        found = None
        while time.monotonic() < deadline:
            if self.process is not None and self.process.returncode is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            found = await what()
            if found:
                return found
            await asyncio.sleep(every)
        raise AssertionError(f"still {found!r} after {seconds} s:\n{self.log()[-6000:]}")


class Rows:
    """The database as another team sees it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    @classmethod
    async def connect(cls, url: str) -> Rows:
        return cls(await asyncpg.connect(url))

    async def aclose(self) -> None:
        await self.connection.close()

    async def live(self, integration: str, resource: str) -> dict[str, dict[str, Any]]:
        """Raw content of every record that is not deleted, by id."""
        rows = await self.connection.fetch(
            "SELECT external_id, raw::text AS raw FROM syncd.records"
            " WHERE integration = $1 AND resource = $2 AND deleted_at IS NULL",
            integration,
            resource,
        )
        return {row["external_id"]: orjson.loads(row["raw"]) for row in rows}

    async def count(self, integration: str, resource: str) -> int:
        return int(
            await self.connection.fetchval(
                "SELECT count(*) FROM syncd.records WHERE integration = $1 AND resource = $2 AND deleted_at IS NULL",
                integration,
                resource,
            )
        )
