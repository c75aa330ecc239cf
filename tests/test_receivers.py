"""Receivers follow the files and the sealed secrets, part by part, and a broken secret leaves the old receiver."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from syncd import drivers
from syncd.config import Config, load
from syncd.credentials.files import Files
from syncd.errors import StoreError
from syncd.kit import Accepted, Delivery, Headers, Receiver, Refused, macs, signatures
from syncd.ports import StoredCredential
from syncd.receivers import CHANNEL, LOOK_SECONDS, Receivers
from syncd.secrets import Vault
from syncd.store import SealError
from syncd.store.credentials import CredentialNote
from syncd.testing.clock import FakeClock

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
BODY = b'{"id": "evt_1", "type": "customer.updated"}'
STRIPE = """\
driver: stripe
integrations:
  shop:
    credentials: {api_key: {file: key}}
    webhook: {secrets: [%s]%s}
  other:
    credentials: {api_key: {file: other_key}}
"""


def signed(secret: str, at: datetime = NOW) -> Delivery:
    header = signatures.sign_stamped(BODY, str(int(at.timestamp())), secret)
    return Delivery(BODY, Headers({"stripe-signature": header}), "/webhooks/stripe/shop")


class Site:
    """A configuration directory with its secrets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "partners").mkdir()
        (directory / "secrets").mkdir()
        (directory / "syncd.yaml").write_text(
            "secrets: {directory: secrets}\nserver: {public_url: https://sync.example.com}\n"
        )
        self.vault = Vault(directory / "secrets", {})
        self.secret("key", "sk_live")
        self.secret("other_key", "sk_other")

    def secret(self, name: str, value: str) -> None:
        path = self.directory / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(value)

    def file(self, secrets: str, more: str = "", name: str = "stripe", text: str = STRIPE) -> Config:
        (self.directory / "partners" / f"{name}.yaml").write_text(text % (secrets, more))
        self.vault.reload()
        return load(self.directory, drivers=drivers.facts(), env={}).require()


class Sealed:
    """Stands in for the store: sealed rows, and what is listened to."""

    def __init__(self) -> None:
        self.rows: dict[str, Mapping[str, str]] = {}
        self.fails = ""
        """Whose row does not open; `*`: the database is away, `half`: it goes away in between."""
        self.heard: Any = None

    @property
    def credentials(self) -> Sealed:
        return self

    async def list(self) -> list[CredentialNote]:
        if self.fails == "*":
            raise StoreError("the database is away")
        return [CredentialNote(name, "webhook", "k", 1, None, NOW) for name in self.rows]

    async def get(self, integration: str, kind: str) -> StoredCredential:
        if self.fails == integration:
            raise SealError("does not open")
        if self.fails == "half":
            raise StoreError("the database went away")
        return StoredCredential(integration, kind, self.rows[integration], None, 1)

    async def listen(self, channel: str, listener: Any) -> None:
        assert channel == CHANNEL
        self.heard = listener


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def of(receivers: Receivers, name: str = "shop") -> Receiver:
    return receivers.current["stripe", name]


def lets_in(receivers: Receivers, secret: str, name: str = "shop") -> bool:
    return isinstance(of(receivers, name).judge(signed(secret), NOW), Accepted)


def test_both_secrets_are_valid_while_both_are_listed(site: Site) -> None:
    receivers = Receivers(site.vault, lambda: None)
    site.secret("old", "whsec_old")
    site.secret("new", "whsec_new")
    for listed, valid in (("{file: old}", {"whsec_old"}), ("{file: old}, {file: new}", {"whsec_old", "whsec_new"}),
                          ("{file: new}", {"whsec_new"})):  # fmt: skip
        assert receivers.load(site.file(listed)) == {}
        assert {secret for secret in ("whsec_old", "whsec_new") if lets_in(receivers, secret)} == valid


def test_during_a_rotation_the_secret_before_is_valid_beside_the_one_in_the_file(site: Site) -> None:
    site.secret("hook", "whsec_old")
    receivers = Receivers(site.vault, lambda: None)
    receivers.load(site.file("{file: hook}"))
    files = Files(site.directory / "secrets" / "hook")
    files.draft(b"whsec_new")
    files.replace()
    receivers.load(site.file("{file: hook}"))
    assert [lets_in(receivers, secret) for secret in ("whsec_new", "whsec_old", "whsec_other")] == [True, True, False]
    files.forget()
    receivers.load(site.file("{file: hook}"))
    assert [lets_in(receivers, secret) for secret in ("whsec_new", "whsec_old")] == [True, False]


def test_a_secret_that_cannot_be_read_keeps_the_old_receiver_and_says_so(site: Site) -> None:
    receivers = Receivers(site.vault, lambda: None)
    site.secret("hook", "whsec_old")
    receivers.load(site.file("{file: hook}"))
    (site.directory / "secrets" / "hook").chmod(0o644)
    kept = receivers.load(site.file("{file: hook}"))
    assert "chmod 600" in kept["shop"] and "whsec" not in kept["shop"]
    assert lets_in(receivers, "whsec_old")
    (site.directory / "secrets" / "hook").chmod(0o600)
    site.secret("hook", "whsec_new")
    assert receivers.load(site.file("{file: hook}")) == {}
    assert lets_in(receivers, "whsec_new") and not lets_in(receivers, "whsec_old")


def test_one_with_a_broken_secret_from_the_start_refuses_and_the_others_work(site: Site) -> None:
    receivers = Receivers(site.vault, lambda: None)
    kept = receivers.load(site.file("{file: missing}"))
    assert list(kept) == ["shop"]
    assert of(receivers).judge(signed("x"), NOW) == Refused("disabled")
    site.secret("second", "whsec_second")
    receivers = Receivers(site.vault, lambda: None)
    assert "missing" in receivers.load(site.file("{file: missing}, {file: second}"))["shop"]
    assert lets_in(receivers, "whsec_second"), "one that can be read is better than none"
    site.secret("missing", "whsec_first")
    assert receivers.load(site.file("{file: missing}, {file: second}")) == {}
    assert lets_in(receivers, "whsec_first")
    assert of(receivers, "other").judge(signed("x"), NOW) == Refused("disabled")


def test_an_integration_is_judged_by_its_own_rules_tolerance_cap_and_address(site: Site) -> None:
    receivers = Receivers(site.vault, lambda: None)
    site.secret("hook", "whsec_x")
    receivers.load(site.file("{file: hook}", ", tolerance: 1h, per_second: 7"))
    late = signed("whsec_x", datetime(2026, 11, 22, 8, 1, tzinfo=UTC))
    assert isinstance(of(receivers).judge(late, NOW), Accepted)
    assert of(receivers).per_second == 7
    assert of(receivers).url == "https://sync.example.com/webhooks/stripe/shop"
    text = """\
driver: rest
rest: {base_url: 'https://x.example', resources: {boats: {path: /boats, id: id}},
       webhooks: {verify: hmac_sha256, header: X-One, routes: {boat.changed: boats}}}
integrations:
  one: {webhook: {secrets: [%s]}}
  two: {webhook: {secrets: [{file: hook}], rules: {header: X-Two%s}}}
"""
    receivers.load(site.file("{file: hook}", name="boats", text=text))
    signature = signatures.digest(b"whsec_x", BODY).decode()
    for header, name in (("x-one", "one"), ("x-two", "two")):
        for judge in ("one", "two"):
            found = receivers.current["boats", judge].judge(Delivery(BODY, Headers({header: signature})), NOW)
            assert isinstance(found, Accepted) == (name == judge)


def test_a_switched_off_integration_refuses(site: Site) -> None:
    receivers = Receivers(site.vault, lambda: None)
    site.secret("hook", "whsec_x")
    config = site.file("{file: hook}")
    off = config.partners["stripe"].model_copy(update={"enabled": False})
    receivers.load(config.model_copy(update={"partners": {"stripe": off}}))
    assert of(receivers).judge(signed("whsec_x"), NOW) == Refused("disabled")


async def test_a_broken_file_keeps_no_sealed_secret_out(site: Site) -> None:
    sealed = Sealed()
    sealed.rows["shop"] = {"we_1": "whsec_given"}
    receivers = Receivers(site.vault, lambda: sealed)  # type: ignore[arg-type,return-value]
    site.secret("good", "whsec_good")
    assert "missing" in receivers.load(site.file("{file: missing}, {file: good}"))["shop"]
    await receivers.refresh()
    assert lets_in(receivers, "whsec_given") and lets_in(receivers, "whsec_good")
    sealed.rows.clear()
    await receivers.refresh()
    assert not lets_in(receivers, "whsec_given"), "what was forgotten is not valid any more"


async def test_secrets_of_registration_are_taken_up_at_once_and_one_that_does_not_open_hurts_no_other(
    site: Site,
) -> None:
    sealed = Sealed()
    receivers = Receivers(site.vault, lambda: sealed)  # type: ignore[arg-type,return-value]
    site.secret("hook", "whsec_file")
    receivers.load(site.file("{file: hook}"))
    sealed.fails = "*"
    clock = FakeClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receivers.keep, clock)
        await clock.advance(10)
        assert not receivers.ready
        sealed.fails = ""
        sealed.rows["shop"] = {"we_1": "whsec_given"}
        await clock.advance(10)
        assert receivers.ready
        assert lets_in(receivers, "whsec_given") and lets_in(receivers, "whsec_file")
        sealed.rows["shop"] = {"we_2": "whsec_later"}
        sealed.rows["other"] = {"we_3": "whsec_other"}
        sealed.fails = "shop"
        sealed.heard("other")
        await clock.advance(10)
        assert lets_in(receivers, "whsec_other", "other")
        assert lets_in(receivers, "whsec_given"), "what was known of it stays"
        assert not receivers.ready, "and whom its new one would let in is not known"
        sealed.fails = ""
        await clock.advance(LOOK_SECONDS)
        assert receivers.ready and lets_in(receivers, "whsec_later"), "nobody had to say so"
        tasks.cancel_scope.cancel()


async def test_a_database_that_goes_away_between_two_questions_leaves_a_doubt_and_is_asked_again(site: Site) -> None:
    sealed = Sealed()
    sealed.rows["shop"] = {"we_1": "whsec_given"}
    sealed.fails = "half"
    receivers = Receivers(site.vault, lambda: sealed)  # type: ignore[arg-type,return-value]
    receivers.load(site.file(""))
    clock = FakeClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receivers.keep, clock)
        await clock.advance(10)
        assert not receivers.ready
        sealed.fails = ""
        await clock.advance(1)
        assert receivers.ready and lets_in(receivers, "whsec_given")
        sealed.rows["shop"] = {"we_2": "whsec_later"}
        sealed.fails = "half"
        sealed.heard("shop")
        await clock.advance(1)
        assert not receivers.ready and lets_in(receivers, "whsec_given")
        sealed.fails = ""
        await clock.advance(1)
        assert receivers.ready and lets_in(receivers, "whsec_later")
        tasks.cancel_scope.cancel()


async def test_while_a_file_cannot_be_read_nobody_is_refused_for_good_and_it_is_looked_at_again(site: Site) -> None:
    sealed = Sealed()
    receivers = Receivers(site.vault, lambda: sealed)  # type: ignore[arg-type,return-value]
    config = site.file("{file: late}")
    clock = FakeClock()
    with capture_logs() as log:
        receivers.load(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receivers.keep, clock)
            await clock.advance(10 * LOOK_SECONDS)
            assert not receivers.ready
            site.secret("late", "whsec_late")
            await clock.advance(LOOK_SECONDS)
            assert receivers.ready and lets_in(receivers, "whsec_late")
            (site.directory / "secrets" / "late").unlink()
            receivers.load(site.file("{file: late}"))
            assert not receivers.ready and lets_in(receivers, "whsec_late"), "a reload with it: as before, in doubt"
            off = config.partners["stripe"].model_copy(update={"enabled": False})
            receivers.load(config.model_copy(update={"partners": {"stripe": off}}))
            assert receivers.ready, "of one that is switched off nothing is missed"
            tasks.cancel_scope.cancel()
    said = [entry["integration"] for entry in log if entry["event"] == "webhook_secret_not_read"]
    assert said == ["shop"] * 3, "once for each load a person asked for"


@pytest.mark.parametrize("name", ["verifier", "event_id", "kept_headers"])
def test_a_fault_of_a_driver_is_its_own_partners_trouble_and_shows_no_secret(
    site: Site, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(self: Any, *arguments: Any, **more: Any) -> Any:
        raise ValueError("odd secret: whsec_x")

    receivers = Receivers(site.vault, lambda: None)
    site.secret("hook", "whsec_x")
    config = site.file("{file: hook}")
    receivers.load(config)
    monkeypatch.setattr(drivers.kind("stripe"), name, property(fault) if name == "event_id" else fault)
    kept = receivers.load(config)
    assert set(kept) >= {"shop"}
    assert "ValueError" in kept["shop"] and "whsec" not in kept["shop"]
    assert lets_in(receivers, "whsec_x"), "judged as before"


def test_a_fault_over_the_account_of_one_integration_is_its_trouble_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def account(self: Any, options: Mapping[str, Any]) -> str:
        if "account" in options:
            raise KeyError("odd")
        return ""

    monkeypatch.setattr(drivers.kind("stripe"), "account", account)
    site.secret("hook", "whsec_x")
    receivers = Receivers(site.vault, lambda: None)
    kept = receivers.load(site.file("{file: hook}", text=STRIPE + "    options: {account: acct_2}\n"))
    assert list(kept) == ["other"] and "KeyError" in kept["other"]
    assert lets_in(receivers, "whsec_x") and ("stripe", "other") not in receivers.current


def test_rules_of_an_integration_alone_make_it_a_receiver(site: Site) -> None:
    text = """\
driver: rest
rest: {base_url: 'https://x.example', resources: {boats: {path: /boats, id: id}}}
integrations:
  one: {webhook: {secrets: [%s], rules: {verify: stripe, routes: {boat.changed: boats}}%s}}
  two: {}
"""
    receivers = Receivers(site.vault, lambda: None)
    site.secret("hook", "whsec_x")
    receivers.load(site.file("{file: hook}", name="boats", text=text))
    assert isinstance(receivers.current["boats", "one"].judge(signed("whsec_x"), NOW), Accepted)
    assert ("boats", "two") not in receivers.current


def test_a_forged_delivery_costs_the_same_however_many_secrets_its_integration_has(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("old", "new", "third"):
        site.secret(name, f"whsec_{name}")
    text = STRIPE + "    webhook: {secrets: [{file: third}]}\n"
    receivers = Receivers(site.vault, lambda: None)
    receivers.load(site.file("{file: old}, {file: new}", text=text))
    hashed: list[int] = []
    before = macs.Hmac.digest

    def digest(mac: macs.Hmac, message: bytes) -> bytes:
        hashed.append(len(message))
        return before(mac, message)

    monkeypatch.setattr(macs.Hmac, "digest", digest)
    costs = {}
    for name in ("shop", "other"):
        hashed.clear()
        assert of(receivers, name).judge(signed("whsec_forged"), NOW) == Refused("signature")
        costs[name] = list(hashed)
    assert costs["shop"] == costs["other"] and len(costs["shop"]) == 2
    hashed.clear()
    assert lets_in(receivers, "whsec_third", "other")
    assert len(hashed) == 1, "a delivery that is its partner's pays for nobody"


HOSTS = """\
driver: airbnb
integrations:
  acme:
    credentials: {client_id: {file: key}, client_secret: {file: key}, refresh_token: {file: token_1}}
    options: {host_id: 1}
    webhook: {secrets: [%s]}
  second:
    credentials: {client_id: {file: key}, client_secret: {file: key}, refresh_token: {file: token_2}}
    options: {host_id: 2}
  keyed:
    credentials: {client_id: {file: key}, client_secret: {file: key}, refresh_token: {file: token_3}}
    options: {host_id: 3}
    webhook: {secrets: [{file: own}]}
  off:
    enabled: false
    credentials: {client_id: {file: key}, client_secret: {file: key}, refresh_token: {file: token_4}}
    options: {host_id: 4}
%s"""


BOOKED = '{"action": "reservation_requested", "reservation": {"host_id": %d}}'
UNSURE = "unsure"


def of_hosts(site: Site) -> tuple[Sealed, Receivers]:
    site.secret("hook", "a-secret-in-the-address")
    for host in range(1, 5):
        site.secret(f"token_{host}", f"rt-{host}")
    sealed = Sealed()
    return sealed, Receivers(site.vault, lambda: sealed)  # type: ignore[arg-type,return-value]


def told_of(
    receivers: Receivers, body: str, name: str = "acme", secret: str = "a-secret-in-the-address"
) -> Accepted | Refused:
    told = Delivery(body.encode(), Headers(), f"/webhooks/airbnb/{name}/{secret}", route=secret)
    return receivers.current["airbnb", name].judge(told, NOW)


def whose(receivers: Receivers, *hosts: int) -> list[str]:
    """Of deliveries to the first one's address, by the host they name: whose each is, or why it is refused."""
    found = [told_of(receivers, BOOKED % host) for host in hosts]
    return [one.handed if isinstance(one, Accepted) else one.reason for one in found]


async def test_of_one_address_for_several_accounts_each_delivery_is_of_the_integration_it_names(site: Site) -> None:
    """Not of one with a secret of its own that the address does not share: who knows another's may not speak for it."""
    _, receivers = of_hosts(site)
    site.secret("own", "another-secret")
    assert receivers.load(site.file("{file: hook}", name="airbnb", text=HOSTS)) == {}
    await receivers.refresh()

    def handed(body: str, name: str = "acme", secret: str = "a-secret-in-the-address") -> str:
        found = told_of(receivers, body, name, secret)
        assert isinstance(found, Accepted) and found.headers["syncd-known-by"] == "url"
        return found.handed

    booked = BOOKED
    assert [handed(booked % host) for host in (1, 2, 3, 4, 99)] == ["", "second", "", "", ""]
    assert handed('{"thread": {"attachment": {"roles": [{"role": "owner", "user_ids": [77, 2]}]}}}') == "second"
    assert handed('{"thread": {"attachment": {"roles": [{"role": "cohost", "user_ids": [2, 1]}]}}}') == "second"
    assert [handed(body) for body in ("nothing", "[]", '{"mappings": []}')] == ["", "", ""]
    assert handed(booked % 2, "keyed", "another-secret") == "second"
    assert receivers.current["airbnb", "second"].judge(Delivery(b"{}", Headers()), NOW) == Refused("disabled")
    site.secret("own", "a-secret-in-the-address")
    site.vault.reload()
    receivers.load(site.file("{file: hook}", name="airbnb", text=HOSTS))
    assert handed(booked % 3) == "keyed", "they share the secret: it is one application's"


async def test_one_whose_secrets_are_not_all_known_is_handed_nothing_and_loses_nothing(site: Site) -> None:
    """That none could be read is not that there are none: its partner is told to come again."""
    sealed, receivers = of_hosts(site)
    assert list(receivers.load(site.file("{file: hook}", name="airbnb", text=HOSTS))) == ["keyed"]
    assert whose(receivers, 1, 2, 3, 4, 99) == ["", UNSURE, UNSURE, "", ""], "sealed ones were not asked for yet"
    await receivers.refresh()
    assert whose(receivers, 1, 2, 3) == ["", "second", UNSURE] and not receivers.ready, "its file cannot be read"
    site.secret("own", "another-secret")
    await receivers.refresh()
    assert whose(receivers, 1, 2, 3) == ["", "second", ""] and receivers.ready
    sealed.rows["second"] = {"one": "sealed-secret"}
    sealed.fails = "second"
    await receivers.refresh()
    assert whose(receivers, 1, 2, 3) == ["", UNSURE, ""] and not receivers.ready, "its sealed row does not open"
    sealed.fails = ""
    await receivers.refresh()
    assert whose(receivers, 1, 2, 3) == ["", "", ""], "it has one of its own, which the address does not know"
    sealed.rows["second"] = {"one": "a-secret-in-the-address"}
    await receivers.refresh()
    assert whose(receivers, 2) == ["second"]


async def test_an_account_that_the_options_of_the_partner_say_counts(site: Site) -> None:
    _, receivers = of_hosts(site)
    site.secret("own", "another-secret")
    text = HOSTS.replace("    options: {host_id: 2}\n", "").replace(
        "integrations:", "options: {host_id: 2}\nintegrations:"
    )
    receivers.load(site.file("{file: hook}", name="airbnb", text=text))
    await receivers.refresh()
    assert whose(receivers, 1, 2) == ["", "second"]


async def test_a_route_is_judged_by_the_secret_of_the_subscription_of_its_kind(site: Site) -> None:
    """One subscription, one kind of event, one secret: what another one signed is none of it. One of a file is of any."""
    site.secret("hook", "of any")
    text = (
        "driver: maintainx\nintegrations:\n  plant: {credentials: {api_key: {file: key}}, webhook: {secrets: [%s]}}\n%s"
    )
    sealed = Sealed()
    sealed.rows["plant"] = {"WORK_ORDER_DELETE/1": "ends", "WORK_ORDER_CHANGE/2": "old", "WORK_ORDER_CHANGE/3": "new"}
    receivers = Receivers(site.vault, lambda: sealed)  # type: ignore[arg-type,return-value]
    receivers.load(site.file("{file: hook}", name="maintainx", text=text))
    await receivers.refresh()

    def fits(secret: str, route: str) -> bool:
        stamped = signatures.sign_stamped(BODY, str(int(NOW.timestamp())), secret)
        headers = Headers({"x-maintainx-webhook-body-signature": stamped})
        delivery = Delivery(BODY, headers, f"/webhooks/maintainx/plant/{route}", route=route)
        return isinstance(receivers.current["maintainx", "plant"].judge(delivery, NOW), Accepted)

    routes = ("WORK_ORDER_DELETE", "WORK_ORDER_CHANGE", "NEW_ASSET", "")
    shown = {
        secret: [fits(secret, route) for route in routes] for secret in ("ends", "old", "new", "of any", "nobody's")
    }
    assert shown == {
        "ends": [True, False, False, False],
        "old": [False, True, False, False],
        "new": [False, True, False, False],
        "of any": [True, True, True, True],
        "nobody's": [False] * 4,
    }
