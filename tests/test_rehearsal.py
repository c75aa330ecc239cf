"""Deliveries made from samples: rightly signed for every driver, fresh, of the type and record asked for."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd import drivers
from syncd.codec import loads
from syncd.errors import AskedWrongError, ConfigError
from syncd.kit.deliveries import Webhooks
from syncd.kit.receiver import Accepted, Receiver, Refused
from syncd.kit.signing import signed
from syncd.kit.verifying import verifier
from syncd.kit.webhooks import Delivery
from syncd.model import Headers
from syncd.rehearsal import Rehearsal, Wish, rehearse, samples_of, setting, types_of
from syncd.secrets import Secret

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SECRETS = {"standard": Secret("whsec_c3ludGhldGljLWd1ZXN0eS13ZWJob29rLWtleS0zMmI=")}
PLAIN: dict[str, Any] = {
    "base_url": "http://127.0.0.1:9",
    "resources": {"things": {"path": "/things", "records": "items", "one": "/things/{id}", "fields": {"name": "name"}}},
}


def every_type() -> list[tuple[str, str]]:
    found = []
    for name in drivers.names():
        if not drivers.kind(name).needs_spec:
            driver = drivers.load(name)
            if driver.spec.webhooks is not None:
                found += [(name, kind) for kind in types_of(driver, samples_of(name))]
    return found


def sent(name: str, wish: Wish, fresh: str = "0a1b2c3d") -> tuple[Receiver, Rehearsal]:
    driver = drivers.load(name)
    assert driver.spec.webhooks is not None
    secret = SECRETS.get(driver.spec.webhooks.verify, Secret("a-secret-of-the-test"))
    url = f"/webhooks/{name}/acme"
    return Receiver(name, "acme", driver, [secret]), rehearse(
        driver, samples_of(name), wish, secret, NOW, fresh, url=url
    )


def described(**rules: Any) -> Any:
    return drivers.load("rest", rest={**PLAIN, "webhooks": rules}, partner="plain")


@pytest.mark.parametrize(("name", "kind"), every_type())
def test_every_type_a_driver_knows_is_accepted_by_its_own_receiver(name: str, kind: str):
    receiver, made = sent(name, Wish(type=kind))
    verdict = receiver.judge(made.delivery, NOW)
    assert isinstance(verdict, Accepted)
    assert verdict.event_type == kind
    assert verdict.event_id == made.event_id


@pytest.mark.parametrize(("name", "kind"), every_type())
def test_two_of_one_type_are_two_deliveries(name: str, kind: str):
    first, second = (sent(name, Wish(type=kind), fresh)[1] for fresh in ("0a1b2c3d", "4e5f6071"))
    assert first.event_id is not None
    assert first.event_id != second.event_id


@pytest.mark.parametrize(("name", "kind"), every_type())
def test_a_forged_one_is_refused_for_its_signature(name: str, kind: str):
    receiver, made = sent(name, Wish(type=kind, forged=True))
    assert receiver.judge(made.delivery, NOW) == Refused("signature")


@pytest.mark.parametrize("name", ["guesty", "stripe"])
def test_a_stale_one_is_rightly_signed_and_too_old(name: str):
    kind = types_of(drivers.load(name), samples_of(name))[0]
    receiver, made = sent(name, Wish(type=kind, stale_seconds=600))
    assert receiver.judge(made.delivery, NOW) == Refused("stale")
    assert isinstance(receiver.judge(made.delivery, NOW - timedelta(minutes=10)), Accepted)


def test_where_no_time_is_signed_nothing_can_be_stale():
    with pytest.raises(ConfigError, match="signs no time"):
        sent("attio", Wish(type="record.updated", stale_seconds=600))


def test_the_record_asked_for_is_the_one_it_tells_of():
    _, made = sent("guesty", Wish(type="listing.updated", external_id="64f0c0ffee0000000000b777"))
    assert [event.external_id for event in made.events] == ["64f0c0ffee0000000000b777"]
    assert made.sample == "listing-updated"
    _, other = sent("guesty", Wish(type="reservation.updated", external_id="66aa10000000000000000b01"))
    assert [(event.resource, event.external_id) for event in other.events] == [
        ("reservations", "66aa10000000000000000b01")
    ]


def test_values_are_set_before_it_is_signed():
    wish = Wish(type="reservation.updated.v2", settings=dict(map(setting, ["data.status=canceled", "data.nights=3"])))
    receiver, made = sent("guesty", wish)
    body = loads(made.delivery.body)
    assert (body["data"]["status"], body["data"]["nights"]) == ("canceled", 3)
    assert isinstance(receiver.judge(made.delivery, NOW), Accepted)


def test_it_happened_now_as_far_as_the_body_says():
    _, made = sent("stripe", Wish(type="customer.updated"))
    assert loads(made.delivery.body)["created"] == int(NOW.timestamp())
    _, other = sent("guesty", Wish(type="reservation.updated.v2"))
    assert loads(other.delivery.body)["publishedAt"] == "2026-11-22T09:00:00Z"


def test_a_slip_in_a_type_is_not_another_event_of_its_family():
    with pytest.raises(ConfigError) as refused:
        sent("attio", Wish(type="record.upated"))
    assert "record.updated" in refused.value.hint


def test_an_unknown_type_is_refused_with_the_one_that_was_probably_meant():
    with pytest.raises(AskedWrongError, match="not known to send") as refused:
        sent("guesty", Wish(type="listing.update"))
    assert "listing.updated" in refused.value.hint


@pytest.mark.parametrize("path", ["", ".", "a..b", "a[", "[x]", "a b[0].c]"])
def test_what_is_no_place_in_a_body_is_said_to_be_none(path: str):
    with pytest.raises(ConfigError, match="no place"):
        sent("stripe", Wish(type="customer.updated", settings={path: 1}))


@pytest.mark.parametrize("path", ["type.name", "data.object[3]", "list[4]"])
def test_a_place_that_cannot_be_made_is_said_to_be_none(path: str):
    with pytest.raises(ConfigError, match="no place"):
        sent("stripe", Wish(type="customer.updated", settings={path: 1}))


def test_a_described_partner_needs_no_samples():
    driver = described(
        verify="hmac_sha256", header="X-Seal", event_id="meta.id", events="events", type="kind", id="ref.id", at="when",
        routes={"changed": "things"},
    )  # fmt: skip
    secret = Secret("a-secret-of-the-test")
    made = rehearse(driver, [], Wish(type="changed", external_id="t7"), secret, NOW, "0a1b2c3d")
    assert [(event.resource, event.external_id, event.at) for event in made.events] == [("things", "t7", NOW)]
    verdict = Receiver("plain", "acme", driver, [secret]).judge(made.delivery, NOW)
    assert verdict == Accepted("sample_0a1b2c3d", "changed", verdict.headers)  # type: ignore[union-attr]


def test_of_a_partner_that_signs_nothing_the_secret_is_the_route():
    driver = described(verify="none", type="kind", id="id", routes={"changed": "things"})
    secret = Secret("an-unguessable-part")
    receiver = Receiver("plain", "acme", driver, [secret])
    made = rehearse(driver, [], Wish(type="changed"), secret, NOW, "0a1b2c3d")
    assert made.delivery.route == "an-unguessable-part"
    assert isinstance(receiver.judge(made.delivery, NOW), Accepted)
    forged = rehearse(driver, [], Wish(type="changed", forged=True), secret, NOW, "0a1b2c3d")
    assert receiver.judge(forged.delivery, NOW) == Refused("signature")


def test_a_type_that_is_the_route_or_a_header():
    secret = Secret("a-secret-of-the-test")
    by_route = described(verify="hmac_sha1", header="X-Seal", prefix="sha1=", id="id", routes={"changed": "things"})
    made = rehearse(by_route, [], Wish(type="changed"), secret, NOW, "0a1b2c3d")
    assert made.delivery.route == "changed"
    assert len(made.events) == 1
    by_header = described(
        verify="hmac_sha256",
        header="X-Seal",
        encoding="base64",
        type="header:X-Kind",
        id="id",
        routes={"changed": "things"},
    )
    made = rehearse(by_header, [], Wish(type="changed"), secret, NOW, "0a1b2c3d")
    assert made.delivery.headers["x-kind"] == "changed"
    assert isinstance(Receiver("plain", "acme", by_header, [secret]).judge(made.delivery, NOW), Accepted)


@pytest.mark.parametrize(
    "rules",
    [
        {"verify": "maintainx"},
        {"verify": "standard"},
        {"verify": "stripe"},
        {"verify": "attio"},
        {"verify": "twilio"},
        {"verify": "hmac_sha1", "header": "X-Seal", "prefix": "sha1="},
        {"verify": "hmac_sha256", "header": "X-Seal", "encoding": "base64"},
    ],
    ids=lambda rules: rules["verify"],
)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_every_scheme_is_signed_as_it_is_verified(rules: dict[str, Any], kind: str):
    scheme = Webhooks(**rules)
    secret = "whsec_c3ludGhldGljLWd1ZXN0eS13ZWJob29rLWtleS0zMmI="
    headers = {"content-type": kind, "webhook-id": "msg_1"}
    for forged in (False, True):
        body = b"a=1&b=2"
        url = "https://here.example/webhooks/p/i"
        if scheme.verify == "twilio" and kind == "application/json":
            url += f"?bodySHA256={hashlib.sha256(body).hexdigest()}"  # so Twilio covers a body that is no form
        delivery = Delivery(body, Headers(headers), url)
        seal = signed(scheme, delivery, secret, NOW.timestamp(), forged=forged)
        found = Delivery(delivery.body, Headers({**headers, **seal}), delivery.url)
        assert bool(verifier(scheme, [secret])(found, NOW.timestamp())) is not forged


def test_a_type_that_ends_the_address_has_its_own_sample_and_the_whole_address_is_signed():
    driver, samples = drivers.load("maintainx"), samples_of("maintainx")
    assert {"WORK_ORDER_STATUS_CHANGE", "PART_DELETE", "NEW_METER"} - set(types_of(driver, samples)) == {"NEW_METER"}
    url, secret = "https://sync.example.com/webhooks/maintainx/plant", Secret("mx_whsec_of_somebody")
    for kind, external_id in (("WORK_ORDER_STATUS_CHANGE", "7301302"), ("WORK_REQUEST_STATUS_CHANGE", "450010")):
        made = rehearse(driver, samples, Wish(type=kind, external_id=external_id), secret, NOW, "0a1b2c3d", url=url)
        assert made.sample and made.delivery.route == kind
        assert [event.external_id for event in made.events] == [external_id]
        receiver = Receiver("maintainx", "plant", driver, [secret], url=url)
        path = f"/webhooks/maintainx/plant/{kind}"
        verdict = receiver.judge(Delivery(made.delivery.body, made.delivery.headers, path, route=kind), NOW)
        assert isinstance(verdict, Accepted) and not receiver.doubted
        assert verdict.event_type == kind and verdict.event_id == made.event_id
