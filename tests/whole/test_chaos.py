"""Under `chaos` the copy converges, no limit is exceeded, and nobody overlooks that it is on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import KEY

THINGS = 400
CHAOS = {"rate": 0.2, "seed": 5, "pause": "1s"}


async def test_the_copy_converges_within_every_limit_while_a_fifth_of_the_calls_meets_a_fault(
    tmp_path: Path, database: str, plain: Any, rows: Rows
) -> None:
    simulator, control = plain(things=THINGS, tiers=["60/s"])
    wild = {"credentials": {"api_key": KEY}, "chaos": CHAOS}
    described = partner(
        simulator.base_url,
        resources=only("things", every="2s", full_every="5s", page_size=40),
        integrations={"acme": wild},
        limits={"tiers": ["40/s"], "breaker": {"failures": 20, "cooldown": "1s"}},
    )
    daemon = Daemon(tmp_path, database, {"plain": described})
    code, out, err = await daemon.cli("check")
    assert (code, "chaos is refused in production mode" in out + err) == (78, True), out + err
    daemon.write_main({"mode": "development"})
    async with daemon:

        async def converged() -> bool:
            truth = await control.truth("things")
            return await rows.live("acme", "things") == truth

        await daemon.until(converged, seconds=90)
        await control.mutate(60, resource="things")
        await daemon.until(converged, seconds=90)
        told = (await daemon.integration("acme"))["explanation"]
        assert told is not None
        faults = [
            await daemon.metric(f'syncd_chaos_faults_total{{fault="{one}",integration="acme"}}')
            for one in ("timeout", "error", "limited", "reset", "slow", "truncated")
        ]

        async def said() -> bool:
            why = (await daemon.integration("acme"))["explanation"]
            return bool(why) and why["code"] == "chaos-on" and "20% of the calls" in why["reason"]

        await daemon.until(said, seconds=60)
    assert sum(one for one in faults if one == one) >= 5, faults
    assert daemon.log().count('"chaos_on"') == 1
    assert (await control.stats())["violations"] == 0
