"""The samples of a new driver: a record and a walk of each resource, errors, a delivery; all as its simulator sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from syncd import codec
from syncd.errors import SyncdError
from syncd.kit import Checkpoint, Delivery, Driver, Headers, Request, Response
from syncd.kit.deliveries import Webhooks
from syncd.kit.paths import MISSING, getter
from syncd.kit.signing import signed
from syncd.scaffold.choices import Choices, Found
from syncd.scaffold.yaml_text import hooks_of

AT = 1_795_262_400.0
"""2026-11-21 12:00 UTC, when samples are played."""
SECRET = "whsec_c2FtcGxlLXNpZ25pbmcta2V5LTAx"  # noqa: S105 - of the sample: not-a-secret
MOST_RESOURCES_WALKED = 20


def sample_files(choices: Choices, driver: Driver) -> dict[str, dict[str, Any]]:
    """File name: content. Raises SyncdError where the description and the simulator do not fit together."""
    made: dict[str, dict[str, Any]] = {}
    for number, found in enumerate(choices.resources):
        name = found.rows.name
        made[f"{name}.plain.json"] = _record(driver, found)
        if number < MOST_RESOURCES_WALKED:
            made[f"{name}.walk.pages.json"] = _walk(driver, found)
    error = {"error": {"code": "e401", "message": "who is asking?"}}
    made["unauthorized.error.json"] = {"answer": {"status": 401, "body": error}, "error": "AuthError", "code": "e401"}
    error = {"error": {"code": "e429", "message": "too many requests"}}
    made["limited.error.json"] = {
        "answer": {"status": 429, "headers": {"Retry-After": "7"}, "body": error},
        "error": "RateLimitError",
        "wait_seconds": 7,
    }
    error = {"error": {"code": "e503", "message": "back soon"}}
    made["sick.error.json"] = {"answer": {"status": 503, "body": error}, "error": "TransientError"}
    error = {"error": {"code": "e404", "message": "no such record"}}
    made["missing.error.json"] = {"answer": {"status": 404, "body": error}, "error": "GoneError"}
    if choices.webhooks not in {"none", "unsigned"}:
        made["updated.webhook.json"] = _delivery(choices, driver)
    return made


def _record(driver: Driver, found: Found) -> dict[str, Any]:
    resource = driver.spec.resources[found.rows.name]
    raw = codec.loads(codec.dumps(dict(found.rows.like)))
    record = driver.normalize(resource, raw)
    told: dict[str, Any] = {"raw": raw, "id": record.identity.external_id}
    if record.identity.source_updated_at is not None:
        told["updated_at"] = record.identity.source_updated_at.isoformat().replace("+00:00", "Z")
    return {**told, "data": codec.loads(codec.dumps(record.data))}


def _walk(driver: Driver, found: Found) -> dict[str, Any]:
    """Two pages, as the simulator gives them."""
    rows, resource = found.rows, driver.spec.resources[found.rows.name]
    page_size = 2 if resource.page_size is not None and resource.pages.size is not None else None
    if page_size is not None:
        resource = resource.model_copy(update={"page_size": page_size})
    raws = [rows.record(number, AT - 86_400 + number, "") for number in range(1, 4)]
    told: dict[str, Any] = {} if page_size is None else {"page_size": page_size}
    if resource.parent is None:
        request = driver.request(resource, Checkpoint("test", resource.name))
    else:
        told |= {"parent_id": "p1"}
        request = driver.child_request(resource, "p1", Checkpoint("test", resource.name), None)
    walk, pages = driver.pages(resource, request), list[dict[str, Any]]()
    ids: list[str] = []
    request = next(walk)
    base = str(driver.spec.base_url).rstrip("/")
    for _ in range(10):
        given = request.json if rows.paging.place == "body" else dict(request.params)
        url = f"{base}{request.path}" + (f"?{urlencode(dict(request.params))}" if request.params else "")
        body, headers = rows.answer(raws, given or {}, url)
        answer = {**({"headers": headers} if headers else {}), "body": body}
        linked = {"url": url} if rows.paging.kind in {"next", "link"} else {}
        page: dict[str, Any] = {"request": _request(request), "answer": answer, **linked}
        pages.append(page)
        response = Response(200, Headers({"content-type": "application/json", **headers}), codec.dumps(body), url=url)
        ids += [
            driver.identify(resource, item.raw).external_id for item in driver.items(resource, response) if item.raw
        ]
        try:
            request = walk.send(response)
        except StopIteration:
            return {**told, "ids": ids, "pages": pages}
    raise SyncdError(f"{rows.name}: the listing does not end after three records")


def _request(request: Request) -> dict[str, Any]:
    told: dict[str, Any] = {"path": request.path, "params": codec.loads(codec.dumps(dict(request.params)))}
    return told if request.json is None else {**told, "method": request.method, "json": request.json}


def _delivery(choices: Choices, driver: Driver) -> dict[str, Any]:
    rules = Webhooks(**hooks_of(choices))
    rows = choices.resources[0].rows
    record_id = getter(rows.id)(dict(rows.like))
    external_id = str(record_id) if record_id is not MISSING else "1"
    event = {"id": "evt_00000001", "type": f"{rows.name}.updated", "at": "2026-11-21T11:59:58Z"}
    headers: Mapping[str, str] = {}
    if choices.webhooks == "twilio":
        body = urlencode({**event, "data_id": external_id})
        headers = {"content-type": "application/x-www-form-urlencoded"}
    else:
        body = codec.dumps({**event, "data": {"id": external_id}}).decode()
    if rules.verify == "standard":
        headers = {"webhook-id": "msg_00000001"}
    url = f"https://sync.example.com/webhooks/{choices.name}/{choices.name}_main"
    delivery = Delivery(body.encode(), Headers(headers), url)
    seal = signed(rules, delivery, SECRET, AT)
    return {
        "body": body,
        "headers": {**headers, **seal},
        "secrets": [SECRET],
        "url": url,
        "now": "2026-11-21T12:00:00Z",
        "event_id": driver.event_id(delivery),
        "events": [{"resource": rows.name, "external_id": external_id}],
    }
