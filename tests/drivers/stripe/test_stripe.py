"""Stripe's event log, its two kinds of 429, and what options change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from syncd import drivers
from syncd.errors import ConfigError
from syncd.kit import Change, Checkpoint, Identity, Item, Resource
from syncd.testing.samples import answer

VERSION = "2026-06-24.dahlia"
FIRST = "https://api.stripe.com/v1/events?limit=100"
LATER = FIRST + "&starting_after=evt_9"


@pytest.fixture
def stripe() -> Any:
    return drivers.load("stripe")


@pytest.fixture
def events(stripe) -> Resource:
    found: Resource = stripe.resources({})["events"]
    return found


def event(kind: str, external_id: str, second: int, type_: str = "updated", **more: Any) -> dict[str, Any]:
    thing = {"id": external_id, "object": kind, "at": second}
    return {"id": f"evt_{second}", "api_version": VERSION, "created": second, "type": f"{kind}.{type_}",
            "data": {"object": thing}, **more}  # fmt: skip


def told(stripe, events, facts: list[Any], *, more: bool = False, url: str = FIRST) -> list[Item]:
    found: list[Item] = stripe.items(events, answer({"body": {"has_more": more, "data": facts}}, url))
    return found


def short(items: list[Item]) -> list[tuple[str, str]]:
    """Id and what is known of it: whole, named or gone."""
    found = []
    for item in items:
        assert item.identity is not None
        what = "gone" if item.identity.deleted else "named" if item.raw is None else "whole"
        found.append((item.identity.external_id, what))
    return found


def test_a_snapshot_is_stamped_with_the_events_own_second(stripe, events):
    (item,) = told(stripe, events, [event("customer", "cus_1", 1788336127)])
    at = datetime(2026, 9, 2, 8, 2, 7, tzinfo=UTC)
    assert item == Item("customers", {"id": "cus_1", "object": "customer", "at": 1788336127},
                        Identity("cus_1", source_updated_at=at))  # fmt: skip


def test_of_several_events_of_one_object_only_the_newest_counts_wherever_it_stands(stripe, events):
    items = told(
        stripe, events, [event("invoice", "in_1", 5), event("invoice", "in_1", 9), event("invoice", "in_1", 7)]
    )
    assert [item.raw["at"] for item in items if item.raw] == [9]


def test_two_events_of_one_object_in_the_same_second_only_name_it(stripe, events):
    facts = [event("invoice", "in_1", 9, "paid"), event("invoice", "in_1", 9), event("invoice", "in_2", 9)]
    assert short(told(stripe, events, facts)) == [("in_1", "named"), ("in_2", "whole")]


def test_a_deletion_wins_over_a_change_in_the_same_second(stripe, events):
    facts = [event("customer", "cus_1", 9), event("customer", "cus_1", 9, "deleted")]
    assert short(told(stripe, events, facts)) == [("cus_1", "gone")]


@pytest.mark.parametrize(
    ("more", "url", "expected"),
    [
        (False, FIRST, ["whole", "whole", "whole"]),
        (True, FIRST, ["whole", "whole", "named"]),
        (True, LATER, ["named", "whole", "named"]),
        (False, LATER, ["named", "whole", "whole"]),
        (False, "", ["named", "whole", "whole"]),
    ],
    ids=["the only page", "the first", "one in the middle", "the last", "one whose address is unknown"],
)
def test_only_seconds_that_a_neighbouring_page_may_share_make_a_record_named(stripe, events, more, url, expected):
    facts = [event("charge", "ch_3", 30), event("charge", "ch_2", 20), event("charge", "ch_1", 10)]
    assert [what for _, what in short(told(stripe, events, facts, more=more, url=url))] == expected


def test_a_deletion_in_an_outermost_second_is_believed(stripe, events):
    facts = [event("product", "prod_1", 9, "deleted")]
    assert short(told(stripe, events, facts, more=True, url=LATER)) == [("prod_1", "gone")]


def test_a_snapshot_of_another_version_is_not_trusted(stripe, events):
    facts = [event("customer", "cus_1", 9, api_version="2022-11-15"), event("customer", "cus_2", 8, api_version=None)]
    assert short(told(stripe, events, facts)) == [("cus_1", "named"), ("cus_2", "named")]


def test_the_trusted_version_is_the_configured_one(stripe):
    feed = stripe.resources({"version": "2027-01-01.elm"})["events"]
    assert feed.headers["Stripe-Version"] == "2027-01-01.elm"
    facts = [event("customer", "cus_1", 9, api_version="2027-01-01.elm"), event("customer", "cus_2", 8)]
    assert short(told(stripe, feed, facts)) == [("cus_1", "whole"), ("cus_2", "named")]


def test_events_of_objects_nobody_syncs_are_passed_over(stripe, events):
    facts = [event("balance", "none", 9), event("refund", "re_1", 9), event("payment_method", "pm_1", 8)]
    assert told(stripe, events, facts) == []


def test_a_dispute_names_the_charge_it_is_about(stripe):
    feed = stripe.resources({})["payment_events"]
    dispute = event("dispute", "dp_1", 9)
    dispute["type"] = "charge.dispute.created"
    dispute["data"]["object"]["charge"] = "ch_1"
    assert short(told(stripe, feed, [dispute])) == [("ch_1", "named")]


@pytest.mark.parametrize(
    "bad",
    [None, 7, {}, {"data": {}}, {"data": {"object": []}}, event("customer", "", 9), event("customer", "cus_1", -1),
     event("customer", "é\udcff", 9), {**event("customer", "cus_1", 9), "type": None},
     {**event("customer", "cus_1", 9), "created": 10**30}],
)  # fmt: skip
def test_an_event_that_cannot_be_read_is_one_reject_and_the_others_go_on(stripe, events, bad):
    sound, broken = told(stripe, events, [bad, event("customer", "cus_1", 9)])
    assert short([sound]) == [("cus_1", "whole")]
    assert broken == Item("events", {"event": bad})


def test_the_watermark_comes_from_the_newest_event_also_one_passed_over(stripe, events):
    page = answer({"body": {"has_more": False, "data": [event("balance", "b", 1788336127), event("customer", "c", 9)]}})
    assert stripe.newest(events, page, []) == datetime(2026, 9, 2, 8, 2, 7, tzinfo=UTC)


def test_no_feed_asks_for_more_types_than_stripe_takes(stripe):
    for name in ("events", "payment_events"):
        types = stripe.resources({})[name].params["types[]"]
        assert 0 < len(types) <= 20 and len(set(types)) == len(types)


def test_every_subscribed_event_leads_to_a_resource(stripe):
    feeds = [one for one in stripe.spec.resources.values() if one.feeds]
    asked = {kind for feed in feeds for kind in feed.params["types[]"]}
    # Of a dispute a delivery names the charge; what of it changes money alone comes with the log.
    log_only = {f"charge.dispute.{name}" for name in ("updated", "funds_reinstated", "funds_withdrawn")}
    assert asked == set(stripe.spec.webhooks.routes) | log_only
    assert all(len(feed.params["types[]"]) <= 20 for feed in feeds)


def test_secrets_that_complete_a_payment_are_cut_out_wherever_they_come_from(stripe):
    resources = stripe.resources({})
    raw = {"id": "pi_1", "object": "payment_intent", "client_secret": "pi_1_secret_x", "next_action": {"url": "?x"}}
    clean = {"id": "pi_1", "object": "payment_intent"}
    listed = stripe.items(resources["payment_intents"], answer({"body": {"data": [raw], "has_more": False}}))
    assert [item.raw for item in listed] == [clean]
    assert stripe.item(resources["payment_intents"], answer({"body": raw})).raw == clean
    fact = {**event("payment_intent", "pi_1", 9), "data": {"object": raw}}
    assert [item.raw for item in told(stripe, resources["payment_events"], [fact])] == [clean]


def test_a_deleted_customer_that_still_answers_is_gone_and_keeps_its_fields(stripe):
    customers = stripe.resources({})["customers"]
    item = stripe.item(customers, answer({"body": {"id": "cus_1", "object": "customer", "deleted": True}}))
    assert item == Item("customers", None, Identity("cus_1", deleted=True))


def test_a_lock_is_no_reason_to_break_or_to_slow_down(stripe):
    found = stripe.classify(answer({"status": 429, "body": {"error": {"code": "lock_timeout"}}}), datetime.now(UTC))
    assert type(found).__name__ == "TransientError" and found.breaks is False


@pytest.mark.parametrize(
    ("reason", "about"),
    [("global-rate", "calls"), ("endpoint-rate", "calls"), ("a new one", "calls"), ("Global-Concurrency", "seats"),
     ("endpoint-concurrency", "seats"), ("resource-specific", "object")],
)  # fmt: skip
def test_a_429_says_what_there_was_too_much_of(stripe, reason, about):
    headers = {"Stripe-Rate-Limited-Reason": reason, "Retry-After": "3"}
    found = stripe.classify(answer({"status": 429, "headers": headers, "body": {"error": {}}}), datetime.now(UTC))
    assert type(found).__name__ == "RateLimitError" and found.about == about
    assert found.retry_at is not None


def test_each_call_says_its_version_and_its_account(stripe):
    options = {"account": "acct_1", "version": "2026-06-24.dahlia"}
    assert stripe.headers(options) == {"Stripe-Version": "2026-06-24.dahlia", "Stripe-Account": "acct_1"}
    assert "Stripe-Account" not in stripe.headers({})
    customers = stripe.resources(options)["customers"]
    assert stripe.request(customers, Checkpoint("shop", "customers")).headers["Stripe-Account"] == "acct_1"


def test_a_live_account_is_allowed_more_and_an_endpoint_no_more(stripe):
    def rates(options: dict[str, Any]) -> set[tuple[str, str]]:
        return {(tier.budget, str(tier.rate)) for tier in stripe.limits(options).tiers}

    assert ("", "25/s") in rates({}) and ("", "100/s") in rates({"mode": "live"})
    assert rates({}) - rates({"mode": "live"}) == {("", "25/s")}


def test_the_monthly_allowance_of_reads_is_a_limit_unless_it_is_said_not_to_count(stripe):
    def allowance(options: dict[str, Any]) -> list[tuple[float, float]]:
        tiers = [tier.spec() for tier in stripe.limits(options).tiers if tier.budget == "read"]
        return [(tier.limit, tier.window_seconds) for tier in tiers]

    assert allowance({}) == [(10000, 30 * 86400)]
    assert allowance({"monthly_reads": 75000, "mode": "live"}) == [(75000, 30 * 86400)]
    assert allowance({"monthly_reads": 0}) == []


def test_the_credential_test_can_ask_what_a_restricted_key_may_read(stripe):
    request = stripe.test({"test_path": "/customers?limit=1"})
    assert (request.path, dict(request.params)) == ("/customers", {"limit": "1"})
    assert stripe.test({}).path == "/events"


def test_an_unknown_mode_is_refused(stripe):
    with pytest.raises(ConfigError, match="sandbox, live"):
        stripe.resources({"mode": "production"})


def test_a_dispute_is_told_of_as_itself_where_disputes_are_synced_and_as_its_charge_elsewhere(stripe, events):
    billing = stripe.resources({})["billing_events"]
    thing = {"id": "dp_1", "object": "dispute", "charge": "ch_1"}
    fact = {**event("dispute", "dp_1", 9, "created"), "type": "charge.dispute.created", "data": {"object": thing}}
    assert [(item.resource, item.identity.external_id) for item in told(stripe, billing, [fact])] == [
        ("disputes", "dp_1")
    ]
    assert [(item.resource, item.raw) for item in told(stripe, events, [fact])] == [("charges", None)]


def test_a_subscription_that_is_deleted_is_canceled_and_stays(stripe):
    billing = stripe.resources({})["billing_events"]
    thing = {"id": "sub_1", "object": "subscription", "status": "canceled"}
    fact = {**event("subscription", "sub_1", 9), "type": "customer.subscription.deleted", "data": {"object": thing}}
    assert [(item.raw, item.identity.deleted) for item in told(stripe, billing, [fact])] == [(thing, False)]


def test_each_write_has_its_key_and_counts_where_its_reads_do(stripe):
    resources = stripe.resources({})
    pushes = [(one, kind) for one in resources.values() for kind in one.pushes]
    assert {f"{one.name}.{kind}" for one, kind in pushes} >= {
        "payment_intents.capture", "payment_intents.cancel", "refunds.create", "invoices.finalize", "invoices.pay",
        "invoices.void", "invoices.mark_uncollectible", "invoices.send", "customers.metadata", "products.metadata",
    }  # fmt: skip
    for one, kind in pushes:
        change = Change(one.name, "id_1", kind, {"metadata": {"syncd_id": "7"}}, "a-key")
        request = stripe.push(one, change)
        assert request.headers["Idempotency-Key"] == "a-key"
        assert request.headers["Stripe-Version"] == VERSION
        assert request.budget == one.budget
        assert stripe.idempotent(one, change, 3600.0)
        assert not stripe.idempotent(one, change, 25 * 3600.0), "Stripe may have forgotten the key"


def test_what_is_pushed_comes_back_without_what_completes_a_payment(stripe):
    intents = stripe.resources({})["payment_intents"]
    change = Change("payment_intents", "pi_1", "cancel", {}, "a-key")
    said = {"id": "pi_1", "object": "payment_intent", "status": "canceled", "client_secret": "pi_1_secret_x"}
    assert stripe.pushed(intents, change, answer({"body": said})).raw == {name: said[name] for name in list(said)[:3]}
