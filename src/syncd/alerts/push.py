"""Tells an address of conditions that began and ended, where `alerts.url` names one.

What is to be told is the difference between what is now and what was told last, reckoned anew at each try: however long
the receiver is away, nothing piles up, and once it is back it hears how things stand. What was told is kept in a file, so a
restart tells nothing twice. Nothing waits for this, and what it could not deliver it does not tell of by itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from syncd import metrics, own_troubles
from syncd.alerts import message
from syncd.alerts.delivery import Receiver
from syncd.clock import Clock
from syncd.conditions import Condition
from syncd.conditions.own import Trouble
from syncd.config import AlertsConfig
from syncd.errors import SyncdError
from syncd.explain import Severity, State

log = structlog.get_logger()

LOOK_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 10.0
"""For so long a condition has to last, or be gone, before it is told: what comes together is told together."""
START_SECONDS: Final = 60.0
"""After a start troubles are met anew, and after another instance had the integration: until then none counts as over."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 600.0
"""After a failed try; each pause is twice the one before."""
MOST: Final = 500
"""Conditions remembered and told; a thousand at once are one trouble, and the summary says so."""
CODE: Final = "alerts-undelivered"
FILE: Final = "alerts.json"
QUIET: Final = frozenset({State.PAUSED, State.WAITING})
ELSEWHERE: Final = "not-owner"


@dataclass(slots=True)
class _Known:
    """A condition that was told, or is about to be."""

    as_told: dict[str, Any]
    seen_at: float
    """Monotonic; when it came."""
    gone_at: float | None = None
    told_at: datetime | None = None
    """None: not yet."""
    told_as: Severity | None = None
    """How bad it was when it was told, at the worst."""
    rose_at: float | None = None
    """When it became worse than that."""
    eased_as: dict[str, Any] | None = None
    """How it is, where it lasts and is less bad than anybody wants to hear of."""
    eased_at: float | None = None
    eased_told: bool = False

    @property
    def severity(self) -> Severity:
        return Severity(self.as_told["severity"])


@dataclass(slots=True)
class _Difference:
    began: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    eased: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.began or self.ended or self.eased or self.lasting)


class Pusher:
    """`run()` never returns by itself; `trouble()` is what the list of conditions shows of it."""

    def __init__(
        self,
        *,
        config: Callable[[], AlertsConfig],
        receiver: Callable[[], Receiver | None],
        conditions: Callable[[], Sequence[Condition]],
        clock: Clock,
        starting: Callable[[], Collection[str] | None] = tuple,
        directory: Callable[[], Path | None] = lambda: None,
    ) -> None:
        """`receiver` is asked before each message, so a reload is felt at once; `starting` are the integrations of which the
        conditions could not tell yet (None: not even of the daemon); `directory` holds what was told."""
        self._config = config
        self._receiver = receiver
        self._conditions = conditions
        self._clock = clock
        self._starting = starting
        self._directory = directory
        self._known: dict[str, _Known] = {}
        self._began_at = clock.monotonic()
        self._blind: dict[str, float] = {}
        """Integrations of which nobody here could tell, and when that was last."""
        self._pause = FIRST_PAUSE_SECONDS
        self._not_before = float("-inf")
        self._failed: tuple[str, datetime] | None = None
        self._read = False
        for result in ("delivered", "failed"):
            metrics.ALERT_PUSHES.labels(result)

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("alerts_not_looked_at")
            await self._clock.sleep(LOOK_SECONDS)

    def trouble(self) -> Trouble | None:
        """That nothing could be delivered lately."""
        if self._failed is None or self._config().url is None:
            return None
        why, since = self._failed
        return Trouble(State.DEGRADED, own_troubles.alerts_undelivered(why, since))

    async def look(self) -> None:
        """One look: tell what there is to tell, if it is time."""
        if self._config().url is None:
            self._known.clear()
            self._failed = None
            return
        if not self._read:
            self._read = True
            self._recall()
        starting = self._starting()
        if starting is None:
            return
        self._notice(starting)
        found = self._difference()
        if found and self._clock.monotonic() >= self._not_before:
            await self._tell(found)

    def _notice(self, starting: Collection[str]) -> None:
        now, wanted, there = self._clock.monotonic(), set(self._config().severities), self._conditions()
        loud = {"/".join(one.key): one for one in there if one.state not in QUIET and one.told.code != CODE}
        current = {key: one for key, one in loud.items() if one.severity in wanted}
        paused = {one.integration for one in there if one.state is State.PAUSED and not one.resource}
        elsewhere = {one.integration for one in there if one.told.code == ELSEWHERE}
        self._blind |= dict.fromkeys((*starting, *elsewhere), now)
        for key, one in list(current.items())[:MOST]:
            known = self._known.setdefault(key, _Known({}, now))
            known.as_told, known.gone_at = one.as_dict(), None
            known.eased_as, known.eased_at, known.eased_told = None, None, False
            worse = known.told_as is not None and one.severity.rank < known.told_as.rank
            known.rose_at = None if not worse else now if known.rose_at is None else known.rose_at
        for key, known in list(self._known.items()):
            if key in current:
                continue
            if known.told_at is None:
                del self._known[key]  # it went before it was told
            elif key in loud and known.as_told["severity"] in wanted:
                known.eased_as, known.gone_at = loud[key].as_dict(), None
                known.eased_at = now if known.eased_at is None else known.eased_at
            elif self._blind.get(known.as_told["integration"]) == now:
                known.gone_at = None
            elif known.as_told["severity"] not in wanted or known.as_told["integration"] in paused:
                del self._known[key]  # not over: nobody wants to hear of it any more
            elif known.gone_at is None:
                known.gone_at = now

    def _difference(self) -> _Difference:
        now, found = self._clock.monotonic(), _Difference()
        due = self._clock.now()
        for key, known in self._known.items():
            blind_at = self._blind.get(known.as_told["integration"], self._began_at)
            if known.told_at is None:
                if now - known.seen_at >= SETTLE_SECONDS:
                    found.began.append(key)
            elif known.gone_at is not None:
                if now - known.gone_at >= SETTLE_SECONDS and now - blind_at >= START_SECONDS:
                    found.ended.append(key)
            elif blind_at == now:
                continue  # nobody knows here whether it lasts
            elif known.eased_at is not None:
                if not known.eased_told and now - known.eased_at >= SETTLE_SECONDS:
                    found.eased.append(key)
            elif known.rose_at is not None:
                if now - known.rose_at >= SETTLE_SECONDS:
                    found.began.append(key)
            elif (due - known.told_at).total_seconds() >= self._config().repeat_seconds:
                found.lasting.append(key)
        return found

    async def _tell(self, found: _Difference) -> None:
        at = self._clock.now()
        identifier = f"alert_{at:%Y%m%dT%H%M%S}_{int(self._clock.random() * 16**8):08x}"
        try:
            receiver = self._receiver()
            if receiver is None:
                return
            await receiver.post(self._body(receiver, found, identifier, at), identifier, at, self._clock)
        except SyncdError as error:
            self._not_told(str(error), at)
            return
        metrics.ALERT_PUSHES.labels("delivered").inc()
        if self._failed is not None:
            log.info("alerts_delivered_again")
        self._failed, self._pause, self._not_before = None, FIRST_PAUSE_SECONDS, float("-inf")
        for key in found.ended:
            self._known.pop(key, None)
        for key in (*found.began, *found.lasting):
            if (known := self._known.get(key)) is not None:
                known.told_at, known.rose_at = at, None
                known.told_as = min(known.severity, known.told_as or known.severity, key=lambda one: one.rank)
        for key in found.eased:
            if (known := self._known.get(key)) is not None and known.eased_as is not None:
                known.eased_told, known.told_as = True, Severity(known.eased_as["severity"])
        self._remember()

    def _body(self, receiver: Receiver, found: _Difference, identifier: str, at: datetime) -> bytes:
        began, ended, lasting = (
            [self._known[key].as_told for key in keys] for keys in (found.began, found.ended, found.lasting)
        )
        ended = [{**one, "ended_at": at} for one in ended]
        eased = [told for key in found.eased if (told := self._known[key].eased_as) is not None]
        host = socket.gethostname()
        if receiver.format == "slack":
            return message.slack(host, began, ended, eased, lasting)
        return message.generic(identifier, at, host, began, ended, eased, lasting)

    def _not_told(self, why: str, at: datetime) -> None:
        metrics.ALERT_PUSHES.labels("failed").inc()
        if self._failed is None:
            log.warning("alerts_undelivered", reason=why, action="syncd alerts test")
        self._failed = (why, self._failed[1] if self._failed is not None else at)
        self._not_before = self._clock.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    # -- over a restart --------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        """What was told before the start. A file that cannot be read is none: then all is told once more, in one message."""
        path = self._path()
        if path is None:
            return
        try:
            entries = orjson.loads(path.read_bytes())["told"]
            now = self._clock.monotonic()
            for key, entry in list(entries.items())[:MOST]:
                told_at = datetime.fromisoformat(entry["told_at"])
                known = self._known[str(key)] = _Known(dict(entry["condition"]), now, None, told_at)
                known.eased_told = bool(entry.get("eased"))
                known.told_as = Severity(entry["eased"]) if known.eased_told else known.severity
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._known.clear()
            log.warning("alerts_memory_unread", reason=type(error).__name__)

    def _remember(self) -> None:
        path = self._path()
        if path is None:
            return
        told = {
            key: {"told_at": known.told_at, "condition": known.as_told, "eased": _eased(known)}
            for key, known in self._known.items()
            if known.told_at is not None
        }
        beside = path.with_suffix(".new")
        try:
            beside.write_bytes(orjson.dumps({"told": told}, default=str))
            beside.replace(path)
        except OSError as error:
            log.warning("alerts_memory_unwritten", reason=error.strerror)

    def _path(self) -> Path | None:
        directory = self._directory()
        return directory / FILE if directory is not None and directory.is_dir() else None


def _eased(known: _Known) -> str | None:
    """As how bad it was told last, where that was less than anybody wants to hear of."""
    return str(known.told_as) if known.eased_told and known.told_as is not None else None
