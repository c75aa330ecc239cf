"""One cheap authenticated call: by the daemon where one runs, since it keeps the limits; else by ourselves."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from syncd.cli.link import Unreachable
from syncd.cli.output import moment_of
from syncd.errors import StoreError
from syncd.explain import Explanation
from syncd.server.ports import TestReport

if TYPE_CHECKING:
    from syncd.cli.app import App
    from syncd.config import Config
    from syncd.sync.account import Account

SECONDS = 90.0


async def tested(app: App, config: Config, name: str, *, make: bool = False, anyway: bool = False) -> TestReport:
    """What the call showed. `make`: without a daemon, in an empty database, the schema that its limits need is made first.
    `anyway`: in a maintenance window too. Raises SyncdError where no call could be made at all."""
    try:
        told = app.link().post("credentials/verify" if anyway else "test", {"integration": name}, seconds=SECONDS)
    except Unreachable:
        return await _alone(app, config, name, make=make)
    return report_of(told)


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
