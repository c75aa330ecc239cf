"""From a partner's file, and what is known beside it, to the loads of a forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.planning import Sight, all_scopes, assuming, report, scopes_of
from syncd.planning.inputs import intervals
from syncd.store.deliveries import Told
from syncd.sync.advice import advise
from syncd.sync.forecast import forecast
from syncd.sync.loads import Figure, Known, Load, ScopeLoad
from syncd.sync.measured import Measured
from syncd.sync.plan import Strategy
from syncd.sync.schedule import Schedule
from syncd.testing.clock import FakeClock
from tests.planning.conftest import SHOP


def by_name(scope: ScopeLoad) -> dict[str, Load]:
    return {load.resource: load for load in scope.loads}


def test_a_load_is_the_resource_with_the_files_settings_over_it(shop):
    [scope] = scopes_of(shop("resources: {things: {every: 20m, full_every: 12h, page_size: 50}}\n"))
    assert (scope.scope, scope.seats, scope.latency) == ("shop/acme", 3, Figure())
    things = by_name(scope)["things"]
    assert (things.shortest_seconds, things.period_seconds) == (1200, 1215)  # half of the jitter on average
    assert (things.full_every_seconds, things.overlap_seconds) == (43_200, 300)
    assert (things.page, things.records, things.full, things.run) == (
        Figure(50, Known.ASSUMED), Figure(), Figure(), Figure(),
    )  # fmt: skip
    assert things.written == "every: 20m"
    assert things.flight == 4  # its pages are asked for ahead, as the total is told
    found = by_name(scope)["found"]
    assert (found.flight, found.weight, found.strategy) == (1, 3, Strategy.FULL)
    assert by_name(scope)["notes"].parent == "things"
    assert by_name(scope)["events"].full_calls == 0


def test_calls_are_counted_by_every_name_the_client_gives_them(shop):
    [scope] = scopes_of(shop())
    loads = by_name(scope)
    assert {"read", "GET", "/things"} <= loads["things"].names
    assert "write" not in loads["found"].names  # a POST that only reads, as its budget says
    assert {"read", "POST", "/search"} <= loads["found"].names
    assert "/things/{parent.id}/notes" in loads["notes"].names


def test_figures_come_from_what_was_measured(shop):
    seen = Sight(
        {
            ("acme", "things"): Measured(
                live=230, pass_calls=3, pass_records=230, run_calls=1.5, changed_per_second=0.01
            ),
            ("acme", "notes"): Measured(live=460),
        },
        {"acme": (10.0, 50)},
    )
    [scope] = scopes_of(shop(), seen)
    assert scope.latency == Figure(0.2, Known.MEASURED)
    things, notes = by_name(scope)["things"], by_name(scope)["notes"]
    assert (things.full, things.run) == (Figure(3, Known.MEASURED), Figure(1.5, Known.MEASURED))
    assert notes.full == Figure(230, Known.ASSUMED)  # a call below each thing
    assert notes.records == Figure(460, Known.MEASURED)
    assert notes.caused_per_second == pytest.approx(0.01)  # each changed thing has its notes listed anew


def test_what_webhooks_brought_in_a_quarter_of_an_hour_is_a_days_and_no_measure(shop):
    began = datetime(2026, 11, 22, 12, tzinfo=UTC)
    burst = Told("acme", "things", 200, began, began)
    assert burst.per_second(began + timedelta(minutes=15)) == pytest.approx(200 / 86_400)
    assert burst.per_second(began + timedelta(days=10)) == pytest.approx(20 / 86_400)
    key = ("acme", "things")
    [scope] = scopes_of(shop(), Sight(told={key: 200 / 86_400}, young={key: 925.0}))
    assert (
        by_name(scope)["things"]
        .notes[-1]
        .startswith("webhooks have told of it for 15m: what came is taken for a day's")
    )
    assert "no measure yet" not in str(by_name(scopes_of(shop(), Sight(told={key: 1.0}))[0])["things"].notes)


def test_a_limit_that_is_advised_passes_the_check_it_will_meet(read):
    base = SHOP.replace("[600/min, 10/s], share: 1.0", "[60/min], share: 0.7")
    asked = (
        "resources: {things: {every: 2s}, found: {enabled: false}, events: {enabled: false}, notes: {enabled: false}}\n"
    )
    seen = Sight({("acme", "things"): Measured(live=5, pass_calls=1, pass_records=5, run_calls=2, runs=9)})
    [scope] = scopes_of(read(asked, base=base).require().partners["shop"], seen)
    [line] = [one.yaml for one in advise(forecast(scope)).raises]
    assert line.endswith("/min], accept_risk: true}")
    assert read(f"{asked}{line}\n", base=base).errors == ()
    [told] = read(f"{asked}{line}\n".replace(", accept_risk: true", ""), base=base).errors
    assert "is above the limit this driver knows, 60/min" in told.message


def test_of_a_limit_the_driver_uses_whole_calls_and_of_a_bucket_what_comes_back(read):
    tiers = "[5/s, {rate: 5/min, kind: bucket, burst: 100}]"
    base = SHOP.replace("[600/min, 10/s], share: 1.0", f"{tiers}, share: 0.7")
    [scope] = scopes_of(read(base=base).require().partners["shop"])
    assert [(tier.most, tier.own) for tier in scope.tiers] == [(5, 3), (5, pytest.approx(3.5))]
    [scope] = scopes_of(read("limits: {tiers: [1/10s]}\n", base=base).require().partners["shop"])
    assert {(tier.most, tier.own) for tier in scope.tiers if tier.window_seconds == 10} == {(None, None)}


def test_where_parents_say_that_there_is_nothing_below_only_the_others_are_calls(read):
    base = SHOP.replace("records: data}\n    found", "records: data, where: count}\n    found").replace(
        "      every: 15m\n", "      every: 15m\n      fields: {count: count}\n"
    )
    seen = Sight({("acme", "things"): Measured(live=230), ("acme", "notes"): Measured(live=9, pass_calls=7)})
    [scope] = scopes_of(read(base=base).require().partners["shop"], seen)
    assert by_name(scope)["notes"].full == Figure(7, Known.MEASURED)


def test_two_integrations_of_one_scope_are_one_load(shop):
    [scope] = scopes_of(shop("integrations: {acme: {scope: both}, other: {scope: both}, off: {enabled: false}}\n"))
    assert scope.scope == "shop/both"
    assert scope.integrations == ["acme", "other"]
    assert len(scopes_of(shop("integrations: {acme: {}, other: {}}\n"))) == 2


def test_the_files_tiers_replace_the_drivers_and_know_what_it_states(shop):
    [scope] = scopes_of(shop("limits: {tiers: [90/min, {rate: 1000/30d, budget: read}]}\n"))
    tiers = {tier.written: tier for tier in scope.tiers}
    assert set(tiers) == {"90/min", "10/s", "read 1000/30d"}
    assert tiers["90/min"].most == 600
    assert tiers["read 1000/30d"].most is None


@pytest.mark.parametrize(
    ("lesson", "budget"),
    [
        (None, 599),  # one slot is kept for what is urgent
        ({"limit": 100.0, "source": "429"}, 100),
        ({"limit": 300.0, "source": "headers"}, 300),
        ({"limit": 9000.0, "source": "429"}, 599),
    ],
)
def test_a_limit_that_turned_out_lower_counts_as_learned(shop, lesson, budget):
    view: dict[str, Any] = {"tiers": [{"name": "600/60s", "learned": lesson}, {"name": "10/1s", "learned": None}]}
    [scope] = scopes_of(shop(), Sight(gates={"shop/acme": view}))
    [minute, second] = scope.tiers
    assert minute.budget == budget
    assert minute.learned is (budget < 599)
    assert not second.learned


def test_a_schedule_has_a_mean_and_a_least_interval():
    assert intervals(Schedule(every_seconds=60.0, jitter_seconds=6.0)) == (63.0, 60.0)
    assert intervals(Schedule(cron="*/15 * * * *")) == (900.0, 900.0)
    mean, least = intervals(Schedule(cron="0 6,8 * * *"))
    assert (mean, least) == (pytest.approx(43_200, rel=0.01), 7200)
    assert intervals(Schedule(cron="0 0 29 2 *"))[0] >= 365 * 86_400


def test_what_a_person_assumes_is_used_for_every_integration(read):
    config = read("integrations: {acme: {}, other: {}}\n").require()
    scopes, broken = all_scopes(config, assuming(config, Sight(), {"things": 12_000}))
    assert broken == {}
    assert [by_name(scope)["things"].full for scope in scopes] == [Figure(120, Known.ASSUMED)] * 2
    assert [by_name(scope)["notes"].full for scope in scopes] == [Figure(12_000, Known.ASSUMED)] * 2


def test_the_report_is_of_what_was_asked_for_and_its_verdict_too(read):
    config = read(
        "resources: {found: {enabled: false}, events: {enabled: false}}\n"
        "integrations: {acme: {resources: {things: {every: 1s}}, limits: 1}, other: {}}\n".replace(", limits: 1", "")
        + "limits: {tiers: [30/min]}\n"
    ).require()
    now = FakeClock().now()
    whole = report(config, source="files", now=now)
    assert whole["fits"] is False
    assert report(config, source="files", now=now, integration="other")["fits"] is None
    one = report(config, source="files", now=now, integration="acme", resource="notes")
    [scope] = one["scopes"]
    assert [each["name"] for each in scope["integrations"][0]["resources"]] == ["notes"]
    assert scope["advice"]["lines"] == [{"below": "integrations.acme", "yaml": "resources: {things: {every: 3s}}"}]
