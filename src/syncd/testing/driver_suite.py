"""One suite for every driver: what any of them must do, and its own samples played.

Needs no test framework. Hand the checks to one:

    @pytest.mark.parametrize("check", checks("acme"), ids=str)
    def test_acme(check):
        check()
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncd import drivers
from syncd.client.dates import TODAY
from syncd.config import load, main_file
from syncd.kit import (
    AuthError,
    Checkpoint,
    Delivery,
    Driver,
    GoneError,
    Headers,
    Mode,
    PartnerError,
    PayloadError,
    RateLimitError,
    RejectedError,
    Request,
    Resource,
    Secret,
    TransientError,
    put,
)
from syncd.kit.paths import steps
from syncd.testing import forgeries, promises
from syncd.testing.ladder import shortfalls
from syncd.testing.sample_plays import (
    NOW,
    plays_error,
    plays_pages,
    plays_push,
    plays_record,
    plays_webhook,
    survives_distortion,
)
from syncd.testing.samples import Sample, answer, read_samples

_TRUSTED = "syncd.kit."


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. Calling it raises AssertionError when it does not."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        self.run()

    def __str__(self) -> str:
        return self.name


def checks(name: str) -> list[Check]:
    """Every check of one driver. A driver that cannot be loaded has one check, which fails with the reason."""
    try:
        return list(_checks(name, drivers.load(name), drivers.folder(name)))
    except Exception as error:
        return [Check(f"{name}-loads", _failing(error))]


def every_check() -> list[Check]:
    """The checks of every driver that brings its own description."""
    found: list[Check] = []
    for name in drivers.names():
        try:
            if drivers.kind(name).needs_spec:
                continue
        except drivers.DriverError as error:
            found.append(Check(f"{name}-loads", _failing(error)))
            continue
        found += checks(name)
    return found


def checks_of(name: str, driver: Driver, folder: Path) -> list[Check]:
    """The checks of a driver already at hand, with the samples in `folder`."""
    return list(_checks(name, driver, folder))


def partner_checks(directory: str | Path, partner: str) -> list[Check]:
    """Every check of a partner described in its own file, with the samples in `partners/<partner>/samples/` beside it.

    Raises ConfigProblems for a configuration that is not sound, KeyError for an unknown partner.
    """
    found = load(Path(directory), drivers=drivers.facts(), env={}).require().partners[partner]
    driver = drivers.load(found.driver, rest=found.rest, partner=partner)
    return checks_of(partner, driver, main_file(Path(directory)).parent / "partners" / partner)


def _failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise AssertionError(str(error)) from error

    return fail


def _checks(name: str, driver: Driver, folder: Path) -> Iterator[Check]:
    def check(what: str, function: Callable[..., None], *arguments: Any) -> Check:
        return Check(f"{name}-{what}", lambda: function(driver, *arguments))

    samples = read_samples(name, folder)
    options = samples[0].options if samples else {}
    yield check("is-pure", _is_pure)
    yield check("classifies-what-http-says", _classifies)
    yield check("can-be-tested", _can_be_tested, options)
    yield check("refuses-forged-deliveries", _refuses_forgeries)
    yield check("knows-its-own-deliveries", forgeries.knows_its_own_deliveries, samples)
    yield check("refuses-what-is-stale", forgeries.refuses_what_is_stale, samples)
    yield check("knows-a-second-try", forgeries.knows_a_second_try, samples)
    yield check("reads-every-wait", promises.reads_every_wait, samples)
    yield check("survives-senseless-waits", promises.survives_senseless_waits, samples)
    try:
        resources = driver.resources(options)
    except Exception as error:
        yield Check(f"{name}-has-resources", _failing(error))
        return
    for resource in resources.values():
        yield check(f"{resource.name}-asks-the-same-twice", _asks_the_same, resource)
        yield check(f"{resource.name}-refuses-what-is-no-record", _refuses_no_record, resource)
        yield check(f"{resource.name}-ends-or-refuses", _ends_or_refuses, resource)
        if resource.parent is not None:
            yield check(f"{resource.name}-keeps-ids-in-place", _keeps_ids_in_place, resource)
    plays: dict[str, Callable[[Driver, Sample], None]] = {
        "record": plays_record, "pages": plays_pages, "error": plays_error, "webhook": plays_webhook, "push": plays_push,
    }  # fmt: skip
    for sample in samples:
        yield Check(str(sample), _playing(plays[sample.kind], driver, sample))
        if sample.kind == "record" and "raw" in sample.content:
            yield Check(f"{sample}-distorted", _playing(survives_distortion, driver, sample))
            yield Check(f"{sample}-of-another-shape", _playing(promises.ignores_what_is_new, driver, sample))
        if sample.kind == "pages":
            yield Check(f"{sample}-repeated", _playing(promises.ends_when_pages_repeat, driver, sample))
    for resource, change in promises.every_push(driver, options, samples):
        what = f"{resource.name}-push-{change.kind}-is-the-same-twice"
        yield check(what, promises.pushes_the_same_twice, resource, change, samples)
    yield check("earns-its-quality", _earns_quality, folder, samples, resources)


def _playing(play: Callable[[Driver, Sample], None], driver: Driver, sample: Sample) -> Callable[[], None]:
    return lambda: play(driver, sample)


# What any driver must do.


def _is_pure(driver: Driver) -> None:
    """No await, and no import but the kit and the standard library: I/O and time belong to the engine."""
    for kind in type(driver).__mro__:
        if not kind.__module__.startswith("syncd.drivers.") and kind.__module__.startswith(
            ("syncd.", "abc", "builtins")
        ):
            continue
        package = kind.__module__.rpartition(".")[0]
        tree = ast.parse(Path(inspect.getfile(kind)).read_text("utf-8"))
        for node in ast.walk(tree):
            where = f"{kind.__module__}:{getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith), f"{where}: a driver awaits nothing"
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for imported in names:
                own = f"{imported}.".startswith((_TRUSTED, f"{package}." if package else _TRUSTED))
                assert own or imported.split(".")[0] != "syncd", f"{where}: imports {imported}; a driver has syncd.kit"
                assert imported.split(".")[0] not in {"time", "random", "asyncio", "httpx", "logging"}, (
                    f"{where}: imports {imported}; time, chance, I/O and logs belong to the engine"
                )


def _classifies(driver: Driver) -> None:
    wanted: dict[int, tuple[type[PartnerError], ...]] = {
        401: (AuthError,),
        403: (RejectedError, AuthError, TransientError),
        404: (GoneError, RejectedError),
        410: (GoneError, RejectedError),
        422: (RejectedError,),
        429: (RateLimitError, TransientError),
        500: (TransientError,),
        502: (TransientError,),
        503: (TransientError, RateLimitError),
    }
    for status, kinds in wanted.items():
        for told in ({"body": {"message": "no"}}, {"body": "no"}, {"body": None}, {"text": "not json"}, {"text": ""}):
            found = driver.classify(answer({"status": status, **told}), NOW)
            assert isinstance(found, kinds), f"{status} with {told} became {found!r}"
            assert found.status == status, f"{status}: the error does not carry its status"
    page = {"headers": {"content-type": "text/html"}, "text": "<!doctype html><title>maintenance</title>"}
    assert isinstance(driver.classify(answer(page), NOW), TransientError), "a web page with 200 passed for data"


def _can_be_tested(driver: Driver, options: Mapping[str, Any]) -> None:
    request = driver.test(options)
    assert request.safe_to_repeat, "the credential test must be safe to repeat"
    assert "{" not in request.path, f"the credential test asks {request.path}"


def _asks_the_same(driver: Driver, resource: Resource) -> None:
    """The calls of a listing are rebuilt from what is stored: mode, since and cursor."""
    start = Checkpoint("test", resource.name, mode=Mode.INCREMENTAL, since=NOW)
    ask = _asker(driver, resource)
    first = ask(start)
    assert first == ask(start), "the same checkpoint gives two different calls"
    assert first.cursor is None, "a listing's first call has no cursor"
    assert first.route, "a call needs its route template: it is the metric's label"
    if resource.pages.kind == "none":
        return
    cursor = {"offset": "40", "page": "3", "next": "/next?page=3", "link": "/next?page=3"}.get(resource.pages.kind, "c")
    checkpoint = Checkpoint("test", resource.name, mode=Mode.INCREMENTAL, since=NOW, cursor=cursor)
    assert ask(checkpoint).cursor == cursor, "a call rebuilt from a cursor does not carry that cursor"


def _asker(driver: Driver, resource: Resource) -> Callable[[Checkpoint], Request]:
    if resource.parent is None:
        return lambda checkpoint: driver.request(resource, checkpoint)
    fields = dict.fromkeys(resource.placeholders, "x")
    return lambda checkpoint: driver.child_request(resource, "p1", checkpoint, fields)


def _refuses_no_record(driver: Driver, resource: Resource) -> None:
    shapes: tuple[dict[str, Any], ...] = ({}, {"value": None}, {"id": None}, {"id": {}}, {"id": []}, {"": ""})
    for raw in shapes:
        try:
            found = driver.identify(resource, raw)
        except PayloadError:
            continue
        assert found.external_id, f"{raw} passed for a record without an id"


def _ends_or_refuses(driver: Driver, resource: Resource) -> None:
    """An answer without records ends the listing or is refused; it never goes on, and nothing else is raised."""
    shapes: list[dict[str, Any]] = [{"body": {}}, {"body": []}, {"body": None}, {"body": "text"}, {"text": "{"}]
    place = resource.records if isinstance(resource.records, str) else ""
    if place and steps(place) is not None:
        empty: dict[str, Any] = {}
        put(empty, place, [])
        shapes.append({"body": empty})
    for told in shapes:
        first = _asker(driver, resource)(Checkpoint("test", resource.name))
        walk = driver.pages(resource, first)
        assert next(walk) == first, "a walk begins with the call it was given"
        try:
            following = walk.send(answer(told))
        except (StopIteration, PartnerError):
            continue
        raise AssertionError(f"after {told} the listing goes on with {following}")


def _keeps_ids_in_place(driver: Driver, resource: Resource) -> None:
    fields = dict.fromkeys(resource.placeholders, "a/../b?c")
    request = driver.child_request(resource, "a/../b?c", None, fields)
    assert "a/../b" not in request.path and "?" not in request.path, f"an id changed the path: {request.path}"
    assert "{" not in TODAY.sub("", request.path), f"a placeholder is left in {request.path}"


def _refuses_forgeries(driver: Driver) -> None:
    secret = [Secret("a-secret-nobody-signed-with")]
    names: list[str] = [
        "x-signature",
        "stripe-signature",
        "attio-signature",
        "svix-id",
        "svix-timestamp",
        "svix-signature",
    ]
    rules = driver.spec.webhooks
    if rules is not None and rules.header:
        names.append(rules.header)
    for value in ("", "é\udcff", "0" * 64, "t=1,v1=0", "v1," + "A" * 44, "sha256=" + "0" * 64, "t=,v1=", "=,=,="):
        delivery = Delivery(b"{}", Headers(dict.fromkeys(names, value)))
        assert not driver.verify(delivery, secret, NOW), f"a forged delivery passed with {value!r}"
    assert not driver.verify(Delivery(b"{}", Headers()), secret, NOW), "an unsigned delivery passed"
    assert not driver.verify(Delivery(b"{}", Headers()), [], NOW), "without a secret a delivery passed"


def _earns_quality(driver: Driver, folder: Path, samples: list[Sample], resources: Mapping[str, Resource]) -> None:
    """What the claimed rung of the quality ladder asks, less what is excused in words."""
    wrong = list(shortfalls(driver, folder, samples, resources))
    assert not wrong, "\n".join(wrong)
