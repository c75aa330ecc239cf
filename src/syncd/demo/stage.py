"""What the demo stands on: simulators in processes of their own, a private PostgreSQL, and the files of a real set-up."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncd.demo.cast import CAST
from syncd.store import embedded
from syncd.testing.control import Control
from syncd.testing.process import Spawned, spawn

MAIN = """\
server: {{listen: 127.0.0.1:{public}, admin: 127.0.0.1:{admin}, public_url: "http://127.0.0.1:{public}"}}
secrets: {{directory: {secrets}}}
state_directory: {state}
drain: 5s
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything set up and running but the daemon."""

    directory: Path
    config: Path
    database_url: str
    simulators: dict[str, Spawned]
    public: int
    admin: int


@contextmanager
def stage(public: int, admin: int) -> Iterator[Stage]:
    """Set it all up; take it all away at the end, also when this process is killed."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="syncd-demo-"))
        directory.chmod(0o755)  # the embedded server may run as another user
        server = embedded.start(directory, settings=embedded.DISPOSABLE)
        server.guard(remove=directory)
        stack.callback(_remove, directory)
        stack.callback(server.stop)
        simulators: dict[str, Spawned] = {}
        for name, role in CAST.items():
            simulators[name] = stack.enter_context(spawn(name, **role.simulated))
        config = directory / "config"
        _write(config, directory, simulators, public, admin)
        yield Stage(directory, config, server.url, simulators, public, admin)


def _write(config: Path, directory: Path, simulators: dict[str, Spawned], public: int, admin: int) -> None:
    (config / "partners").mkdir(parents=True)
    secrets = directory / "secrets"
    secrets.mkdir(mode=0o700)
    said = {name: value for role in CAST.values() for name, value in role.credentials.items()}
    said["airbnb_key"] = asyncio.run(Control(simulators["airbnb"].url).do("public_key"))["pem"]
    for name, value in said.items():
        file = secrets / name
        file.touch(mode=0o600)
        file.write_text(value)
    state = directory / "state"
    state.mkdir(mode=0o700)
    (config / "syncd.yaml").write_text(MAIN.format(public=public, admin=admin, secrets=secrets, state=state))
    for name, role in CAST.items():
        at = {"base_url": simulators[name].base_url, "url": simulators[name].url, "hook": hook(public, name)}
        (config / "partners" / f"{name}.yaml").write_text(role.file.format(**at))


def hook(public: int, partner: str) -> str:
    """Where a partner reaches us."""
    return f"http://127.0.0.1:{public}/webhooks/{partner}/{CAST[partner].integration}"


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


async def truth(simulator: Spawned, resource: str) -> dict[str, Any]:
    """What a complete and fresh copy of a resource holds, by id."""
    return await Control(simulator.url).truth(resource)


async def stats(simulators: dict[str, Spawned]) -> dict[str, dict[str, Any]]:
    """What each simulator counted."""
    found = await asyncio.gather(*(Control(simulator.url).stats() for simulator in simulators.values()))
    return dict(zip(simulators, found, strict=True))


def same(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Is a stored record what the partner has? A listing may show fewer fields than there are; those shown must be equal."""
    return any(name in sent for name in stored) and all(stored[name] == sent[name] for name in stored if name in sent)


def free_ports(wanted: int) -> list[int]:
    """Ports nobody listens on at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(wanted)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
