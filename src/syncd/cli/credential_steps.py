"""What the verbs that replace secrets have in common: asking the daemon, or doing it ourselves where none runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from syncd.cli.app import App, arun
from syncd.cli.exits import Exit
from syncd.cli.link import Unreachable, who
from syncd.cli.output import Failure, paint, result, say
from syncd.server.ports import judged_as_before

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.server.ports import TestReport

TRY_SECONDS = 120.0
STEP_SECONDS = 90.0
"""It waits for a token request under way, and a partner may take most of a minute for that."""
RELOAD_SECONDS = 180.0


def noted(
    app: App,
    config: Config,
    integration: str,
    action: str,
    before: Mapping[str, str],
    after: Mapping[str, str],
    reason: str = "",
) -> None:
    """Into the audit log, by the daemon or straight; that it could not be is said, and nothing else depends on it."""
    from syncd.errors import SyncdError

    said: dict[str, Any] = {"integration": integration, "action": action, "before": dict(before), "after": dict(after)}
    if reason:
        said["reason"] = reason[:900]
    try:
        app.link().post("credentials/ended", said)
        return
    except Unreachable:
        pass
    except Failure as failure:
        say(f"not in the audit log: {failure.why or failure.what}")
        return
    try:
        arun(_noted(app, config, integration, action, said))
    except (SyncdError, Failure) as error:
        say(f"not in the audit log: {error}")


async def _noted(app: App, config: Config, integration: str, action: str, said: Mapping[str, Any]) -> None:
    from syncd.credentials.desk import ended

    async with app.store(config) as store:
        await ended(store, integration, action, said, who=who())


def reload(app: App) -> dict[str, Any] | None:
    """The daemon's report; None where none runs: the next start reads the files anyway. Raises Failure for one that says
    nothing, or that this user may not ask."""
    try:
        return app.link().post("reload", {}, seconds=RELOAD_SECONDS)
    except Unreachable as failure:
        if failure.there:
            raise
        return None


def refusal(report: Mapping[str, Any], partner: str, *, webhooks_of: str = "") -> str:
    """Why a reload left this partner as it was; empty where it did not. `webhooks_of`: an integration, and only what its
    deliveries are judged by is asked about, which no trouble of another kind keeps back."""
    kept = list(report.get("kept", {}).get(partner) or ())
    if webhooks_of:
        kept = [line for line in kept if line.startswith(judged_as_before(webhooks_of))]
    return "; ".join(kept or report.get("problems") or [])


def in_force(app: App, integration: str, name: str) -> str | None:
    """The short hash of what the daemon works with; None where it cannot be told."""
    try:
        found = app.link().get("credentials", {"integration": integration})["integrations"].get(integration, {})
    except Failure:
        return None
    known = (found.get("in_force") or {}).get(name)
    return None if known is None else str(known)


def not_taken(
    app: App, config: Config, integration: str, name: str, after: str | None, report: Mapping[str, Any]
) -> str:
    """Why the daemon works with another secret after its reload; empty: it has this one, whatever else it had to say."""
    used = in_force(app, integration, name)
    if used is not None and used == after:
        return ""
    why = refusal(report, config.integrations[integration][0].name)
    return why or (f"it works with another value of it (#{used}) all the same" if used is not None else "")


def reloaded(app: App, config: Config, integration: str, name: str, after: str) -> Exit:
    """Reload, and say whether the new secret is what the daemon works with now."""
    report = reload(app)
    if report is None:
        say("no daemon runs here: the next start reads it")
        return Exit.OK
    if name not in config.integrations[integration][1].credentials:
        why = refusal(report, config.integrations[integration][0].name, webhooks_of=integration)
    else:
        why = not_taken(app, config, integration, name, after, report)
    if why:
        raise Failure(
            f"the daemon goes on with the secret it had of {integration}",
            why,
            f"put another one in place: syncd credential set {integration} {shlex.quote(name)} --reload < file",
            exit=Exit.REFUSED if "refused" in why else Exit.FAILURES,
        )
    result(f"{paint('✓', 'green')} {integration}: {name} #{after} is in force")
    if told := untried(config, integration, name):
        say(told)
    return Exit.OK


def untried(config: Config, integration: str, name: str) -> str:
    """What the reload's call has not shown: with tokens that are refreshed, a client's secret serves at the next renewal."""
    from syncd import drivers

    partner, found = config.integrations[integration]
    if name not in found.credentials:
        return ""
    driver = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
    auth = drivers.of_integration(partner, integration, driver).auth(partner.options_for(integration))
    if auth.kind != "oauth2_refresh" or name in auth.replaced:
        return ""
    return (
        f"the call was made with the token in use, not with this secret: that is used when the token is renewed.\n"
        f"see when it ends: syncd credential list {integration}; syncd credential rotate tries a secret before it is in force"
    )


def try_new(app: App, config: Config, integration: str, name: str) -> TestReport:
    """One cheap call with NAME.new, through the daemon's gate where one runs. Raises Failure, SyncdError."""
    from syncd.cli.live import report_of

    try:
        return report_of(
            app.link().post("credentials/try", {"integration": integration, "name": name}, seconds=TRY_SECONDS)
        )
    except Unreachable:
        return arun(_try_alone(app, config, integration, name))


async def _try_alone(app: App, config: Config, integration: str, name: str) -> TestReport:
    from syncd.cli.live import alone
    from syncd.credentials.desk import try_file

    async with alone(
        app, config, integration, make=True, do=f"syncd credential rotate {integration} {shlex.quote(name)}"
    ) as account:
        return await try_file(account, config, name, app.clock)


def step(app: App, config: Config, integration: str, what: str) -> None:
    """`adopt` or `undo` of tokens. Raises Failure, SyncdError."""
    try:
        app.link().post(f"credentials/{what}", {"integration": integration}, seconds=STEP_SECONDS)
    except Unreachable:
        arun(_step_alone(app, config, integration, what))


async def _step_alone(app: App, config: Config, integration: str, what: str) -> None:
    from syncd.cli.live import alone
    from syncd.sync import replacing

    do = f"syncd credential list {integration}"
    async with alone(app, config, integration, make=True, do=do) as account:
        await (replacing.adopt(account) if what == "adopt" else replacing.undo(account))
