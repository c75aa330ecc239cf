"""A configuration directory, a command runner, and a daemon's HTTP side in a thread with an engine that plays along."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result

from syncd.cli.root import cli
from syncd.clock import SystemClock
from syncd.config import ServerConfig
from syncd.secrets import Secret
from syncd.server.app import Server
from tests.server.fakes import FakeStatus

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SYNCD_CONFIG", "SYNCD_ADMIN", "SYNCD_LISTEN", "SYNCD_ADMIN_TOKEN", "FORCE_COLOR", "SYNCD_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def run() -> Run:
    """`run("status", "--json")`: the finished command, stdout and stderr apart."""

    def invoke(*words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words], input=stdin)

    return invoke


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """From here on a command's sleeps take no time; after so many of them somebody presses Ctrl-C."""

    def begin(*, interrupt_after: int | None = None) -> list[float]:
        slept: list[float] = []

        class Hurried(SystemClock):
            def monotonic(self) -> float:
                return super().monotonic() + sum(slept)

            async def sleep(self, seconds: float) -> None:
                slept.append(seconds)
                if interrupt_after is not None and len(slept) >= interrupt_after:
                    raise KeyboardInterrupt

        monkeypatch.setattr("syncd.clock.SystemClock", Hurried)
        return slept

    return begin


PARTNER = """\
driver: rest
rest:
  auth: {kind: api_key, header: X-Api-Key}
  test: {path: /me}
  resources:
    customers: {path: /customers, records: data, id: id, pages: {kind: none}, fields: {name: name}}
integrations:
  shop:
    base_url: http://127.0.0.1:9/v1
    credentials: {api_key: %s}
"""


def partner(reference: str) -> str:
    """The file of a partner that needs no driver of its own."""
    return PARTNER % reference


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A sound configuration of one partner with one integration; its addresses lead nowhere."""
    found = tmp_path / "config"
    (found / "partners").mkdir(parents=True)
    (found / "secrets").mkdir(mode=0o700)
    (found / "syncd.yaml").write_text(
        "database: {url: {env: SYNCD_TEST_CLI_DATABASE}}\n"
        "server: {listen: '127.0.0.1:9', admin: '127.0.0.1:10'}\n"
        "secrets: {directory: secrets}\n"
    )
    (found / "partners" / "plain.yaml").write_text(partner("{file: shop/key}"))
    return found


class Stage:
    """The running site: what the engine answers is set here, where it listens is read here."""

    def __init__(self, status: FakeStatus, server: Server) -> None:
        self.status = status
        self.server = server


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[..., Stage]]:
    """Start a daemon's sites in a thread; the configuration directory is told where they listen."""
    ends: list[Callable[[], None]] = []

    def begin(*, token: str | None = None, admin: str = "127.0.0.2:0") -> Stage:
        status = FakeStatus()
        config = ServerConfig(listen="127.0.0.1:0", admin=admin)  # type: ignore[arg-type]
        server = Server(config, status, clock=SystemClock(), admin_token=Secret(token) if token else None)
        up, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

        async def serve() -> None:
            async with anyio.create_task_group() as group:
                await group.start(server.run)
                up.set()
                await stop.wait()
                group.cancel_scope.cancel()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
        thread.start()
        assert up.wait(20)

        def end() -> None:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
            loop.close()

        ends.append(end)
        text = (directory / "syncd.yaml").read_text()
        lines = [line for line in text.splitlines() if not line.startswith("server:")]
        lines.append(f"server: {{listen: '{server.public}', admin: '{server.admin}'}}")
        (directory / "syncd.yaml").write_text("\n".join(lines) + "\n")
        return Stage(status, server)

    yield begin
    for end in ends:
        end()
