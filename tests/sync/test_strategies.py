"""Strategies as arithmetic: which way the next run reads, how soon, and what of a pass was drift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import drivers
from syncd.config import ResourceConfig
from syncd.config.units import format_duration
from syncd.kit import Resource
from syncd.model import Checkpoint, Mode
from syncd.plans import resource_plan
from syncd.store import Row, Stand
from syncd.sync.drift import IN_FLIGHT, Measure, measure, remark
from syncd.sync.health import Drift, Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.webhook_fed import FORGOTTEN, is_fed
from syncd.sync.webhook_fed import remark as unfed_remark

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = 86400.0
PLAIN = {"name": "things", "path": "/things", "updated": "at"}
CHANGED = {**PLAIN, "since": {"param": "since", "overlap": "2m"}}


def plan(resource: dict[str, Any], *, unfed: str = "", **settings: Any) -> ResourcePlan:
    said = {name: format_duration(value) if isinstance(value, float) else value for name, value in settings.items()}
    return resource_plan(Resource(**resource), ResourceConfig(**said), "v1", unfed=unfed)


def stand(*, passed: float | None = None, watermark: float | None = None, mode: Mode = Mode.INCREMENTAL) -> Stand:
    """Of a resource read whole so many seconds before noon."""

    def before(seconds: float | None) -> datetime | None:
        return None if seconds is None else NOON - timedelta(seconds=seconds)

    return Stand(
        checkpoint=Checkpoint("acme", "things", mode, watermark=before(watermark)),
        pass_id=1, listed=False, newest_at=None, ceiling_at=None, started_at=None, passed_at=before(passed), held=None,
        updated_at=NOON,
    )  # fmt: skip


def row(external_id: str, changed: float | None, *, resource: str = "things") -> Row:
    stamp = None if changed is None else NOON - timedelta(seconds=changed)
    return Row(external_id, resource, b"{}", b"{}", b"h", NOON, source_updated_at=stamp)


def test_all_of_a_child_is_read_as_often_as_its_driver_says_unless_the_file_does():
    child = {"name": "notes", "path": "/things/{parent.id}/notes", "parent": "things"}
    assert plan(child).schedule.every_seconds == DAY
    assert plan({**child, "every": "7d"}).schedule.every_seconds == 7 * DAY
    assert plan({**child, "ttl": "6h"}).schedule.every_seconds == DAY / 4
    assert plan({**child, "every": "7d"}, full_every=DAY / 2).schedule.every_seconds == DAY / 2
    assert plan({**child, "every": "7d"}, every=3600.0).schedule.every_seconds == 3600.0


def test_webhooks_read_as_the_resource_can_be_read_and_seldom_only_while_they_come():
    incremental, full = plan(CHANGED, strategy="webhooks", every=60.0), plan(PLAIN, strategy="webhooks", every=60.0)
    assert (incremental.strategy, full.strategy) == (Strategy.INCREMENTAL, Strategy.FULL)
    assert (incremental.shown, full.shown) == ("webhooks", "webhooks")
    assert incremental.paced(fed=False).every_seconds == 60.0
    assert incremental.paced(fed=True).every_seconds == DAY
    assert plan(CHANGED, strategy="webhooks", backup_every=7200.0).paced(fed=True).every_seconds == 7200.0
    assert plan(CHANGED).backup is None
    assert plan(CHANGED).shown == "incremental"


def test_a_driver_may_choose_webhooks_and_a_file_may_not_want_them():
    chosen = {**CHANGED, "strategy": "webhooks"}
    assert plan(chosen).backup is not None
    assert plan(chosen, strategy="incremental").backup is None
    assert plan({**PLAIN, "strategy": "webhooks"}).strategy is Strategy.FULL


def test_where_no_webhook_can_come_it_is_polled_and_says_why():
    found = plan(CHANGED, unfed="the integration has no webhook section", strategy="webhooks", every=60.0)
    assert found.backup is None
    assert found.shown == "webhooks"
    assert found.paced(fed=True).every_seconds == 60.0
    assert unfed_remark("acme", Health("acme"), found, NOON) == (
        "strategy webhooks, but the integration has no webhook section: polled (every: 1m)"
    )
    assert plan(CHANGED, unfed="it has none").unfed == ""


def test_children_stay_what_they_are():
    child = {"name": "notes", "path": "/things/{parent.id}/notes", "parent": "things"}
    found = plan(child, strategy="webhooks")
    assert (found.strategy, found.backup) == (Strategy.CHILDREN, None)


@pytest.mark.parametrize(
    ("full_every", "backup_every", "passed", "mode"),
    [
        (DAY, DAY, DAY - 600, Mode.FULL),  # the pass of yesterday ended ten minutes after it had begun
        (DAY, DAY, 0.4 * DAY, Mode.INCREMENTAL),
        (7 * DAY, DAY, 6.6 * DAY, Mode.FULL),
        (7 * DAY, DAY, 6.4 * DAY, Mode.INCREMENTAL),
        (3600.0, DAY, DAY - 600, Mode.FULL),
        (3600.0, DAY, 1000.0, Mode.INCREMENTAL),
    ],
)
def test_the_backup_nearest_to_a_pass_that_is_due_is_the_pass(full_every, backup_every, passed, mode):
    found = plan(CHANGED, strategy="webhooks", full_every=full_every, backup_every=backup_every)
    assert found.mode(stand(passed=passed, watermark=60), NOON, wanted=False, fed=True) is mode


@given(st.floats(0, 3 * DAY), st.booleans())
def test_polls_have_their_passes_no_earlier_than_full_every(passed: float, fed: bool):
    found = plan(CHANGED, every=60.0)
    mode = found.mode(stand(passed=passed, watermark=60), NOON, wanted=False, fed=fed)
    assert (mode is Mode.FULL) == (NOON - (NOON - timedelta(seconds=passed)) >= timedelta(seconds=DAY))


def test_a_delivery_feeds_for_a_week_or_until_it_is_missed():
    found, health = plan(CHANGED, strategy="webhooks"), Health("acme")
    assert not is_fed(health, found, NOON)
    assert "do: syncd webhook list acme" in (unfed_remark("acme", health, found, NOON) or "")
    health.registered = True
    assert unfed_remark("acme", health, found, NOON) == (
        "registered, but no delivery about things yet: polled as before (every: 15m) until one comes"
    )
    health.of("things").told_at = NOON
    assert is_fed(health, found, NOON + FORGOTTEN)
    assert unfed_remark("acme", health, found, NOON) is None
    later = NOON + FORGOTTEN + timedelta(seconds=1)
    assert not is_fed(health, found, later)
    assert "since 2026-11-22 12:00 UTC" in (unfed_remark("acme", health, found, later) or "")
    health.of("things").silent = True
    assert not is_fed(health, found, NOON)


def test_a_feed_is_fed_by_deliveries_of_what_it_brings():
    feed = {**CHANGED, "name": "events", "strategy": "feed", "feeds": ["things"]}
    found, health = plan(feed, strategy="webhooks"), Health("acme")
    assert found.strategy is Strategy.FEED
    health.of("things").told_at = NOON
    assert is_fed(health, found, NOON)


def test_what_a_pass_changes_is_drift_only_where_fresher_ways_had_their_time():
    polled = measure(plan(CHANGED), Mode.FULL, stand(passed=DAY, watermark=600), fed=False, by_feed=False)
    assert polled == Measure(NOON - timedelta(seconds=720), tells_deletions=False)
    rows = [row("old", 721), row("overlap", 719), row("new", 10), row("other", 9999, resource="notes")]
    assert polled.of("things", rows, ["old", "new", "other"], ["overlap"]) == Drift(added=1)
    told = measure(plan(CHANGED), Mode.FULL, stand(passed=DAY, watermark=600), fed=True, by_feed=False)
    flying = IN_FLIGHT.total_seconds()
    rows = [row("old", flying + 1), row("new", flying - 1), row("stampless", None)]
    assert told is not None
    assert told.of("things", rows, ["old"], ["new", "stampless"]) == Drift(added=1, updated=1)


def test_no_pass_tells_drift_that_is_the_first_or_the_only_way():
    assert measure(plan(CHANGED), Mode.INCREMENTAL, stand(passed=1, watermark=1), fed=True, by_feed=True) is None
    assert measure(plan(CHANGED), Mode.FULL, stand(watermark=1), fed=True, by_feed=False) is None
    assert measure(plan(CHANGED), Mode.FULL, None, fed=True, by_feed=False) is None
    assert measure(plan(PLAIN), Mode.FULL, stand(passed=DAY), fed=False, by_feed=False) is None
    assert measure(plan(PLAIN), Mode.FULL, stand(passed=DAY), fed=False, by_feed=True) is not None


def test_a_backup_beside_webhooks_tells_what_they_missed_since_they_came():
    hooked = plan(CHANGED, strategy="webhooks")
    since = NOON - timedelta(hours=3)
    known = {"fed": True, "by_feed": False, "told_since": since}
    found = measure(hooked, Mode.INCREMENTAL, stand(passed=DAY, watermark=DAY), **known)
    assert found is not None
    flying = IN_FLIGHT.total_seconds()
    rows = [row("missed", 7200), row("before any came", 4 * 3600), row("under way", flying - 1)]
    assert found.of("things", rows, ["missed", "before any came", "under way"], []) == Drift(added=1)
    unfed = {**known, "fed": False}
    assert measure(hooked, Mode.INCREMENTAL, stand(passed=DAY, watermark=DAY), **unfed) is None
    stampless = plan({**CHANGED, "stamp": "observed"}, strategy="webhooks")
    assert measure(stampless, Mode.INCREMENTAL, stand(passed=DAY, watermark=DAY), **known) is None


def test_a_little_drift_is_no_remark():
    assert remark("things", None, 1000, tells_deletions=True) is None
    assert remark("things", Drift(5, 5, 0), 100, tells_deletions=True) is None
    assert remark("things", Drift(6, 5, 0), 100, tells_deletions=True) == (
        "drift: the last pass or backup of things found 6 missing, 5 outdated that fresher ways had missed"
    )
    assert remark("things", Drift(60, 40, 0), 10_000, tells_deletions=True) is None
    assert remark("things", Drift(0, 0, 11), 100, tells_deletions=False) is None
    assert "11 gone" in (remark("things", Drift(0, 0, 11), 100, tells_deletions=True) or "")


def test_what_a_driver_chose_counts_only_where_syncd_itself_has_subscribed():
    chosen, stated = plan({**CHANGED, "strategy": "webhooks"}), plan(CHANGED, strategy="webhooks")
    health = Health("acme")
    health.of("things").told_at = NOON  # by a subscription made by hand, of which nobody knows what it leaves out
    assert chosen.by_default and not stated.by_default
    assert (is_fed(health, chosen, NOON), is_fed(health, stated, NOON)) == (False, True)
    assert unfed_remark("acme", health, chosen, NOON) is None, "nobody asked for webhooks"
    health.registered = True
    assert is_fed(health, chosen, NOON)
    later = NOON + FORGOTTEN + timedelta(seconds=1)
    assert not is_fed(health, chosen, later)
    assert "do: syncd webhook list acme" in (unfed_remark("acme", health, chosen, later) or "")


def test_where_no_webhook_can_come_what_a_driver_chose_is_no_remark():
    found = plan({**CHANGED, "strategy": "webhooks"}, unfed="the integration has no webhook section")
    assert (found.backup, found.unfed, found.by_default) == (None, "", False)


CHOSEN = [
    (name, resource.name)
    for name in ("attio", "guesty", "stripe")
    for resource in drivers.load(name).resources({}).values()
    if resource.strategy == "webhooks"
]


@pytest.mark.parametrize(("driver", "resource"), CHOSEN)
def test_a_driver_chooses_webhooks_only_where_events_tell_of_beginning_change_and_end(driver: str, resource: str):
    subscriptions = drivers.load(driver).subscriptions({})
    assert subscriptions is not None
    events = " ".join(subscriptions.wanted([resource]))
    assert all(
        any(word in events for word in words) for words in (("created", "new"), ("updated",), ("deleted", "removed"))
    )


@pytest.mark.parametrize(("driver", "resource"), CHOSEN)
def test_nobody_without_registered_webhooks_is_read_less_often_by_default(driver: str, resource: str):
    loaded = drivers.load(driver)
    described = loaded.resources({})[resource]
    plain = described.model_copy(update={"strategy": None})
    chosen, before = (resource_plan(one, ResourceConfig(), "v1") for one in (described, plain))
    health = Health("acme")
    health.of(resource).told_at = NOON
    assert chosen.strategy is before.strategy
    assert chosen.paced(fed=is_fed(health, chosen, NOON)) == before.schedule
