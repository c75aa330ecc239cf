"""Running a simulator: in this loop (`serve`), in this process (`run`), or in a child of its own (`spawn`)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from syncd import drivers
from syncd.testing.base import Simulator
from syncd.testing.files import serve_files


class Served:
    """A simulator that listens. `url` has no path; `base_url` is what an integration's `base_url` would be."""

    def __init__(self, simulator: Simulator, runner: web.AppRunner, host: str, port: int) -> None:
        self.simulator = simulator
        self.port = port
        self.url = f"http://{host}:{port}"
        self.base_url = self.url + simulator.base_path
        self._runner = runner

    async def aclose(self) -> None:
        """Stop listening; open connections are cut."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Served:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def serve(simulator: Simulator, host: str = "127.0.0.1", port: int = 0) -> Served:
    """Listen in the running loop; port 0 takes a free one. Raises OSError when the port is taken."""
    runner = web.AppRunner(
        simulator.app, access_log=None, handle_signals=False, shutdown_timeout=0.1, keepalive_timeout=75.0
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except BaseException:
        await runner.cleanup()
        raise
    return Served(simulator, runner, host, runner.addresses[0][1])


def make(name: str, options: dict[str, Any]) -> Simulator:
    """The simulator of a driver (`stripe`) or of any module with `create` (`package.module`). Raises ImportError."""
    if "." not in name:
        source = drivers.sources().get(name)  # one of another package lies there
        name = f"{source.module if source is not None else f'syncd.drivers.{name}'}.simulator"
    module = importlib.import_module(name)
    made = module.create(**options)
    assert isinstance(made, Simulator)
    return made


def file_options(name: str, simulator: Simulator, url: str) -> dict[str, Any]:
    """What an integration's file says under `options` to work with a simulator: where else calls go, what must be said."""
    found: dict[str, Any] = {}
    if name in drivers.sources() and not drivers.kind(name).needs_spec:
        for option, described in drivers.load(name).spec.options.items():
            if described.kind == "url" and described.default:
                found[option] = url + urlsplit(str(described.default)).path
    return {**found, **simulator.needs()}


def run(
    name: str,
    port: int = 0,
    options: dict[str, Any] | None = None,
    *,
    host: str = "127.0.0.1",
    watch_stdin: bool = False,
    files: bool = False,
    told: Callable[[dict[str, Any]], None] = lambda facts: None,
) -> None:
    """Serve until SIGINT or SIGTERM (with `watch_stdin` also until stdin ends). `files`: photos can be fetched from it, too.

    Writes a JSON line once it listens, and hands what it says to `told`.
    """

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        if watch_stdin:

            def read() -> None:
                if not os.read(sys.stdin.fileno(), 4096):
                    loop.remove_reader(sys.stdin.fileno())
                    stopping.set()

            loop.add_reader(sys.stdin.fileno(), read)
        simulator = make(name, options or {})
        if files:
            serve_files(simulator)
        served = await serve(simulator, host, port)
        takes = {each: simulator.options[option] for each, option in simulator.credentials.items()}
        facts = {"name": name, "url": served.url, "base_url": served.base_url, "port": served.port, "pid": os.getpid()}
        facts["credentials"] = takes
        facts["options"] = file_options(name, simulator, served.url)
        sys.stdout.write(orjson.dumps(facts).decode() + "\n")
        sys.stdout.flush()
        told(facts)
        await stopping.wait()
        await served.aclose()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


class Spawned:
    """A simulator in a child process. It ends with `stop()` and also when this process dies, however it dies."""

    def __init__(self, process: subprocess.Popen[bytes], facts: dict[str, Any]) -> None:
        self.process = process
        self.pid: int = process.pid
        self.port: int = facts["port"]
        self.url: str = facts["url"]
        self.base_url: str = facts["base_url"]

    def stop(self) -> None:
        """End it; killed if it does not end within five seconds. May be called twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Spawned:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def spawn(name: str, *, port: int = 0, **options: Any) -> Spawned:
    """Start a simulator in its own process and wait until it listens. Raises RuntimeError when it does not start."""
    source = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "syncd.testing.simulator", name, "--port", str(port), "--watch-stdin"]
    command += ["--json-options", orjson.dumps(options).decode()]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"simulator {name} ended with code {process.wait()} before it listened")
    return Spawned(process, orjson.loads(line))


def main(arguments: list[str] | None = None) -> None:
    """`python -m syncd.testing.simulator NAME --port 0 --json-options '{"seed": 1}'`."""
    parser = argparse.ArgumentParser(prog="python -m syncd.testing.simulator")
    parser.add_argument("name", help="a driver's name, or a module with create()")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--json-options", default="{}", help="options of create() as a JSON object")
    parser.add_argument("--watch-stdin", action="store_true", help="end when stdin ends")
    given = parser.parse_args(arguments)
    run(given.name, given.port, orjson.loads(given.json_options), host=given.host, watch_stdin=given.watch_stdin)
