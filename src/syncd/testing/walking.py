"""A driver against its simulator, without a database: every listing walked to its end by the real client.

Auth, paging, limits and reading are those of the daemon, so what ends here well ends there well.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from syncd.client import PartnerTransport, Session, build
from syncd.clock import SystemClock
from syncd.kit import Checkpoint, Driver, Mode, RateLimitError, Record, Resource
from syncd.limits import Gate
from syncd.secrets import Secret
from syncd.testing.base import Simulator
from syncd.testing.keeping import Kept
from syncd.testing.process import serve


async def walked(
    driver: Driver,
    simulator: Simulator,
    *,
    options: Mapping[str, Any] | None = None,
    since: datetime | None = None,
) -> dict[str, dict[str, Record]]:
    """By resource what the driver brings, by id: whole, or what changed `since`. Children below all that was brought; what
    is not enabled is left out.

    Raises what a call raises, and AssertionError where the simulator counted a violation of its limits.
    """
    given = dict(options or {})
    taken = {name: Secret(str(simulator.options[option])) for name, option in simulator.credentials.items()}
    clock = SystemClock()
    limits = driver.limits(given)
    found: dict[str, dict[str, Record]] = {}
    served = await serve(simulator)
    transport = PartnerTransport(driver.spec.name, clock=clock)
    gate = Gate(
        "walk", [tier.spec() for tier in limits.tiers], clock=clock, concurrency=limits.concurrency, share=limits.share
    )
    session = Session(
        transport,
        integration="walk",
        base_url=served.base_url,
        gate=gate,
        auth=build(
            driver.auth(given),
            lambda name: taken[name],
            integration="walk",
            clock=clock,
            keeper=Kept(),
            sign=getattr(driver, "sign", None),
        ),
        classify=driver.classify,
        headers=driver.headers(given),
        told=limits.told,
    )
    try:
        await session.call(driver.test(given))
        for resource in _parents_first(driver.resources(given)):
            if resource.enabled:
                found[resource.name] = await _listed(driver, session, resource, found, since)
    except RateLimitError as error:
        if not simulator.enforcer.violations:
            raise
        raise AssertionError(_beyond(simulator)) from error
    finally:
        await session.aclose()
        await transport.aclose()
        gate.close()
        await served.aclose()
    assert simulator.enforcer.violations == 0, _beyond(simulator)
    return found


def _beyond(simulator: Simulator) -> str:
    return f"{simulator.enforcer.violations} calls beyond the simulator's limits: the driver's own are looser"


async def _listed(
    driver: Driver,
    session: Session,
    resource: Resource,
    found: Mapping[str, Mapping[str, Record]],
    since: datetime | None,
) -> dict[str, Record]:
    mode = Mode.FULL if since is None or resource.since is None else Mode.INCREMENTAL
    checkpoint = Checkpoint("walk", resource.name, mode, since=since if mode is Mode.INCREMENTAL else None)
    if resource.parent is None:
        firsts = [driver.request(resource, checkpoint)]
    else:
        firsts = [driver.child_request(resource, key, None, one.data) for key, one in found[resource.parent].items()]
    records: dict[str, Record] = {}
    for first in firsts:
        walk = driver.pages(resource, first)
        request = next(walk)
        while True:
            response = await session.call(request)
            for item in driver.items(resource, response):
                if item.raw is not None and item.resource == resource.name:
                    record = driver.normalize(resource, item.raw)
                    records[record.identity.external_id] = record
            try:
                request = walk.send(response)
            except StopIteration:
                break
    return records


def _parents_first(resources: Mapping[str, Resource]) -> list[Resource]:
    placed: dict[str, Resource] = {}
    while len(placed) < len(resources):
        ready = [one for one in resources.values() if one.name not in placed and one.parent in {None, *placed}]
        if not ready:
            raise AssertionError("resources are listed below each other in a circle")
        placed |= {one.name: one for one in ready}
    return list(placed.values())
