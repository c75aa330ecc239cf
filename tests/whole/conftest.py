"""What every test of the whole daemon starts from."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from syncd.testing.process import Spawned
from tests.whole.daemon import MADE, Rows
from tests.whole.plain import KEY, WEBHOOK_SECRET
from tests.whole.postgres import Postgres
from tests.whole.warm import spawn

PLAIN: dict[str, Any] = {
    "auth": {"kind": "api_key", "header": "X-Api-Key"},
    "test": "/me",
    "limits": {"tiers": ["2000/s"], "share": 1.0},
    "page_size": 100,
    "resources": {
        "things": {
            "path": "/things",
            "records": "items",
            "updated": "updated_at",
            "total": "total",
            "pages": {"kind": "offset", "param": "offset", "size": "limit"},
            "since": {"param": "updated_since"},
            "one": "/things/{id}",
            "fields": {"name": "name", "number": {"from": "number", "as": "integer"}},
        },
        "flow": {
            "path": "/flow",
            "records": "items",
            "updated": "updated_at",
            "pages": {"kind": "cursor", "param": "after", "next": "next", "size": "limit"},
            "fields": {"name": "name", "number": {"from": "number", "as": "integer"}},
        },
        "notes": {
            "path": "/things/{parent.id}/notes",
            "parent": "things",
            "records": "items",
            "fields": {"text": "text"},
        },
    },
}
"""The plain API as a partner's file describes it, with every resource; tests switch off what they do not need."""

HOOKS: dict[str, Any] = {
    "verify": "standard",
    "event_id": "header:webhook-id",
    "type": "type",
    "id": "thing.id",
    "at": "at",
    "routes": {"thing.created": "things", "thing.updated": "things", "thing.deleted": "things"},
    "deletes": ["thing.deleted"],
}
"""The plain API's deliveries; `hooked()` is a partner file with them."""

LABELS: dict[str, Any] = {
    "label": {"path": "/things/{id}/labels", "idempotency": "header:Idempotency-Key", "record": ""},
    "tag": {
        "path": "/things/{id}/labels",
        "record": "",
        "idempotency": "look_up",
        "look_up": {
            "path": "/things/{id}/labels",
            "records": "items",
            "same": {"label": "{data.label}"},
            "after": "1s",
        },
    },
}
"""What the plain API takes: a label with a key it honours, and the same without one, which has to be looked up."""


def hooked(base_url: str, **more: Any) -> dict[str, Any]:
    """As `partner`, and the plain API's deliveries are taken at /webhooks/plain/acme."""
    integration = {"credentials": {"api_key": KEY}, "webhook": {"secrets": [WEBHOOK_SECRET]}}
    return partner(base_url, rest={**PLAIN, "webhooks": HOOKS}, integrations={"acme": integration}, **more)


def partner(base_url: str, **more: Any) -> dict[str, Any]:
    """A partner file for the plain API with one integration, `acme`; `more` replaces top-level keys."""
    return {
        "driver": "rest",
        "base_url": base_url,
        "rest": PLAIN,
        "integrations": {"acme": {"credentials": {"api_key": KEY}}},
        **more,
    }


def only(*names: str, **settings: Any) -> dict[str, Any]:
    """`resources:` with only these switched on, all with the same settings."""
    return {name: settings if name in names else {"enabled": False} for name in PLAIN["resources"]}


def started(module: str) -> Iterator[Callable[..., tuple[Spawned, Control]]]:
    """Start simulators of a module, each in its own process; they end with the test."""
    running: list[Spawned] = []

    def start(**options: Any) -> tuple[Spawned, Control]:
        spawned = spawn(module, **options)
        running.append(spawned)
        return spawned, Control(spawned.url)

    yield start
    for spawned in running:
        spawned.stop()


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[Postgres]:
    """A server of the test's own: to be stopped, frozen, filled up, or kept away from all others."""
    server = Postgres(tmp_path / "pg")
    (tmp_path / "pg").mkdir()
    tmp_path.chmod(0o755)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(autouse=True)
def _no_daemon_stays() -> Iterator[None]:
    """A test that failed leaves its daemon running: it would take the machine's time from all others."""
    MADE.clear()
    yield
    for daemon in MADE:
        if daemon.process is not None and daemon.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(daemon.process.pid, signal.SIGKILL)


@pytest.fixture
def plain() -> Iterator[Callable[..., tuple[Spawned, Control]]]:
    """Start plain APIs, each in its own process; they end with the test."""
    yield from started("tests.whole.plain")


@pytest.fixture
def metering() -> Iterator[Callable[..., tuple[Spawned, Control]]]:
    """Start partners that meter (metered.py), each in its own process; they end with the test."""
    yield from started("tests.whole.metered")


@pytest.fixture
async def rows(database: str) -> AsyncIterator[Rows]:
    """The test's database, read as another team reads it."""
    connected = await Rows.connect(database)
    yield connected
    await connected.aclose()
