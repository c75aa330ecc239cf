"""One cheap authenticated call: by the daemon where one runs, since it keeps the limits; else by ourselves."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from syncd.cli.link import Unreachable
from syncd.cli.output import Failure, moment_of
from syncd.errors import StoreError, SyncdError
from syncd.explain import Explanation
from syncd.server.ports import TestReport

if TYPE_CHECKING:
    from syncd.cli.app import App
    from syncd.config import Config
    from syncd.sync.account import Account

SECONDS = 90.0
ANSWERS_SECONDS = 5.0
AT_ONCE = 10
"""Scopes that are asked at once. Without a daemon each has two connections to the database."""


async def tested(
    app: App, config: Config, name: str, *, make: bool = False, anyway: bool = False, aside: bool = False
) -> TestReport:
    """What the call showed. `make`: without a daemon, in an empty database, the schema that its limits need is made first.
    `anyway`: in a maintenance window too. `aside`: others are asked meanwhile. Raises SyncdError where no call could be made
    at all."""
    post = partial(app.link().post, "credentials/verify" if anyway else "test", {"integration": name}, seconds=SECONDS)
    try:
        told = await anyio.to_thread.run_sync(post) if aside else post()
    except Unreachable:
        return await _alone(app, config, name, make=make)
    return report_of(told)


async def tested_each(app: App, config: Config, names: Sequence[str]) -> dict[str, TestReport | Exception]:
    """`tested` of several, a few at once, so that a partner that hangs holds nobody but itself; in the order of `names`.

    Within a scope one after the other, since its limits are shared; once one of them gets no answer, the others of that scope
    are not asked. What a call raised (SyncdError, Failure) stands in the place of its report."""
    found: dict[str, TestReport | Exception] = {}
    try:
        app.link().get("names", seconds=ANSWERS_SECONDS)
    except Unreachable as away:
        if away.there:  # a daemon that hangs has the limits, and each call by it would be waited for in vain
            return dict.fromkeys(names, away)
    except Failure as refused:
        return dict.fromkeys(names, refused)
    scopes: dict[str, list[str]] = {}
    for name in names:
        scopes.setdefault(config.integrations[name][0].scope_for(name), []).append(name)
    seats = anyio.CapacityLimiter(AT_ONCE)

    async def ask(mine: list[str]) -> None:
        async with seats:
            lost = ""
            for name in mine:
                if lost:
                    found[name] = StoreError(
                        f"not asked: {lost}, which shares its limits, got no answer",
                        hint=f"syncd credential test {name}",
                    )
                    continue
                try:
                    told = found[name] = await tested(app, config, name, aside=True)
                    lost = name if not told.ok and told.status is None else ""
                except (SyncdError, Failure) as error:
                    found[name] = error

    async with anyio.create_task_group() as group:
        for mine in scopes.values():
            group.start_soon(ask, mine)
    return {name: found[name] for name in names}


def report_of(told: dict[str, Any]) -> TestReport:
    """The daemon's answer as the report it was."""
    why = told.get("explanation")
    words = {key: str(why.get(key) or "") for key in ("code", "reason", "cause", "action")} if why else None
    return TestReport(
        integration=told["integration"],
        ok=told["ok"],
        status=told.get("status"),
        latency_ms=told.get("latency_ms"),
        explanation=None if words is None else Explanation(**words),  # type: ignore[arg-type]
        refused=told.get("refused", False),
        scopes=told.get("scopes"),
        expires_at=moment_of(told.get("expires_at")),
        remark=told.get("remark") or "",
    )


async def _alone(app: App, config: Config, name: str, *, make: bool) -> TestReport:
    from syncd.server.trial import trial

    async with alone(app, config, name, make=make, do=f"syncd credential test {name}") as account:
        return await trial(account, app.clock)


@asynccontextmanager
async def alone(app: App, config: Config, name: str, *, make: bool, do: str) -> AsyncIterator[Account]:
    """No daemon here: own the scope for the moment of the calls, so that its limits hold for us as well.

    `do` is the command to run elsewhere, where another instance has the scope.
    """
    from syncd import log
    from syncd.build import Builder
    from syncd.cli.load import open_store, vault_of
    from syncd.scopes import Scopes

    log.configure("debug" if app.debug else "error")  # the report is the news; the lines beside it are for --debug
    partner, integration = config.integrations[name]
    only = partner.model_copy(update={"integrations": {name: integration}})
    async with open_store(app, config, for_calls=True, make=make) as store:
        scopes = Scopes(store, f"{socket.gethostname()}:{os.getpid()}", app.clock, lambda _: None)
        built = Builder(store, vault_of(config), scopes, app.clock).build(only)
        try:
            account = built.accounts[name]
            if not await account.ownership.acquire():
                raise StoreError(
                    f"another instance works for {account.scope}, and no call is made beside it",
                    hint=f"run this on its machine: {do}",
                )
            failure: Exception | None = None
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(account.ownership.keep)  # calls may take longer than a lease lasts
                    try:
                        yield account
                    except Exception as error:  # out of the group as it is, not wrapped
                        failure = error
                    group.cancel_scope.cancel()
                if failure is not None:
                    raise failure
            finally:
                await account.gate.persist(clean=True)  # the last call of this process: its seats are free
                await account.ownership.release()
        finally:
            await built.aclose()
