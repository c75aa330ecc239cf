"""Reload: load all, check all, test what changed, then apply part by part (R13). A bad file never harms what runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog

from syncd import drivers, log, metrics
from syncd.build import Builder, Built
from syncd.clock import Clock
from syncd.config import Config, PartnerConfig, load
from syncd.config.difference import difference, to_renormalize
from syncd.config.problems import Problem
from syncd.errors import AuthError, StoreError, SyncdError
from syncd.receivers import Receivers
from syncd.scopes import Scopes
from syncd.secrets import Ref, Vault, fingerprint
from syncd.server.ports import ReloadReport, judged_as_before
from syncd.supervisor import Supervisor

say = structlog.get_logger()

SWAP_DRAIN_SECONDS = 10.0
TEST_SECONDS = 20.0
MOST_NOTED = 100
LONGEST_NOTED = 500
CHECK = "syncd check"
REFUSED = "was refused"
FIXED = ("database", "server", "secrets", "state_directory", "tracing")
"""Sections of the main file that a running process cannot take over."""


class Reloader:
    """Applies what the files say now to what runs. The caller lets in one reload at a time."""

    def __init__(
        self,
        path: Path,
        vault: Vault,
        builder: Builder,
        supervisor: Supervisor,
        scopes: Scopes,
        clock: Clock,
        environ: Mapping[str, str],
        *,
        receivers: Receivers,
        strict: bool = False,
    ) -> None:
        self._path = path
        self._vault = vault
        self._builder = builder
        self._supervisor = supervisor
        self._scopes = scopes
        self._clock = clock
        self._environ = environ
        self._receivers = receivers
        self._strict = strict
        self._tested: dict[str, str] = {}
        """What one cheap call with a changed credential showed, by the place of its integration."""

    async def reload(self, old: Config, who: str) -> tuple[ReloadReport, Config]:
        """Returns what was done and the configuration now in force. Never raises, whatever the files hold."""
        self._tested.clear()
        try:
            report, new = await self._apply(old)
        except Exception as error:
            say.exception("config_reload_crashed", who=who)
            report, new = ReloadReport(ok=False, problems=[f"a fault in syncd: {type(error).__name__}: {error}"]), old
        metrics.RELOAD_OK.set(1 if report.ok else 0)
        metrics.RELOAD_AT.set(self._clock.now().timestamp())
        say.log(
            20 if report.ok else 40,
            "config_reloaded" if report.ok else "config_reload_failed",
            who=who,
            applied=list(report.applied),
            kept={name: list(why) for name, why in report.kept.items()},
            problems=list(report.problems),
            changes=list(report.changes),
            **({} if report.changes or report.kept or report.problems else {"reason": "configuration is unchanged"}),
        )
        return report, new

    async def _apply(self, old: Config) -> tuple[ReloadReport, Config]:
        loaded = load(self._path, drivers=drivers.facts(), env=self._environ, strict=self._strict)
        if loaded.config is None:
            return ReloadReport(ok=False, problems=[problem.text() for problem in loaded.errors]), old
        tell_warnings(loaded.warnings)
        before = self._secrets()
        self._vault.reload()
        wanted = loaded.keeping(old)
        kept: dict[str, list[str]] = {
            name: [p.text() for p in loaded.errors if p.partner == name] for name in loaded.broken_partners
        }
        partners = dict(wanted.partners)
        applied: list[str] = []
        refused = False
        for name in sorted({*old.partners, *wanted.partners}):
            if name in kept:
                continue
            fresh, known = wanted.partners.get(name), old.partners.get(name)
            turned = self._turned(fresh)
            if not turned and name not in self._supervisor.broken and _works_alike(fresh, known):
                if fresh != known:
                    applied.append(name)  # nothing but what is asked for when it is needed
                continue
            trouble = await self._swap(name, fresh, known, turned)
            if trouble:
                refused = refused or any(REFUSED in text for text in trouble)
                kept[name] = trouble
                if known is not None:
                    partners[name] = known
                else:
                    partners.pop(name, None)
            else:
                applied.append(name)
        restart = {name: getattr(old, name) for name in FIXED if getattr(wanted, name) != getattr(old, name)}
        new = wanted.model_copy(update={"partners": partners, **restart})
        if new.log.level != old.log.level:
            log.set_level(new.log.level)
        await self._forget_scopes(new)
        try:
            await self._supervisor.try_again()
        except StoreError as error:
            say.warning("parked_not_tried_again", reason=str(error))
        for name, why in self._receivers.load(new).items():
            partner = new.integrations[name][0].name
            kept.setdefault(partner, []).append(judged_as_before(name) + why)
        later = old.model_copy(update={name: getattr(wanted, name) for name in restart})
        changes = self._changes(old, new, later, before)
        touched = {None, *applied, *kept}  # of files nobody changed they were told before
        warnings = [warning.text() for warning in loaded.warnings if warning.partner in touched]
        # Of what stands in no file each has a look of its own: the world it names, or the partner.
        check = CHECK if loaded.errors else f"{CHECK} --live" if refused else f"{CHECK} --env"
        report = ReloadReport(
            ok=not kept,
            applied=applied,
            kept=kept,
            idle=sorted(name for name in kept if name not in self._supervisor.running),
            changes=changes,
            warnings=warnings,
            check=check if kept else CHECK,
        )
        return report, new

    def _changes(self, old: Config, new: Config, later: Config, before: Mapping[Ref, str]) -> list[str]:
        """What is told of it. The partners are swapped by now, and a fault in the telling must not deny that."""
        try:
            changes = difference(old, new, before=before, after=self._secrets())
            changes += [f"{line} (in force after a restart)" for line in difference(old, later)]
            return [self._with_test(line) for line in changes] + to_renormalize(old, new)
        except Exception as error:
            say.exception("config_changes_not_told")
            return [f"what changed cannot be told: a fault in syncd: {type(error).__name__}"]

    def _with_test(self, line: str) -> str:
        """Beside the line of a changed credential stands what the partner said to it."""
        for place, result in self._tested.items():
            if line.startswith(f"{place}.credentials"):
                return f"{line} ({result})"
        return line

    def _secrets(self) -> dict[Ref, str]:
        return {**self._supervisor.secrets(), **self._receivers.secrets()}

    def _turned(self, partner: PartnerConfig | None) -> set[str]:
        """Integrations one of whose secrets is another one than the one they work with, or cannot be read any more.

        What is compared with is what runs, not what was read last: a refused secret is looked at again each time.
        """
        running = self._supervisor.running.get(partner.name) if partner is not None else None
        if partner is None or running is None:
            return set()
        turned = set()
        for name, in_force in running.built.secrets.items():
            integration = partner.integrations.get(name)
            for ref in integration.credentials.values() if integration is not None else ():
                try:
                    known = fingerprint(self._vault.resolve(ref))
                except SyncdError:
                    known = ""
                if ref in in_force and in_force[ref] != known:
                    turned.add(name)
        return turned

    async def _swap(
        self, name: str, fresh: PartnerConfig | None, known: PartnerConfig | None, turned: set[str]
    ) -> list[str]:
        """Replace one partner, after its changed credentials were tried; what stands against it, or nothing."""
        try:
            if fresh is not None:
                changed = turned | {
                    one
                    for one, settings in fresh.integrations.items()
                    if known is not None
                    and one in known.integrations
                    and settings.credentials != known.integrations[one].credentials
                }
                refused = await self._test(fresh, changed)
                if refused:
                    return refused
            await self._supervisor.replace(name, fresh, drain_seconds=SWAP_DRAIN_SECONDS)
        except SyncdError as error:
            return [f"{error}" + (f" ({error.hint})" if error.hint else "")]
        except Exception as error:
            # A fault in a driver must not end the reload, and with it the other partners' changes.
            say.exception("partner_not_swapped", partner=name)
            return [f"{type(error).__name__}: {error}"]
        return []

    async def _test(self, partner: PartnerConfig, names: set[str]) -> list[str]:
        """One cheap call with each changed credential. Only a refusal stands against it: a partner may be down."""
        names = {name for name in names if partner.is_enabled(name)}
        if not names:
            return []
        built = self._builder.build(partner)
        try:
            return [trouble for name in sorted(names) if (trouble := await self._refused(built, name))]
        finally:
            await built.aclose()

    async def _refused(self, built: Built, name: str) -> str:
        account = built.accounts[name]
        if name in self._supervisor.windows:
            self._tested[f"{account.partner}.integrations.{name}"] = "not tested: it is in maintenance"
            return ""
        try:
            async with self._clock.timeout(TEST_SECONDS):
                answer = await account.session.call(account.driver.test(account.options))
            self._tested[f"{account.partner}.integrations.{name}"] = f"tested {answer.status_code}"
        except AuthError as error:
            return f"the new credential of {name} {REFUSED}: {error}"
        except (SyncdError, TimeoutError) as error:
            reason = str(error) or f"no answer within {TEST_SECONDS:.0f} s"
            self._tested[f"{account.partner}.integrations.{name}"] = f"not tested: {reason}"
            say.warning("credential_not_tested", integration=name, reason=reason)
        return ""

    async def _forget_scopes(self, config: Config) -> None:
        used = {partner.scope_for(name) for partner in config.partners.values() for name in partner.integrations}
        for state in self._scopes.drop_unused(used):
            try:
                await state.end()
            except SyncdError as error:
                say.warning("scope_not_released", scope=state.ownership.scope, reason=str(error))


def noted(report: ReloadReport) -> dict[str, Any]:
    """What `audit_log` keeps of a reload: bounded, for a file may differ in everything."""
    return {
        "applied": list(report.applied)[:MOST_NOTED],
        "kept": {
            name: [_short(line) for line in why[:MOST_NOTED]] for name, why in list(report.kept.items())[:MOST_NOTED]
        },
        "idle": list(report.idle)[:MOST_NOTED],
        "problems": [_short(line) for line in report.problems[:MOST_NOTED]],
        "changes": [_short(line) for line in report.changes[:MOST_NOTED]],
        "further": max(len(report.changes) - MOST_NOTED, 0),
    }


def _short(line: str) -> str:
    return line if len(line) <= LONGEST_NOTED else line[: LONGEST_NOTED - 1] + "…"


def tell_warnings(found: Iterable[Problem]) -> None:
    """Who starts or reloads without `syncd check` hears of what is legal and surely not meant, too."""
    for one in found:
        say.warning("config_warning", place=one.place, reason=one.message, action=one.help)


def _works_alike(one: PartnerConfig | None, other: PartnerConfig | None) -> bool:
    """Do they differ in nothing but what deliveries are judged by, names for people, and maintenance windows? Then its
    runs, calls and workers need not be cut short."""
    return one == other or (one is not None and other is not None and _unjudged(one) == _unjudged(other))


def _unjudged(partner: PartnerConfig) -> PartnerConfig:
    judged = {"secrets": (), "tolerance": None, "url": None, "per_second": 1}
    integrations = {
        name: one.model_copy(
            update={"company": "", "maintenance": ()}
            | ({} if one.webhook is None else {"webhook": one.webhook.model_copy(update=judged)})
        )
        for name, one in partner.integrations.items()
    }
    return partner.model_copy(update={"integrations": integrations, "maintenance": ()})
