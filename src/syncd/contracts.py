"""Is a partner still what its driver takes it for? One cheap read of each resource, by itself once a day or when asked.

What is not as it was is told as an Explanation beside everything else that is known of an integration; it fails no run,
spends from the lowest lane only, and a partner that cannot be asked just now is asked another time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from anyio import to_thread

from syncd import drivers
from syncd.clock import Clock
from syncd.config import Config, PartnerConfig, main_file
from syncd.contract import Specification
from syncd.contract.defects import DEFECTS
from syncd.contract.judging import Drift, Findings, judged, sampled
from syncd.contract.telling import explained
from syncd.dryrun.look import Look
from syncd.errors import ConfigError, PayloadError, RejectedError, SyncdError, TransientError
from syncd.kit.inferred import Inferred
from syncd.sync.account import Account, asked

log = structlog.get_logger()

SCHEMA = "syncd.contract/1"
SECONDS = 300.0
"""Longest that a look is waited for, limits included, where nobody says otherwise."""
OWN_SECONDS = 1_800.0
"""The same of the daily one, for which nobody sits and waits."""
FIRST_SECONDS = 600.0
"""After a start nothing is looked at before."""
LOOK_SECONDS = 60.0


@dataclass(slots=True)
class _Turn:
    due_at: datetime
    since: datetime | None = None
    """Since when something has been different."""


class Contracts:
    """Answers `server.desk_contract`; `run()` in the daemon's task group looks by itself."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        directory: Path,
        accounts: Callable[[], Sequence[Account]],
        clock: Clock,
        names: Callable[[], Mapping[str, Sequence[str]]],
    ) -> None:
        """`directory`: where the configuration lies; a relative `contract.spec` begins there."""
        self._config = config
        self._directory = directory
        self._accounts = accounts
        self._clock = clock
        self._names = names
        self._turns: dict[str, _Turn] = {}
        self._read: dict[tuple[object, ...], Specification] = {}
        self._looks: list[Look] = []

    def names(self) -> Mapping[str, Sequence[str]]:
        return self._names()

    async def run(self) -> None:
        """Look at each integration when it is due. Until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            for account in list(self._accounts()):
                if self._is_due(account):
                    await self._turn(account)

    def looking(self, integration: str) -> dict[str, Any] | None:
        """What a look at it that is under way is at, and what it waits for; None: there is none."""
        looks = [look for look in self._looks if look.account.name == integration]
        return looks[-1].as_json() if looks else None

    async def contract(
        self, integration: str, resource: str | None = None, spec: Sequence[str] = (), seconds: float = SECONDS
    ) -> dict[str, Any]:
        """What its partner answers today, against what is relied on, as far as `seconds` allow. A look with `spec` leaves
        no note in the status. Raises SyncdError where nothing could be asked."""
        account = self._account(integration)
        found = await self._look(account, resource, spec, seconds)
        if all(one.note for one in found) and found:
            error = found[0].error
            if error is None:
                raise TransientError(
                    f"{integration}: {found[0].note}", hint=f"give it longer: syncd contract {integration} --wait 900"
                )
            error.hint = error.hint or f"syncd status {integration}"
            raise error
        if resource is None and not spec:
            self._tell(account, found)
        return {
            "integration": integration,
            "partner": account.partner,
            "published": list(self._specs_of(account, spec)),
            "ok": not any(one.drift or one.note for one in found),
            "resources": [one.as_json() for one in found],
        }

    # -- by itself

    def _is_due(self, account: Account) -> bool:
        partner = self._config().partners.get(account.partner)
        if partner is None:
            return False  # between two configurations
        rules, now = partner.contract, self._clock.now()
        turn = self._turns.get(account.name)
        if not rules.enabled:
            self._turns.pop(account.name, None)
            account.health.contract = None
            return False
        if turn is None:
            # Spread over an hour at most: a start must not be followed by everything at once.
            share = int.from_bytes(hashlib.sha256(account.name.encode()).digest()[:4], "big") / 2**32
            seconds = min(rules.every, FIRST_SECONDS + share * 3000.0)
            turn = self._turns[account.name] = _Turn(_later(now, seconds))
        return now >= turn.due_at and account.ownership.held and account.health.paused is None

    async def _turn(self, account: Account) -> None:
        turn = self._turns[account.name]
        turn.due_at = _later(self._clock.now(), self._partner(account).contract.every)
        try:
            found = await self._look(account, None, (), OWN_SECONDS)
        except SyncdError as error:
            log.debug("contract_not_checked", integration=account.name, reason=str(error))
            return
        except Exception as error:  # it must not end what others live by
            log.warning("contract_not_checked", integration=account.name, reason=f"{type(error).__name__} in syncd")
            return
        self._tell(account, found)

    def _tell(self, account: Account, found: Sequence[Findings]) -> None:
        """One line when it breaks, one when it heals. What could not be looked at says nothing new."""
        turn = self._turns.setdefault(
            account.name, _Turn(_later(self._clock.now(), self._partner(account).contract.every))
        )
        drift = [(one.resource, each) for one in found for each in one.drift]
        if any(one.note for one in found) and not drift and turn.since is not None:
            return
        before, now = account.health.contract, self._clock.now()
        turn.since = (turn.since or now) if drift else None
        told = explained(account.name, drift, turn.since)
        account.health.contract = told
        account.health.contract_broken = any(each.is_relied_on for _, each in drift)
        if told is not None and (before is None or before.reason != told.reason):
            log.warning("contract_drifted", integration=account.name, partner=account.partner, reason=told.reason)
        elif told is None and before is not None:
            log.info("contract_healed", integration=account.name, partner=account.partner)

    # -- one look

    async def _look(
        self, account: Account, resource: str | None, spec: Sequence[str], seconds: float
    ) -> list[Findings]:
        if resource is not None and resource not in account.plans:
            raise RejectedError(
                f"{account.name} does not sync {resource}", hint=f"it syncs: {', '.join(account.plans)}"
            )
        document, lacking = await self._published(account, spec)
        folder = self._folder(account)
        shapes = await account.store.schemas.of(account.name)
        # To read a queue is to take from it.
        names = [n for n, plan in account.plans.items() if resource in {None, n} and plan.resource.queue is None]
        look = Look(account, names, seconds, self._clock)
        self._looks.append(look)
        found = []
        try:
            for name in names:
                known = await to_thread.run_sync(sampled, folder, name) if folder is not None else []
                learned = Inferred.from_json(shapes[name].shape) if name in shapes else None
                found.append(await self._one(look, name, known, learned, document))
        finally:
            self._looks.remove(look)
        for one in found[:1] if lacking else ():
            one.remarks.append(Drift("published", "contract.spec", lacking))
        return found

    async def _published(self, account: Account, spec: Sequence[str]) -> tuple[Specification | None, str]:
        """What is compared with, and what of the file's own documents is not: the look goes on without those.

        Raises ConfigError for what somebody asked for by name.
        """
        files, driver = self._specs_of(account, spec), account.driver.spec.name
        if spec:
            return await self._specification(files, driver), ""
        gone = await to_thread.run_sync(lambda: [file for file in files if not Path(file).is_file()])
        lacking = f"no such file: {', '.join(gone)}: nothing is compared with it" if gone else ""
        try:
            return await self._specification(tuple(file for file in files if file not in gone), driver), lacking
        except ConfigError as error:
            return None, f"{error}: nothing is compared with it"

    async def _one(
        self,
        look: Look,
        name: str,
        known: Sequence[Mapping[str, Any]],
        learned: Inferred | None,
        document: Specification | None,
    ) -> Findings:
        account, plan = look.account, look.account.plans[name]
        dry = look.begins(plan)
        unreadable = ""
        unread: Findings | None = None
        try:
            if look.unreachable is not None:
                raise look.unreachable
            async with self._clock.timeout(look.left_seconds):
                await dry.run()
        except TimeoutError:
            unread = look.over()
        except PayloadError as error:
            unreadable = str(error)
        except SyncdError as error:
            unread = look.failed(error)
        except Exception as error:  # whatever a driver makes of an answer nobody has seen before
            unreadable = f"{type(error).__name__} in the driver"
        answers = [exchange.response for exchange in dry.exchanges]
        if unread is not None and not answers:
            unread.calls = dry.calls
            return unread
        result = judged(
            account.driver,
            dry.resource,
            answers,
            known,
            adapter=plan.adapter,
            learned=learned,
            specification=document,
            base_path=self._base_path(account, answers[0].url if answers else ""),
        )
        if unreadable and not result.drift:
            result.drift.append(Drift("unreadable", "the listing", unreadable))
        result.calls = dry.calls
        return result

    def _base_path(self, account: Account, url: str) -> str:
        """What stands before the paths of the document and not before ours: a proxy, a simulator."""
        own = urlsplit(account.driver.base_url(account.options) or "").path.rstrip("/")
        return "" if not own or urlsplit(url).path.startswith(own) else own

    async def _specification(self, files: tuple[str, ...], driver: str) -> Specification | None:
        """The documents; where they are known to be wrong about this partner, that is left out."""
        if not files:
            return None
        paths = [Path(file) for file in files]

        def read() -> Specification:
            key = (
                driver,
                *(
                    (file, path.stat().st_mtime if path.is_file() else 0.0)
                    for file, path in zip(files, paths, strict=True)
                ),
            )
            if key not in self._read:  # one partner's at a time: they are large
                self._read = {key: Specification.read(*paths, defects=DEFECTS.get(driver, ()))}
            return self._read[key]

        return await to_thread.run_sync(read)

    def _specs_of(self, account: Account, given: Sequence[str]) -> tuple[str, ...]:
        beside = main_file(self._directory).parent
        return tuple(str(beside / one) for one in given or self._partner(account).contract.specs)

    def _folder(self, account: Account) -> Path | None:
        partner = self._partner(account)
        if partner.rest is not None:
            return main_file(self._directory).parent / "partners" / partner.name
        return drivers.folder(partner.driver)

    def _partner(self, account: Account) -> PartnerConfig:
        return self._config().partners[account.partner]

    def _account(self, name: str) -> Account:
        return asked(self._accounts(), name)


def _later(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)


__all__ = ["SCHEMA", "Contracts"]
