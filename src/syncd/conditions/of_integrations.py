"""What is wrong with the integrations: the state of each, of its resources, and what else is worth knowing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from syncd.conditions.condition import Condition
from syncd.config import Config
from syncd.explain import Explanation, State
from syncd.standing import Judged, not_running

Found = tuple[State, Explanation, str]
"""The state, why, and the resource ("": all)."""

WHOLE = frozenset({"auth-failed", "breaker-held", "breaker-open", "database-down", "partner-down", "rate-limited"})
"""What befalls a partner as a whole: said once, in the words of the first, and of no resource: with each further one that
meets it another trouble would seem to end and a new one to begin."""


def of_integrations(judged: Iterable[Judged], now: datetime, company: Callable[[str], str]) -> Iterator[Condition]:
    """Of those that run on this instance."""
    for one in judged:
        account = one.account
        for state, told, resource in _told(one, now):
            yield Condition(state, told, account.name, account.partner, company(account.name), resource)


def of_idle(
    config: Config, broken: Mapping[str, str], running: Iterable[str]
) -> tuple[list[Condition], frozenset[str]]:
    """Of those that do not, and which of them are neither switched off nor known not to start: they are about to run."""
    found, coming, there = [], set(), set(running)
    for name, (partner, integration) in config.integrations.items():
        if name in there:
            continue
        enabled = partner.is_enabled(name)
        if enabled and partner.name not in broken:
            coming.add(name)
            continue
        state, told = not_running(enabled, broken.get(partner.name, ""))
        found.append(Condition(state, told, name, partner.name, integration.company or name))
    return found, frozenset(coming)


def _told(one: Judged, now: datetime) -> Iterator[Found]:
    """Each trouble once: of the resource it is of, or of the integration where it is of several."""
    account = one.account
    if one.told is not None and (one.state is State.PAUSED or not account.ownership.held):
        yield one.state, one.told, ""
        return
    found: list[Found] = [] if one.told is None else [(one.state, one.told, "")]
    found += [(state, told, name) for name, (state, told) in one.resources.items() if told is not None]
    if one.refuses is not None:
        found.append((State.DEGRADED, one.refuses, ""))
    found += account.health.besides(one.view, now)
    alike: dict[str, list[Found]] = {}
    for each in found:
        code = each[1].code
        alike.setdefault(code if code in WHOLE else f"{code} {each[1].reason}", []).append(each)
    for same in alike.values():
        state, told, _ = min(same, key=lambda each: each[0].rank)
        resources = {resource for _, _, resource in same if resource} if told.code not in WHOLE else ()
        yield state, told, next(iter(resources)) if len(resources) == 1 else ""
