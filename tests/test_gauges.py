"""What alerts compare is right, and gone with what it was about."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd import metrics
from syncd.explain import State
from syncd.gauges import Gauges
from syncd.sync.health import Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """The registry is the process's: what is told here stays here."""
    yield
    for gauge in (metrics.SYNC_LAG, metrics.SYNC_INTERVAL, metrics.INTEGRATION_INFO, metrics.HEALTH_CHECK_FAILURES):
        gauge.clear()


def plan(name: str, schedule: Schedule) -> ResourcePlan:
    resource: Any = SimpleNamespace(name=name, feeds=())
    return ResourcePlan(resource, Strategy.FULL, schedule)


def account(name: str, *plans: ResourcePlan) -> Any:
    return SimpleNamespace(
        name=name, partner="plain", health=Health(name), plans={one.name: one for one in plans},
        ownership=SimpleNamespace(held=True), session=SimpleNamespace(good=0, bad=0),
    )  # fmt: skip


def running(*accounts: Any) -> Any:
    units = [SimpleNamespace(integration=one.name, plan=each) for one in accounts for each in one.plans.values()]
    runner = SimpleNamespace(
        accounts={one.name: one for one in accounts}, units={(one.integration, one.plan.name): one for one in units}
    )
    return {"plain": SimpleNamespace(runner=runner)}


def config(*names: str, company: str = "") -> Any:
    partner = SimpleNamespace(name="plain")
    return SimpleNamespace(integrations={name: (partner, SimpleNamespace(company=company)) for name in names})


def samples(gauge: Any) -> dict[tuple[str, ...], float]:
    return {tuple(one.labels.values()): one.value for family in gauge.collect() for one in family.samples}


def test_the_age_of_a_copy_stands_beside_how_old_its_schedule_lets_it_be():
    one = account("acme", plan("guests", Schedule(every_seconds=900)), plan("rooms", Schedule(cron="0 3 * * *")))
    for name in one.plans:
        one.health.of(name).last_success_at = NOW - timedelta(minutes=20)
    Gauges().tell(config("acme"), running(one), NOW)
    assert samples(metrics.SYNC_LAG) == {("acme", "guests"): 1200, ("acme", "rooms"): 1200}
    assert samples(metrics.SYNC_INTERVAL)["acme", "guests"] == 900
    assert samples(metrics.SYNC_INTERVAL)["acme", "rooms"] == 21 * 3600 + 20 * 60, "from 05:40 to 03:00"


def test_what_never_ran_is_switched_off_or_belongs_to_another_instance_has_no_age():
    gauges, one, never = Gauges(), account("acme", plan("guests", Schedule(every_seconds=60))), account("new")
    never.plans = {"guests": plan("guests", Schedule(every_seconds=60))}
    one.health.of("guests").last_success_at = NOW
    gauges.tell(config("acme", "new"), running(one, never), NOW)
    assert set(samples(metrics.SYNC_LAG)) == {("acme", "guests")}
    one.ownership.held = False
    gauges.tell(config("acme", "new"), running(one, never), NOW)
    assert samples(metrics.SYNC_LAG) == samples(metrics.SYNC_INTERVAL) == {}
    metrics.WORKERS_ALIVE.labels("gone").set(0)
    metrics.HEARTBEAT.labels("runner gone").set(1)
    metrics.QUEUE_LENGTH.labels("inbox").set(3)
    gauges.tell(config(), {}, NOW)
    assert samples(metrics.WORKERS_ALIVE) == samples(metrics.INTEGRATION_INFO) == {}
    assert ("runner gone",) not in samples(metrics.HEARTBEAT)
    assert samples(metrics.QUEUE_LENGTH)["inbox",] == 3, "a table's queue is there whatever runs"


def test_a_company_is_told_and_a_new_name_takes_the_place_of_the_old():
    gauges = Gauges()
    gauges.tell(config("acme", company="ACME Inc"), {}, NOW)
    gauges.tell(config("acme", company="ACME Ltd"), {}, NOW)
    assert samples(metrics.INTEGRATION_INFO) == {("acme", "plain", "ACME Ltd"): 1}
    gauges.tell(config("acme"), {}, NOW)
    assert samples(metrics.INTEGRATION_INFO) == {("acme", "plain", "acme"): 1}


@pytest.mark.parametrize(
    ("minutes", "failures"),
    [
        ([(0, 2), (0, 1), (0, 4)], 3),
        ([(0, 2), (0, 1), (1, 9)], 0),  # one good answer shows that it is there
        ([(0, 1), (0, 0), (0, 0)], 1),  # nothing was called: no check
        ([(1, 0), (0, 1), (0, 1)], 2),
    ],
)
def test_health_checks_in_a_row_that_found_no_good_answer(minutes: list[tuple[int, int]], failures: int):
    gauges, one = Gauges(), account("acme")
    for good, bad in minutes:
        one.session.good += good
        one.session.bad += bad
        gauges.check([one], lambda _: State.HEALTHY)
    assert samples(metrics.HEALTH_CHECK_FAILURES) == {("plain", "acme"): failures}


def test_what_may_not_be_called_because_it_is_down_fails_its_checks_and_a_wait_does_not():
    gauges, down, waits = Gauges(), account("down"), account("waits")
    for _ in range(3):
        gauges.check([down, waits], lambda one: State.DOWN if one.name == "down" else State.WAITING)
    assert samples(metrics.HEALTH_CHECK_FAILURES) == {("plain", "down"): 3, ("plain", "waits"): 0}
    down.session.good += 1
    gauges.check([down], lambda _: State.HEALTHY)
    assert samples(metrics.HEALTH_CHECK_FAILURES) == {("plain", "down"): 0}


def test_a_session_built_anew_by_a_reload_counts_from_its_own_beginning():
    gauges, one = Gauges(), account("acme")
    one.session.good = 50
    gauges.check([one], lambda _: State.HEALTHY)
    one.session = SimpleNamespace(good=0, bad=2)
    gauges.check([one], lambda _: State.HEALTHY)
    assert samples(metrics.HEALTH_CHECK_FAILURES) == {("plain", "acme"): 1}
