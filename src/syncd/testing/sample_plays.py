"""How a driver's samples are played: each function raises AssertionError when the driver does otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from syncd.codec import dumps, loads
from syncd.kit import (
    Accepted,
    Change,
    Checkpoint,
    Delivery,
    Driver,
    Headers,
    Mode,
    PayloadError,
    Receiver,
    RejectedError,
    Request,
    Resource,
    Response,
    Secret,
    coerce,
)
from syncd.testing.samples import Sample, answer, moment

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
"""The time at which all samples are played, unless one names its own."""
_ODD: Final[tuple[Any, ...]] = (
    None, True, -1, 1.5, 10**30, "", "text", "\0", "2026-02-30T00:00:00Z", [], [{}], {}, {"a": []},
)  # fmt: skip


def _resource(driver: Driver, sample: Sample) -> Resource:
    resources = driver.resources(sample.options)
    assert sample.resource in resources, f"{sample}: there is no resource {sample.resource!r}"
    return resources[sample.resource]


def plays_record(driver: Driver, sample: Sample) -> None:
    """The record is identified and normalized, or rejected, as the sample says."""
    told, resource = sample.content, _resource(driver, sample)
    adapter = str(told.get("adapter", ""))
    before = copy.deepcopy(told["raw"])
    if "reject" in told:
        try:
            record = driver.normalize(resource, told["raw"], adapter)
        except PayloadError as error:
            assert told["reject"] in str(error), f"rejected, but because {error}"
            return
        raise AssertionError(f"{sample} was to be rejected, it became {record}")
    known = driver.identify(resource, told["raw"], adapter)
    record = driver.normalize(resource, told["raw"], adapter)
    assert told["raw"] == before, "normalizing changed the raw record"
    assert record == driver.normalize(resource, told["raw"], adapter), "normalizing twice gives two records"
    assert record.identity == known, f"identify says {known}, normalize {record.identity}"
    assert known.external_id == told["id"], f"id {known.external_id!r}, expected {told['id']!r}"
    if "updated_at" in told:
        assert known.source_updated_at == moment(told["updated_at"]), f"updated {known.source_updated_at}"
    if "version" in told:
        assert known.source_version == told["version"], f"version {known.source_version}"
    if "parent_id" in told:
        assert known.parent_id == told["parent_id"], f"parent {known.parent_id}"
    assert known.deleted == bool(told.get("deleted", False)), f"deleted {known.deleted}"
    stored = loads(dumps(record.data))
    assert stored == told["data"], f"normalized to {stored}, expected {told['data']}"
    _fits_columns(resource.columns(adapter), record.data)


def _fits_columns(columns: Mapping[str, str], data: Mapping[str, Any]) -> None:
    """Every value can be shown by the typed view: a view that fails on one record fails for all."""
    readers: dict[str, Callable[[Any], Any]] = {
        "bigint": coerce.integer, "numeric": coerce.decimal, "boolean": coerce.boolean,
        "timestamptz": coerce.moment, "date": coerce.day,
    }  # fmt: skip
    for name, kind in columns.items():
        if data.get(name) is not None and kind in readers:
            readers[kind](data[name])


def survives_distortion(driver: Driver, sample: Sample) -> None:
    """Whatever a partner puts in place of a value, a record is normalized or rejected: nothing else is raised."""
    resource, adapter = _resource(driver, sample), str(sample.content.get("adapter", ""))
    for path in _places(sample.content["raw"]):
        for odd in _ODD:
            raw = _replaced(sample.content["raw"], path, odd)
            try:
                record = driver.normalize(resource, raw, adapter)
            except PayloadError:
                continue
            _fits_columns(resource.columns(adapter), record.data)


def _places(value: Any, depth: int = 3) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (step,)
        if depth > 1:
            yield from ((step, *rest) for rest in _places(inner, depth - 1))


def _replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    whole = copy.copy(value)
    whole[path[0]] = odd if len(path) == 1 else _replaced(value[path[0]], path[1:], odd)
    return whole


def plays_pages(driver: Driver, sample: Sample) -> None:
    """The walk makes the calls of the sample, resumes at each of them, and ends with the last."""
    told, resource = sample.content, _resource(driver, sample)
    if "page_size" in told:
        resource = resource.model_copy(update={"page_size": told["page_size"]})
    since = moment(told.get("since"))
    mode = Mode.FULL if since is None else Mode.INCREMENTAL
    checkpoint = Checkpoint("test", resource.name, mode=mode, since=since)
    if resource.parent is None:
        request = driver.request(resource, checkpoint)
    else:
        request = driver.child_request(resource, told["parent_id"], checkpoint, told.get("parent"))
    walk = driver.pages(resource, request)
    request = next(walk)
    ids: list[str] = []
    for number, page in enumerate(told["pages"], 1):
        _same_request(request, page.get("request", {}), f"{sample}: call {number}")
        response = answer(page["answer"], page.get("url", ""), driver.spec.xml.markup)
        assert driver.classify(response, NOW) is None, f"{sample}: answer {number} passed for a failure"
        ids += _ids(driver, resource, response, sample)
        resumed = Checkpoint("test", resource.name, mode=mode, since=since, cursor=request.cursor)
        if resource.parent is None:
            assert driver.request(resource, resumed) == request, (
                f"{sample}: call {number} is not rebuilt from its cursor"
            )
        last = number == len(told["pages"])
        try:
            request = walk.send(response)
        except StopIteration:
            assert last and not told.get("goes_on"), f"{sample}: the listing ended after call {number}"
            break
        assert not last or told.get("goes_on"), f"{sample}: the listing goes on after its last page with {request}"
    assert ids == told["ids"], f"{sample}: brought {ids}"


def _ids(driver: Driver, resource: Resource, response: Response, sample: Sample) -> list[str]:
    adapter = str(sample.content.get("adapter", ""))
    found: list[str] = []
    for item in driver.items(resource, response):
        known = item.identity
        if known is None:
            assert item.raw is not None, f"{sample}: an item with neither content nor identity"
            known = driver.identify(driver.resources(sample.options)[item.resource], item.raw, adapter)
        found.append(known.external_id)
    return found


def _same_request(request: Request, told: Mapping[str, Any], where: str) -> None:
    for name in ("path", "method", "json", "form", "xml"):
        if name in told:
            assert getattr(request, name) == told[name], f"{where}: {name} {getattr(request, name)!r}"
    if "params" in told:
        params = dict(request.params)
        assert params == told["params"], f"{where}: params {params}"


def plays_error(driver: Driver, sample: Sample) -> None:
    """The answer is classified as the sample says."""
    told = sample.content
    response = answer(told["answer"], reads=driver.spec.xml.markup)
    found = driver.classify(response, NOW)
    name = None if found is None else type(found).__name__
    assert name == told["error"], f"{sample}: became {found!r}"
    if "code" in told:
        assert found is not None and found.code == told["code"], f"{sample}: code {found and found.code!r}"
    if "wait_seconds" in told:
        until = getattr(found, "retry_at", None)
        waited = None if until is None else (until - (response.date or NOW)).total_seconds()
        assert waited == told["wait_seconds"], f"{sample}: waits {waited} s"


def plays_webhook(driver: Driver, sample: Sample) -> None:
    """The delivery is verified, told apart and read; changed in any way it is refused."""
    told = sample.content
    now = moment(told.get("now")) or NOW
    body = str(told["body"]).encode()
    headers = told["headers"]
    route = str(told.get("route", ""))
    delivery = Delivery(body, Headers(headers), str(told.get("url", "")), route=route)
    secrets = [Secret(text) for text in told["secrets"]]
    others = [Secret("whsec_bm90LXRoZS1zZWNyZXQ=")]
    assert driver.verify(delivery, secrets, now), f"{sample}: was refused"
    assert driver.verify(delivery, [*others, *secrets], now), f"{sample}: was refused when two secrets are valid"
    assert not driver.verify(delivery, others, now), f"{sample}: passed with another secret"
    assert not driver.verify(delivery, [], now), f"{sample}: passed without a secret"
    for how, forged in _changed(driver, delivery):
        assert not driver.verify(forged, secrets, now), f"{sample}: passed with {how}"
    receiver = Receiver("partner", "integration", driver, secrets, url=str(told.get("url", "")))
    accepted = receiver.judge(Delivery(body, Headers(headers), str(told.get("url", "")), route=route), now)
    assert isinstance(accepted, Accepted), f"{sample}: a receiver refused it"
    stored = Delivery(body, Headers(accepted.headers), route=route)
    assert driver.events(stored) == driver.events(delivery), (
        f"{sample}: is read otherwise by the headers that are stored"
    )
    if "event_id" in told:
        assert driver.event_id(delivery) == told["event_id"], f"{sample}: event id {driver.event_id(delivery)!r}"
    if "events" in told:
        found = [
            {"resource": event.resource, "external_id": event.external_id, "deleted": event.deleted}
            for event in driver.events(delivery)
        ]
        assert found == [{"deleted": False, **event} for event in told["events"]], f"{sample}: events {found}"


def _changed(driver: Driver, delivery: Delivery) -> Iterator[tuple[str, Delivery]]:
    """The delivery with what makes it its partner's taken away: the address that is a secret, or what was signed."""
    body, headers, url, route = delivery.body, delivery.headers, delivery.url, delivery.route
    rules = driver.spec.webhooks
    if rules is not None and rules.verify == "none":
        yield "another address", Delivery(body, headers, url, route=route + "x")
        yield "an address without a secret", Delivery(body, headers, url)
        return
    if rules is None or rules.verify != "issued_token":  # which says who sends, not what
        yield "another body", Delivery(body + b" ", headers, url, route=route)
    yield "no headers", Delivery(body, Headers(), url, route=route)


def change_of(sample: Sample) -> Change:
    """The change a sample states."""
    told = sample.content
    key = str(told.get("key", "0f6d3a52-7f0e-4f0f-9a46-5c1d9c1f3b10"))
    return Change(sample.resource, told.get("id"), told["kind"], told.get("data", {}), key, NOW)


def plays_push(driver: Driver, sample: Sample) -> None:
    """The change is refused before it is sent, or becomes the call of the sample, whose answer is read as it says."""
    told, resource, change = sample.content, _resource(driver, sample), change_of(sample)
    assert change.kind in driver.push_kinds(resource), f"{sample}: {resource.name} takes no push {change.kind!r}"
    try:
        driver.check(resource, change, told.get("stored"))
    except RejectedError as error:
        assert "reject" in told, f"{sample}: was refused: {error}"
        assert told["reject"] in str(error), f"{sample}: refused, but because {error}"
        return
    assert "reject" not in told, f"{sample}: was to be refused"
    request = driver.push(resource, change)
    assert request == driver.push(resource, change), f"{sample}: two tries are two different calls"
    _same_request(request, told.get("request", {}), str(sample))
    if "answer" not in told:
        return
    response = answer(told["answer"], reads=driver.spec.xml.markup)
    found = driver.classify(response, NOW)
    assert (None if found is None else type(found).__name__) == told.get("error"), f"{sample}: became {found!r}"
    if found is not None:
        return
    assert driver.confirms(resource, change, response) == told.get("confirms", True), f"{sample}: confirms"
    if "pushed" in told:
        item = driver.pushed(resource, change, response)
        known = None if item is None or item.raw is None else driver.identify(resource, item.raw).external_id
        assert known == told["pushed"], f"{sample}: the answer has the record {known!r}"
