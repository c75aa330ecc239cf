"""What is said of integrations that do not run: alike in the table, among the conditions and by /health."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from syncd import standing
from syncd.conditions.of_integrations import of_idle
from syncd.explain import State
from syncd.supervisor import Supervisor
from syncd.testing.clock import FakeClock


def configured(**switched_on: bool) -> Any:
    partner = SimpleNamespace(name="plain", is_enabled=lambda name: switched_on[name], integrations=switched_on)
    settings = SimpleNamespace(company="")
    return SimpleNamespace(integrations=dict.fromkeys(switched_on, (partner, settings)), partners={"plain": partner})


@pytest.mark.parametrize(
    ("broken", "state", "code", "among_conditions"),
    [({}, "waiting", "starting", False), ({"plain": "no such file"}, "down", "not-started", True)],
    ids=["it is about to start", "it cannot be started"],
)
def test_what_does_not_run_yet_is_no_fault_and_what_cannot_be_started_is_one(
    broken: dict[str, str], state: str, code: str, among_conditions: bool
):
    config = configured(acme=True, off=False)
    acme, off = standing.idle(config, broken, [])
    assert (acme["state"], acme["explanation"]["code"]) == (state, code)
    assert (off["state"], off["explanation"]["code"]) == ("paused", "disabled")
    found, coming = of_idle(config, broken, [])
    assert [one.told.code for one in found] == [*([code] if among_conditions else []), "disabled"]
    assert coming == (frozenset() if among_conditions else {"acme"})


async def test_a_partner_that_a_fault_kept_from_starting_anew_is_named_and_tried_again_by_the_next_reload():
    faults, launched = [RuntimeError("a fault in its driver")], []

    def runner(built: Any) -> Any:
        if faults:
            raise faults.pop()
        launched.append(built)
        return SimpleNamespace(set_pauses=lambda pauses: None, run=anyio.sleep_forever)

    async def opened() -> None:
        await anyio.sleep(0)

    built = SimpleNamespace(adopt=lambda: None, accounts={}, scopes={}, open=opened)
    partner: Any = configured(acme=True).partners["plain"]
    async with anyio.create_task_group() as tasks:
        builder: Any = SimpleNamespace(build=lambda partner: built, runner=runner)
        supervisor = Supervisor(builder, FakeClock(), tasks)
        with pytest.raises(RuntimeError):
            await supervisor.replace("plain", partner, drain_seconds=1)
        assert supervisor.running == {}
        [found], _ = of_idle(configured(acme=True), supervisor.broken, [])
        assert (found.state, found.told.reason) == (
            State.DOWN,
            "could not be started: RuntimeError: a fault in its driver",
        )
        await supervisor.replace("plain", partner, drain_seconds=1)
        assert (supervisor.broken, launched) == ({}, [built])
        tasks.cancel_scope.cancel()
