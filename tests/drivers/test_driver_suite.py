"""The suite that judges every driver: a sound one passes it, and each kind of fault is caught by name."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from syncd.kit import (
    Change,
    Checkpoint,
    Delivery,
    Driver,
    Identity,
    Item,
    PartnerError,
    RateLimitError,
    Raw,
    Record,
    Request,
    Resource,
    Response,
    RestDriver,
    Secret,
    signatures,
)
from syncd.kit.reading import parse
from syncd.kit.signatures import Verdict
from syncd.testing.driver_suite import Check, checks, checks_of

SPEC: dict[str, Any] = {
    "name": "acme",
    "auth": {"kind": "bearer"},
    "limits": {"tiers": ["10/s"]},
    "page_size": 2,
    "resources": {
        "boats": {
            "path": "/boats",
            "records": "items",
            "updated": "changed",
            "pages": {"kind": "cursor", "param": "after", "next": "next", "size": "limit"},
            "since": "since",
            "fields": {"name": "name", "length": {"as": "number"}},
            "pushes": {
                "rename": {"method": "PATCH", "path": "/boats/{id}", "fields": {"name": "text"}, "idempotency": "natural"},
                "hire": {"path": "/boats/{id}/hire", "idempotency": "header:Idempotency-Key"},
            },
        },
        "bookings": {"path": "/boats/{parent.id}/bookings", "parent": "boats", "records": "items"},
    },
    "webhooks": {"verify": "hmac_sha256", "header": "X-Sig", "event_id": "id", "type": "type", "id": "boat",
                 "routes": {"boat.gone": "boats"}, "deletes": ["boat.gone"]},
    "quality": {"tier": "silver", "owner": "the harbour team", "excused": {"sample-401": "its keys never expire"}},
}  # fmt: skip
BODY = '{"id": "e1", "type": "boat.gone", "boat": "b1"}'
SAMPLES: dict[str, Any] = {
    "boats.plain": {
        "raw": {"id": "b1", "changed": "2026-11-01T08:00:00Z", "name": "Else", "length": "7.5", "berth": {"no": [1]}},
        "id": "b1",
        "updated_at": "2026-11-01T08:00:00Z",
        "data": {"name": "Else", "length": 7.5},
    },
    "boats.wrong": {"raw": {"id": "b1", "length": "long"}, "reject": "field length"},
    "bookings.plain": {"raw": {"id": 5}, "id": "5", "data": {}},
    "boats.walk.pages": {
        "since": "2026-11-01T08:00:00Z",
        "ids": ["b1", "b2"],
        "pages": [
            {
                "request": {"path": "/boats", "params": {"limit": "2", "since": "2026-11-01T08:00:00.000Z"}},
                "answer": {"body": {"items": [{"id": "b1"}], "next": "x"}},
            },
            {
                "request": {"params": {"limit": "2", "since": "2026-11-01T08:00:00.000Z", "after": "x"}},
                "answer": {"body": {"items": [{"id": "b2"}]}},
            },
        ],
    },
    "limited.error": {
        "answer": {"status": 429, "headers": {"Retry-After": "7"}},
        "error": "RateLimitError",
        "wait_seconds": 7,
    },
    "sick.error": {"answer": {"status": 502}, "error": "TransientError"},
    "boats.rename.push": {
        "kind": "rename",
        "id": "b1",
        "data": {"name": "Else"},
        "request": {"method": "PATCH", "path": "/boats/b1", "json": {"name": "Else"}},
        "answer": {"body": {"id": "b1"}},
    },
    "boats.named-by-number.push": {"kind": "rename", "id": "b1", "data": {"name": 5}, "reject": "field name"},
    "fine.error": {"answer": {"status": 200, "body": {"error": None}}, "error": None},
    "gone.webhook": {
        "body": BODY,
        "headers": {"X-Sig": signatures.digest(b"a-long-secret", BODY.encode()).decode()},
        "secrets": ["a-long-secret"],
        "event_id": "e1",
        "events": [{"resource": "boats", "external_id": "b1", "deleted": True}],
    },
}
README = "# Acme\n" + "".join(
    f"## {heading}\n2026-11: nothing.\n"
    for heading in ("Limits (stated, observed)", "Auth", "Oddities", "Webhooks", "Support")
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "samples").mkdir()
    (tmp_path / "README.md").write_text(README)
    for name, content in SAMPLES.items():
        (tmp_path / "samples" / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def failing(driver: Driver, folder: Path) -> set[str]:
    """Names of the checks that do not hold."""
    found = set()
    for check in checks_of("acme", driver, folder):
        try:
            check()
        except AssertionError:
            found.add(str(check).removeprefix("acme-"))
        except Exception as error:
            found.add(f"{str(check).removeprefix('acme-')}: {type(error).__name__}")
    return found


def test_a_sound_driver_passes(folder: Path) -> None:
    driver = RestDriver(parse(SPEC))
    assert failing(driver, folder) == set()
    assert len(checks_of("acme", driver, folder)) >= 20


@pytest.mark.parametrize(
    ("sample", "change", "check"),
    [
        ("boats.plain", {"id": "b2"}, "record-boats-plain"),
        ("boats.plain", {"data": {"name": "Else"}}, "record-boats-plain"),
        ("boats.plain", {"updated_at": "2026-11-01T08:00:01Z"}, "record-boats-plain"),
        ("boats.plain", {"deleted": True}, "record-boats-plain"),
        ("boats.wrong", {"reject": "field name"}, "record-boats-wrong"),
        ("boats.wrong", {"raw": {"id": "b1"}}, "record-boats-wrong"),
        ("boats.walk.pages", {"ids": ["b1"]}, "pages-boats-walk"),
        ("boats.walk.pages", {"since": None}, "pages-boats-walk"),
        ("limited.error", {"error": "TransientError"}, "error-limited"),
        ("limited.error", {"wait_seconds": 8}, "error-limited"),
        ("fine.error", {"error": "RejectedError"}, "error-fine"),
        ("gone.webhook", {"secrets": ["another-one"]}, "webhook-gone"),
        ("gone.webhook", {"event_id": "e2"}, "webhook-gone"),
        ("gone.webhook", {"events": []}, "webhook-gone"),
        ("boats.rename.push", {"request": {"json": {"name": "Other"}}}, "push-boats-rename"),
        ("boats.rename.push", {"confirms": False}, "push-boats-rename"),
        ("boats.rename.push", {"pushed": "b1"}, "push-boats-rename"),
        ("boats.rename.push", {"answer": {"status": 500}}, "push-boats-rename"),
        ("boats.rename.push", {"data": {"colour": "red"}}, "push-boats-rename"),
        ("boats.rename.push", {"reject": "field name"}, "push-boats-rename"),
        ("boats.named-by-number.push", {"data": {"name": "Else"}}, "push-boats-named-by-number"),
        ("boats.named-by-number.push", {"reject": "field colour"}, "push-boats-named-by-number"),
    ],
)
def test_a_sample_that_does_not_come_true_fails(sample: str, change: dict[str, Any], check: str, folder: Path) -> None:
    (folder / "samples" / f"{sample}.json").write_text(json.dumps({**SAMPLES[sample], **change}))
    assert check in failing(RestDriver(parse(SPEC)), folder)


def test_a_walk_that_goes_on_or_ends_too_soon_fails(folder: Path) -> None:
    pages = SAMPLES["boats.walk.pages"]["pages"]
    for wrong in ([pages[0]], [pages[1], pages[1]]):
        content = {**SAMPLES["boats.walk.pages"], "pages": wrong}
        (folder / "samples" / "boats.walk.pages.json").write_text(json.dumps(content))
        assert "pages-boats-walk" in failing(RestDriver(parse(SPEC)), folder)


@pytest.mark.parametrize("missing", ["README.md", "samples/bookings.plain.json", "samples/limited.error.json"])
def test_a_claimed_rung_of_the_ladder_has_to_be_earned(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    assert failing(RestDriver(parse(SPEC)), folder) == {"earns-its-quality"}


@pytest.mark.parametrize(
    "change",
    [
        {"quality": {"tier": "silver", "owner": "us"}},
        {"quality": {"tier": "silver", "owner": "us", "excused": {"sample-401": "no"}}},
        {"limits": {"tiers": ["10/s"], "share": 0.9}},
    ],
    ids=str,
)
def test_an_excuse_needs_words_and_a_high_share_a_reason(change: dict[str, Any], folder: Path) -> None:
    assert failing(RestDriver(parse({**SPEC, **change})), folder) == {"earns-its-quality"}


class Gullible(RestDriver):
    def verify(self, delivery: Delivery, secrets: Any, now: datetime) -> bool:
        return "x-sig" in delivery.headers


class Careless(RestDriver):
    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        record = super().normalize(resource, raw, adapter)
        record.data["first"] = (raw.get("name") or " ").split()[0:1]
        return record


class Untidy(RestDriver):
    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        raw["seen"] = True
        return super().normalize(resource, raw, adapter)


class Forgetful(RestDriver):
    def request(self, resource: Resource, checkpoint: Checkpoint) -> Request:
        return replace(super().request(resource, checkpoint), cursor=None)


class Deaf(RestDriver):
    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        return None


class Endless(RestDriver):
    def following(self, resource: Resource, request: Request, response: Response) -> Request | None:
        return replace(request, cursor=str(int(request.cursor or "0") + 1))


class Generous(RestDriver):
    def identify(self, resource: Resource, raw: Raw, adapter: str = "") -> Identity:
        return Identity(str(raw.get("id")) if raw.get("id") else "")


class Counting(RestDriver):
    calls = 0

    def request(self, resource: Resource, checkpoint: Checkpoint) -> Request:
        self.calls += 1
        return replace(super().request(resource, checkpoint), headers={"n": str(self.calls)})


class Climbing(RestDriver):
    def child_request(self, child: Resource, parent_id: str, *rest: Any) -> Request:
        return Request(f"/boats/{parent_id}/bookings", route=child.path)


class Patient(RestDriver):
    """Reads waits in seconds only."""

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        if response.status_code != 429:
            return super().classify(response, now)
        told = response.headers.get("retry-after", "")
        until = now + timedelta(seconds=int(told)) if told.isdecimal() and len(told) < 9 else None
        return RateLimitError("later", status=429, retry_at=until)


class Hasty(Patient):
    """Takes an HTTP date for one by our clock."""

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        found = super().classify(response, now)
        told = response.headers.get("retry-after", "")
        if isinstance(found, RateLimitError) and told.endswith("GMT") and "99" not in told:
            found.retry_at = parsedate_to_datetime(told)
        return found


class Credulous(RestDriver):
    """Believes any number."""

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        found = super().classify(response, now)
        if isinstance(found, RateLimitError) and response.headers.get("retry-after", "").isdigit():
            found.retry_at = now + timedelta(seconds=min(int(response.headers["retry-after"]), 10**9))
        return found


class Wordy(RestDriver):
    """Keeps whatever comes."""

    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        record = super().normalize(resource, raw, adapter)
        record.data["all"] = len(raw)
        return record


class Renaming(RestDriver):
    """Names a delivery by its signature."""

    def event_id(self, delivery: Delivery) -> str | None:
        return delivery.headers.get("x-sig")


class Fresh(RestDriver):
    """Another key with each try."""

    tries = 0

    def push(self, resource: Resource, change: Change) -> Request:
        self.tries += 1
        return super().push(resource, replace(change, idempotency_key=str(self.tries)))


class Keyless(RestDriver):
    """Leaves the key out."""

    def push(self, resource: Resource, change: Change) -> Request:
        return replace(super().push(resource, change), headers={})


class Round(RestDriver):
    """Goes on for ever, with a cursor of its own making."""

    def pages(self, resource: Resource, first: Request) -> Any:
        request, number = first, 0
        while True:
            response = yield request
            if not resource.reader.records(response):
                return
            number += 1
            request = replace(request, cursor=str(number))


class Empty(RestDriver):
    def items(self, resource: Resource, response: Response) -> list[Item]:
        return [Item(resource.name)]


@pytest.mark.parametrize(
    ("kind", "checks"),
    [
        (Gullible, {"refuses-forged-deliveries", "webhook-gone"}),
        (Careless, {"record-boats-plain-distorted: AttributeError"}),
        (Untidy, {"record-boats-plain", "record-bookings-plain"}),
        (Forgetful, {"boats-asks-the-same-twice"}),
        (Deaf, {"classifies-what-http-says", "error-limited"}),
        (Endless, {"boats-ends-or-refuses", "bookings-ends-or-refuses"}),
        (Generous, {"boats-refuses-what-is-no-record"}),
        (Counting, {"boats-asks-the-same-twice"}),
        (Climbing, {"bookings-keeps-ids-in-place"}),
        (Patient, {"reads-every-wait"}),
        (Hasty, {"reads-every-wait"}),
        (Credulous, {"survives-senseless-waits"}),
        (Wordy, {"record-boats-plain-of-another-shape"}),
        (Renaming, {"knows-a-second-try"}),
        (Fresh, {"boats-push-hire-is-the-same-twice"}),
        (Keyless, {"boats-push-hire-is-the-same-twice"}),
        (Round, {"pages-boats-walk-repeated"}),
        (Empty, {"pages-boats-walk"}),
    ],
)
def test_each_fault_of_a_driver_is_caught_by_name(kind: type[Driver], checks: set[str], folder: Path) -> None:
    assert checks <= failing(kind(parse(SPEC)), folder)


STANDARD = {"verify": "standard", "event_id": "header:svix-id", "type": "type", "id": "boat", "routes": {"x": "boats"}}


def test_a_driver_that_lets_old_deliveries_in_is_caught(folder: Path) -> None:
    (folder / "samples/gone.webhook.json").unlink()
    spec = {**SPEC, "webhooks": STANDARD}
    driver = RestDriver(parse(spec))
    assert failing(driver, folder) == set()
    driver.verifier = lambda secrets, **how: RestDriver.verifier(driver, secrets, tolerance_seconds=1e9)  # type: ignore[method-assign]
    assert failing(driver, folder) == {"refuses-what-is-stale"}


def test_a_signature_that_is_compared_in_part_is_caught(folder: Path) -> None:
    def verifier(secrets: Any, **how: Any) -> Any:
        held = [one.reveal().encode() for one in secrets]

        def verify(delivery: Delivery, now: float) -> Verdict:
            given, body = str(delivery.headers.get("x-sig") or ""), delivery.body
            fits = any(given[:20] == signatures.digest(one, body).decode()[:20] for one in held)
            return Verdict.FITS if fits else Verdict.FORGED

        return verify

    driver = RestDriver(parse(SPEC))
    driver.verifier = verifier  # type: ignore[method-assign]
    assert failing(driver, folder) == {"knows-its-own-deliveries"}


@pytest.mark.parametrize(
    "verify", ["hmac_sha256", "hmac_sha1", "standard", "stripe", "attio", "maintainx", "twilio", "airbnb", "none"]
)
def test_every_scheme_there_is_signs_and_sees_every_change(verify: str, folder: Path) -> None:
    (folder / "samples/gone.webhook.json").unlink()
    spec = {**SPEC, "webhooks": {"verify": verify, "header": "X-Sig" if "hmac" in verify else None, "event_id": "id"}}
    assert failing(RestDriver(parse(spec)), folder) == set()


@pytest.mark.parametrize(
    "verify", ["hmac_sha256", "standard", "stripe", "attio", "maintainx", "twilio", "airbnb", "none"]
)
def test_of_no_scheme_anything_is_let_in(verify: str, folder: Path) -> None:
    (folder / "samples/gone.webhook.json").unlink()
    spec = {**SPEC, "webhooks": {"verify": verify, "header": "X-Sig" if "hmac" in verify else None, "event_id": "id"}}
    driver = RestDriver(parse(spec))
    driver.verifier = lambda secrets, **how: lambda delivery, now: Verdict.FITS if secrets else Verdict.FORGED  # type: ignore[method-assign]
    assert "knows-its-own-deliveries" in failing(driver, folder)


IMPURE = """
import asyncio
from syncd.kit import RestDriver

class Acme(RestDriver):
    async def test(self):
        await asyncio.sleep(1)
"""


@pytest.mark.parametrize(
    "source",
    [
        IMPURE,
        "import time\nfrom syncd.kit import RestDriver\nclass Acme(RestDriver): pass",
        "from syncd.store import Store\nfrom syncd.kit import RestDriver\nclass Acme(RestDriver): pass",
        "import httpx\nfrom syncd.kit import RestDriver\nclass Acme(RestDriver): pass",
    ],
)
def test_a_driver_that_waits_or_reaches_past_the_kit_is_impure(
    source: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    file = tmp_path / "impure_driver.py"
    file.write_text(source.replace("from syncd.store import Store", "import syncd.store"))
    described = util.spec_from_file_location("impure_driver", file)
    assert described is not None
    assert described.loader is not None
    module = util.module_from_spec(described)
    monkeypatch.setitem(__import__("sys").modules, "impure_driver", module)
    described.loader.exec_module(module)
    assert "is-pure" in {name.split(":")[0] for name in failing(module.Acme(parse(SPEC)), folder)}


def test_a_driver_that_cannot_be_loaded_has_one_check_that_says_so() -> None:
    (only,) = checks("no_such_driver")
    assert isinstance(only, Check)
    with pytest.raises(AssertionError, match="no driver 'no_such_driver'"):
        only()


def test_a_secret_of_the_suite_is_never_shown() -> None:
    assert "secret-nobody" not in repr(Secret("a-secret-nobody-signed-with"))
