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

from syncd.store import embedded
from syncd.testing.control import Control
from syncd.testing.process import Spawned, spawn

CAST: dict[str, dict[str, Any]] = {
    "stripe": {"customers": 1500, "products": 120, "invoices": 600, "charges": 900},
    "attio": {"people": 1200, "companies": 600, "deals": 250, "notes": 200, "tasks": 300},
    "guesty": {"listings": 450, "reservations": 1500, "guests": 900},
}
"""Records by partner; enough to watch, few enough that Guesty's 120 calls a minute let it end soon."""

FILES = {  # asked often, so that the story finds every partner being called; a short cooldown, so that it ends soon
    "stripe": """\
driver: stripe
base_url: {base_url}
limits: {{breaker: {{failures: 3, cooldown: 2s}}}}
resources: {{events: {{every: 1s}}}}
integrations:
  shop: {{credentials: {{api_key: {{file: stripe_key}}}}}}
""",
    "attio": """\
driver: attio
base_url: {base_url}
resources: {{people: {{every: 3s}}}}
integrations:
  crm: {{credentials: {{token: {{file: attio_token}}}}}}
""",
    "guesty": """\
driver: guesty
base_url: {base_url}
resources: {{reservations: {{every: 2s}}}}
integrations:
  rentals: {{credentials: {{client_id: {{file: guesty_id}}, client_secret: {{file: guesty_secret}}}}}}
""",
}

SECRETS = {
    "stripe_key": "sk_live_simulated",
    "attio_token": "simulated-attio-token",
    "guesty_id": "simulated-client",
    "guesty_secret": "simulated-secret",
}
"""What the simulators accept; nobody else does."""

MAIN = """\
server: {{listen: 127.0.0.1:{public}, admin: 127.0.0.1:{admin}}}
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
        for name, options in CAST.items():
            simulators[name] = stack.enter_context(spawn(name, **options))
        config = directory / "config"
        _write(config, directory, simulators, public, admin)
        yield Stage(directory, config, server.url, simulators, public, admin)


def _write(config: Path, directory: Path, simulators: dict[str, Spawned], public: int, admin: int) -> None:
    (config / "partners").mkdir(parents=True)
    secrets = directory / "secrets"
    secrets.mkdir(mode=0o700)
    for name, value in SECRETS.items():
        file = secrets / name
        file.touch(mode=0o600)
        file.write_text(value)
    state = directory / "state"
    state.mkdir(mode=0o700)
    (config / "syncd.yaml").write_text(MAIN.format(public=public, admin=admin, secrets=secrets, state=state))
    for name, text in FILES.items():
        (config / "partners" / f"{name}.yaml").write_text(text.format(base_url=simulators[name].base_url))


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
