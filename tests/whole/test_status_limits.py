"""What `syncd status` and /metrics say of limits while the real daemon meets them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon
from tests.whole.plain import KEY

SHARING = {name: {"scope": "both", "credentials": {"api_key": KEY}} for name in ("north", "south")}


@pytest.mark.timeout(120)
async def test_a_scope_that_two_share_is_shown_once_with_what_it_waits_for(tmp_path: Path, database: str, plain):
    simulator, _ = plain(things=2000, tiers=["12/30s"])
    limits = {"tiers": ["12/30s"], "accept_risk": True}
    body = partner(simulator.base_url, limits=limits, resources=only("flow", every="1s"), integrations=SHARING)
    async with Daemon(tmp_path, database, {"plain": body}, main={"drain": "2s"}) as daemon:

        async def full() -> dict[str, Any] | None:
            status = await daemon.status()
            (scope,) = status["scopes"]
            waits = scope["next_call"]["in_seconds"] or 0.0
            states = {one["name"]: one for one in status["integrations"]}
            return {"scope": scope, **states} if waits > 3 and states["north"]["state"] == "waiting" else None

        seen = await daemon.until(full, seconds=25)
        scope, north = seen["scope"], seen["north"]
        assert scope["scope"] == "plain/both"
        assert sorted(scope["integrations"]) == ["north", "south"]
        tier = next(tier for tier in scope["tiers"] if tier["label"] == "12/30s")
        assert (tier["stated"], tier["limit"], tier["learned"]) == (12, 12, None)
        assert scope["next_call"]["why"] in ("12/30s is full", "12/30s has only its reserve left")
        assert (north["explanation"]["code"], north["explanation"]["action"]) == ("rate-limited", "nothing to do")
        assert north["explanation"]["reason"].startswith("next call at ")
        assert "of 12/30s used" in north["explanation"]["reason"]

        _, text, _ = await daemon.cli("status")
        assert text.count("plain/both") == 1
        assert "plain/both (north, south): next call in" in text
        assert re.search(r"next call in [\d.]+s: 12/30s (is full|has only its reserve left)", text), text
        assert await daemon.metric('syncd_limit_budget{scope="plain/both",tier="12/30s"}') == 12
        assert await daemon.metric('syncd_limit_next_call_seconds{scope="plain/both"}') > 0


@pytest.mark.timeout(120)
async def test_a_429_with_a_date_of_a_slow_clock_is_waited_out_by_ours_and_explained(
    tmp_path: Path, database: str, plain
):
    simulator, control = plain(things=300)
    async with Daemon(
        tmp_path, database, {"plain": partner(simulator.base_url, resources=only("flow", every="1s"))}
    ) as daemon:

        async def imported() -> bool:
            (resource,) = (await daemon.integration("acme"))["resources"]
            return resource["last_success_at"] is not None

        await daemon.until(imported)
        await control.misbehave("skew", by=-3 * 3600)
        await control.misbehave("status", status=429, retry_date=12, count=1)

        async def paused() -> dict[str, Any] | None:
            status = await daemon.status()
            return status if status["scopes"][0]["paused_until"] is not None else None

        status = await daemon.until(paused)
        scope, acme = status["scopes"][0], status["integrations"][0]
        now, until = (datetime.fromisoformat(text) for text in (status["now"], scope["paused_until"]))
        assert timedelta(seconds=0) < until - now <= timedelta(seconds=14)
        assert scope["pause_reason"] == "GET /flow answered 429 (Retry-After as a date): too many calls"
        assert scope["next_call"]["why"] == f"paused: {scope['pause_reason']}"
        assert scope["refusals"] == 1
        assert (acme["state"], acme["explanation"]["code"]) == ("waiting", "rate-limited")
        assert acme["explanation"]["reason"] == f"next call at {until:%H:%M:%S} UTC: {scope['pause_reason']}"
        assert await daemon.metric('syncd_limit_paused{scope="plain/acme"}') == 1
        assert await daemon.metric('syncd_rate_limited_total{scope="plain/acme"}') == 1

        async def goes_on() -> bool:
            return (await daemon.integration("acme"))["state"] == "healthy"

        await daemon.until(goes_on)
        assert await daemon.metric('syncd_limit_paused{scope="plain/acme"}') == 0
        assert daemon.log().count('"event":"scope_paused"') == 1
