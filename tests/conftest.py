"""One PostgreSQL for the whole test session, shared by all its workers; one database, copied from a template, for a test.

`SYNCD_TEST_DATABASE_URL` names another server (a URL of a database whose user may create databases). Nothing stays
behind: the server and its directory go even if the test run is killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from syncd import log
from syncd.clock import SystemClock
from syncd.store import KeyRing, Store, embedded
from syncd.store.database import Database
from syncd.store.migrate import Migrations
from tests.emptied import Emptied

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
"""How long an example takes says how busy the machine is, and nothing of what is tested."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Daemons and commands are started hundreds of times, and every worker imports every test: all compiled once is minutes."""

LONGEST = (
    "test_troubles", "test_documented_commands", "test_limits", "test_demo", "test_adaptive",
    "test_kills", "test_kill_campaign", "test_clocks", "test_registering",
    "test_webhooks_by_default", "test_daemon_life", "test_pushes", "test_deletions", "test_lanes", "test_database_trouble",
    "test_outage", "test_stripe_for_real", "test_isolation", "test_plan", "test_outage_groups", "test_tokens",
    "test_secrets_nowhere", "test_cut_connections", "test_strategies", "test_drift", "test_replay", "test_deadly_listing",
    "test_events", "test_rotation", "test_poison", "test_silence", "test_chaos", "test_told_limits",
    "test_backfill", "test_page",
)  # fmt: skip
"""Files of whole paths that take longest, so that none of them is begun when there is nothing else left to do."""


CROWDS = (
    "test_convergence", "test_histories_cancelled", "test_histories", "test_exact", "test_histories_mutations",
    "test_histories_fair", "test_histories_learning", "test_histories_told", "test_adaptive", "test_coalescing",
    "test_forecast", "test_capacity", "test_figures", "test_floors",
)  # fmt: skip
"""Files that do the same thousands of times, the longest first: measuring branches would only make them slow."""


def pytest_configure(config: pytest.Config) -> None:
    """Coverage follows into the workers and stops there: a traced daemon is a slow one, and tests of it wait for it.

    Workers collect the same files in the same order; each begins elsewhere, and finds compiled what another began with.
    """
    if (worker := getattr(config, "workerinput", None)) is None:
        return
    _is_alone()
    if all(Path(given).is_dir() for given in config.args):
        files = sorted({str(path) for given in config.args for path in Path(given).rglob("test_*.py")})
        first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        config.args[:] = files[first:] + files[:first]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole paths first, which are long and mostly wait, and between them crowds, which only reckon: so neither the processor
    idles nor is anything long begun when there is nothing else left to do. Of each file one, then of each the next.

    The same order in each worker, wherever it began to collect."""
    met: Counter[Path] = Counter()

    def turn(item: pytest.Item) -> tuple[int, int, str]:
        met[item.path] += 1
        name = item.path.stem
        return met[item.path], LONGEST.index(name) if name in LONGEST else len(LONGEST), str(item.path)

    whole, crowds, others = [], [], []
    for item in items:
        kind = whole if _is_whole(item.path) else crowds if item.path.stem in CROWDS else others
        kind.append(item)
    whole.sort(key=turn)
    waiting = iter(sorted(crowds, key=lambda item: (CROWDS.index(item.path.stem), str(item.path))))
    others.sort(key=lambda item: str(item.path))
    items[:] = []
    for place, item in enumerate(whole):
        items.append(item)
        if place > 10 and place % 2:
            items += islice(waiting, 1)
    items += [*waiting, *others]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Coverage stands still while whole paths are walked (daemons are other processes) and where crowds are."""
    module = sys.modules.get("coverage")
    measuring = module.Coverage.current() if module is not None else None
    if measuring is None or not (_is_whole(item.path) or item.path.stem in CROWDS):
        return (yield)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()
        _is_alone()


def _is_whole(path: Path) -> bool:
    """Does it walk whole paths, through daemons and browsers?"""
    return not {"whole", "browser"}.isdisjoint(path.parts)


def _is_alone() -> None:
    """What this process starts is not measured: coverage says so in the environment whenever it begins."""
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A process has one log: what a test sets of it (a verb run in this process asks for errors only) ends with the test."""
    state = {name: getattr(log._state, name) for name in vars(type(log._state)) if not name.startswith("_")}
    root = logging.getLogger()
    levels, handlers = {name: logging.getLogger(name).level for name in ("", *log._CHATTY)}, list(root.handlers)
    hooks = sys.excepthook, threading.excepthook
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    for name, value in state.items():
        setattr(log._state, name, value)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The URL of a server whose user may create databases. The first worker to come starts it, the last to go stops it."""
    if given := os.environ.get("SYNCD_TEST_DATABASE_URL"):
        yield given
        return
    if worker_id == "master":
        with _Server() as url:
            yield url
        return
    shared = tmp_path_factory.getbasetemp().parent
    yield from _shared_server(shared)


class _Server:
    """A server in a directory of its own, gone afterwards."""

    def __enter__(self) -> str:
        self.directory = Path(tempfile.mkdtemp(prefix="syncd-test-"))
        self.directory.chmod(0o755)
        self.server = embedded.start(self.directory, settings=embedded.DISPOSABLE)
        self.server.guard(remove=self.directory)
        return self.server.url

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def _shared_server(shared: Path) -> Iterator[str]:
    """Whoever gets the lock first owns the server, and waits at the end until the others are done with it."""
    users = (shared / "postgres.users").open("a")
    with (shared / "postgres.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        address = shared / "postgres.url"
        server = None
        if address.exists():
            url = address.read_text()
        else:
            server = _Server()
            url = server.__enter__()
            address.write_text(url)
        fcntl.flock(users, fcntl.LOCK_SH)
    try:
        yield url
    finally:
        fcntl.flock(users, fcntl.LOCK_UN)
        if server is not None:
            with (shared / "postgres.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # nobody comes in while we wait for those inside
                fcntl.flock(users, fcntl.LOCK_EX)
                address.unlink(missing_ok=True)
                server.__exit__()
        users.close()


@pytest.fixture(scope="session")
def template_database(postgres_url: str, worker_id: str) -> Iterator[str]:
    """The name of a database with the whole schema, to be copied."""
    name = f"syncd_template_{uuid.uuid4().hex[:12]}"

    async def make() -> None:
        await _administer(postgres_url, f"CREATE DATABASE {name}")
        database = await Database.open(database_url(postgres_url, name), clock=SystemClock(), pool_size=1)
        await Migrations(database).apply()
        await database.aclose()

    asyncio.run(make())
    yield name
    asyncio.run(_administer(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture
async def empty_database(postgres_url: str) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    async for url in _database(postgres_url, ""):
        yield url


@pytest.fixture(scope="session")
def emptied(postgres_url: str) -> Iterator[Emptied]:
    """This worker's databases that are as good as new."""
    kept = Emptied()
    yield kept
    for name in kept.names:
        asyncio.run(_administer(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture
async def database(
    request: pytest.FixtureRequest, postgres_url: str, template_database: str, emptied: Emptied
) -> AsyncIterator[str]:
    """The URL of a database with the whole schema and nothing in it.

    To copy the template takes the server longer than most tests take, so one whose test changed rows and nothing else is
    emptied and given to the next. What daemons ran on is never used again.
    """
    if emptied.names:
        name = emptied.names.pop()
    else:
        name = f"syncd_test_{uuid.uuid4().hex[:16]}"
        await _administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template_database}")
        await emptied.learn(database_url(postgres_url, name))
    try:
        yield database_url(postgres_url, name)
    finally:
        if "whole" not in request.path.parts and await emptied.empty(database_url(postgres_url, name)):
            emptied.names.append(name)
        else:
            await _administer(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def key_ring() -> KeyRing:
    return KeyRing({"test": bytes(range(32))})


@pytest.fixture
async def store(database: str, key_ring: KeyRing) -> AsyncIterator[Store]:
    """A store on a fresh database, with the machine's clock."""
    async with await Store.open(database, clock=SystemClock(), key_ring=key_ring, pool_size=4, migrate=False) as opened:
        yield opened


def database_url(server_url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


async def _database(server_url: str, options: str) -> AsyncIterator[str]:
    name = f"syncd_test_{uuid.uuid4().hex[:16]}"
    await _administer(server_url, f"CREATE DATABASE {name} {options}")
    try:
        yield database_url(server_url, name)
    finally:
        await _administer(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _administer(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url, timeout=20)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The name of this xdist worker; `master` without xdist."""
    return getattr(request.config, "workerinput", {}).get("workerid", "master")
