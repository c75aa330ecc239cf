"""The daily look at a partner: when it is due, what it tells, and that it fails nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog.testing

from syncd.contract.judging import Drift, Findings
from syncd.contracts import FIRST_SECONDS, Contracts
from syncd.errors import ConfigError, RejectedError, StoreError, TransientError
from syncd.explain import Explanation, State
from syncd.sync.health import Health
from syncd.testing.clock import FakeClock

GONE = Drift("missing", "name", "in none of 5 records, and in every sample")
OTHER = Drift("published", "200 data[].name", "expected string, found null")


@dataclass
class Account:
    name: str
    partner: str = "acme"
    plans: dict[str, Any] = field(default_factory=lambda: {"boats": None})
    fence: int = 1

    def __post_init__(self) -> None:
        self.health = Health(self.name)
        self.ownership = SimpleNamespace(held=True)


class Looking(Contracts):
    """Finds what it is told to find."""

    def __init__(self, accounts: list[Account], clock: FakeClock, **rules: Any) -> None:
        told = SimpleNamespace(**{"enabled": True, "every": 86_400.0, "specs": (), **rules})
        self.rules = told
        config: Any = SimpleNamespace(partners={"acme": SimpleNamespace(contract=told)})
        super().__init__(
            config=lambda: config,
            directory=Path("config"),
            accounts=lambda: accounts,  # type: ignore[arg-type,return-value]
            clock=clock,
            names=lambda: {one.name: ["boats"] for one in accounts},
        )
        self.looked: list[tuple[str, float]] = []
        self.finds: Findings | Exception = Findings("boats", records=5, calls=1)
        self._fake = clock

    async def _look(
        self, account: Any, resource: str | None, spec: Sequence[str], seconds: float
    ) -> Sequence[Findings]:  # type: ignore[override]
        self.looked.append((account.name, self._fake.monotonic()))
        if isinstance(self.finds, Exception):
            raise self.finds
        return [self.finds]


def drifting(*drift: Drift) -> Findings:
    return Findings("boats", records=5, calls=1, drift=list(drift))


async def days(contracts: Contracts, clock: FakeClock, number: float) -> None:
    task = asyncio.ensure_future(contracts.run())
    await clock.advance(number * 86_400.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_each_integration_is_looked_at_once_a_day_and_not_all_at_once(clock: FakeClock) -> None:
    accounts = [Account(f"shop{number}") for number in range(8)]
    contracts = Looking(accounts, clock)
    began = clock.monotonic()
    await days(contracts, clock, 2.5)
    first = {name: at - began for name, at in reversed(contracts.looked)}
    assert len(contracts.looked) == 8 * 3
    assert min(first.values()) >= FIRST_SECONDS
    assert max(first.values()) <= 3_700
    assert len(set(first.values())) >= 5


async def test_switched_off_paused_or_owned_elsewhere_nobody_is_asked(clock: FakeClock) -> None:
    account = Account("shop")
    contracts = Looking([account], clock, enabled=False)
    await days(contracts, clock, 2)
    contracts.rules.enabled, account.ownership.held = True, False
    await days(contracts, clock, 2)
    account.ownership.held, account.health.paused = True, object()  # type: ignore[assignment]
    await days(contracts, clock, 2)
    assert contracts.looked == []
    account.health.paused = None
    await days(contracts, clock, 1)
    assert len(contracts.looked) == 1


async def test_drift_is_said_once_when_it_breaks_and_once_when_it_heals(clock: FakeClock) -> None:
    account = Account("shop")
    contracts = Looking([account], clock)
    with structlog.testing.capture_logs() as said:
        await days(contracts, clock, 1)
        assert account.health.contract is None
        contracts.finds = drifting(GONE)
        await days(contracts, clock, 3)
        told = account.health.contract
        assert told is not None
        assert (told.code, told.action) == ("contract-drift", "syncd contract shop")
        assert "boats: name: in none of 5 records" in told.reason
        assert told.since is not None
        assert (clock.now() - told.since).total_seconds() > 86_400
        assert account.health.judge({}, clock.now()) == (State.DEGRADED, told)
        contracts.finds = drifting()
        await days(contracts, clock, 2)
    assert [line["event"] for line in said] == ["contract_drifted", "contract_healed"]
    assert account.health.judge({}, clock.now()) == (State.HEALTHY, None)


async def test_what_only_a_document_says_is_a_remark(clock: FakeClock) -> None:
    account = Account("shop")
    contracts = Looking([account], clock)
    contracts.finds = drifting(OTHER)
    await days(contracts, clock, 1)
    state, told = account.health.judge({}, clock.now())
    assert state is State.HEALTHY
    assert told is not None
    assert "finds published" in told.reason
    contracts.finds = drifting(OTHER, GONE)
    await days(contracts, clock, 1)
    state, told = account.health.judge({}, clock.now())
    assert (state, told is not None and "relies on: boats: name" in told.reason) == (State.DEGRADED, True)


@pytest.mark.parametrize(
    "error", [TransientError("it is down"), StoreError("the database is away"), ZeroDivisionError("a fault of ours")]
)
async def test_a_partner_that_cannot_be_asked_is_no_news(error: Exception, clock: FakeClock) -> None:
    account = Account("shop")
    contracts = Looking([account], clock)
    contracts.finds = drifting(GONE)
    await days(contracts, clock, 1)
    told = account.health.contract
    contracts.finds = error
    await days(contracts, clock, 2)
    contracts.finds = Findings("boats", note="no answer")
    await days(contracts, clock, 2)
    assert account.health.contract == told is not None
    assert len(contracts.looked) == 5


async def test_who_asks_gets_an_answer_and_the_status_follows(clock: FakeClock) -> None:
    account = Account("shop")
    contracts = Looking([account], clock)
    contracts.finds = drifting(GONE)
    assert not (await contracts.contract("shop", spec=["/given/by/hand.json"]))["ok"]
    assert account.health.contract is None, "a document given once by hand leaves no note"
    found = await contracts.contract("shop")
    assert (found["ok"], found["resources"][0]["drift"][0]["place"]) == (False, "name")
    assert account.health.contract is not None
    contracts.finds = drifting()
    assert (await contracts.contract("shop", "boats"))["ok"]
    assert account.health.contract is not None, "one resource alone does not tell that all is well"
    assert (await contracts.contract("shop"))["ok"]
    assert account.health.contract is None


async def test_a_document_that_is_gone_or_unreadable_is_told_of_and_the_look_goes_on_without_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    (tmp_path / "broken.json").write_text("no document")
    (tmp_path / "sound.json").write_text('{"openapi": "3.0.0", "paths": {}}')

    account: Any = Account("shop")
    account.driver = SimpleNamespace(spec=SimpleNamespace(name="acme"))
    for specs, is_read, told in (
        (("sound.json",), True, ""),
        (("gone.json", "sound.json"), True, f"no such file: {tmp_path / 'gone.json'}: nothing is compared with it"),
        (("gone.json",), False, f"no such file: {tmp_path / 'gone.json'}: nothing is compared with it"),
        (("broken.json",), False, f"{tmp_path / 'broken.json'}: neither JSON nor YAML"),
    ):
        contracts = Looking([account], clock, specs=specs)
        contracts._directory = tmp_path
        found, lacking = await contracts._published(account, ())
        assert (found is not None, lacking[: len(told)], bool(lacking)) == (is_read, told, bool(told))
    with pytest.raises(ConfigError):
        await contracts._published(account, ("gone.json",))


async def test_who_asks_hears_why_nothing_could_be_asked(clock: FakeClock) -> None:
    account = Account("shop")
    contracts = Looking([account], clock)
    with pytest.raises(StoreError, match="does not run here"):
        await contracts.contract("other")
    contracts.finds = Findings("boats", note="no answer within 120 s")
    with pytest.raises(TransientError, match="no answer within 120 s"):
        await contracts.contract("shop")
    contracts.finds.error = RejectedError("GET /boats: answered 404")
    with pytest.raises(RejectedError, match="404") as caught:
        await contracts.contract("shop")
    assert caught.value.hint == "syncd status shop"
    account.health.paused = Explanation("paused", "paused by ann")
    with pytest.raises(RejectedError, match="paused"):
        await contracts.contract("shop")
