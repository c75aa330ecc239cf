"""Why a record is not in the copy, the most telling reason first, each with what to do about it."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any, NamedTuple

from syncd import maintaining
from syncd.config import Config
from syncd.store import BREAKER_HOLD, PAUSE, Control, Store
from syncd.store.rejects import KILLED
from syncd.sync.plan import ResourcePlan
from syncd.wording import clock_time, plural


class Why(NamedTuple):
    """One reason."""

    code: str
    text: str
    do: str


class Asked(NamedTuple):
    """The record that is asked for, and what the configuration says of its resource."""

    integration: str
    resource: str
    external_id: str
    plan: ResourcePlan | None
    """None: it is not synced."""

    @property
    def read_it(self) -> str:
        """The command that reads it now, fit for a shell: ids are the partner's words."""
        return f"syncd sync {self.integration}/{self.resource} --id {shlex.quote(self.external_id)}"


async def standing(config: Config, store: Store, asked: Asked, now: datetime) -> list[Why]:
    """What keeps the record from being brought up to date at all: of a row that is there too."""
    found: list[Why] = []
    name, resource = asked.integration, asked.resource
    configured = config.integrations.get(name)
    if configured is None:
        found.append(Why("unconfigured", f"{name} is in no file any more", "syncd check"))
        return found
    partner, _ = configured
    if not partner.is_enabled(name):
        do = f"enabled: true in partners/{partner.name}.yaml, then syncd reload"
        found.append(Why("disabled", f"{name} is switched off (enabled: false)", do))
    elif asked.plan is None:
        found.append(
            Why(
                "not-synced",
                f"{resource} of {name} is not synced: its driver or file leaves it off",
                f"resources: {{{resource}: {{enabled: true}}}} in partners/{partner.name}.yaml, then syncd reload",
            )
        )
    orders = await store.controls.active(name)
    for order in orders:
        if not order.lasts(now):
            continue
        end = _end(order)
        if order.kind == PAUSE and order.resource in ("", resource):
            what = f"{name}/{order.resource}" if order.resource else name
            found.append(Why("paused", f"{what} is paused by {order.who}{end}", f"syncd resume {what}"))
        elif order.kind == BREAKER_HOLD:
            what = f"calls of {name}" + (f" ({order.resource})" if order.resource else "")
            found.append(Why("held", f"{what} are held back by {order.who}{end}", f"syncd breaker {name} release"))
    if (window := maintaining.in_force(config, now).get(name)) is not None:
        found.append(Why("maintenance", f"{name} is in maintenance{_end(window)}", f"syncd status {name}"))
    return found


def _end(order: Control) -> str:
    until = f" until {clock_time(order.until)}" if order.until is not None else ""
    return until + (f": {order.why}" if order.why else "")


async def absence(config: Config, store: Store, asked: Asked, now: datetime, about: dict[str, Any]) -> list[Why]:
    """Reasons for there being no row. `about`: what the other tables say of it, as `story` put it together."""
    name = asked.integration
    found: list[Why] = []
    if (reject := about["reject"]) is not None:
        came = f"it came {plural(reject['times'], 'time')}, last {clock_time(reject['last_at'])}"
        if reject["fingerprint"] == KILLED:
            text = f"{came}, and is put aside untouched, since reading it ended the process"
            found.append(Why("put-aside", text, f"syncd dlq list {name}"))
        else:
            found.append(Why("rejected", f"{came}, and was refused: {reject['reason']}", f"syncd dlq list {name}"))
    for letter in about["letters"][:1]:
        text = f"reading it was given up {clock_time(letter['buried_at'])}: {letter['message']}"
        found.append(Why("given-up", text, f"syncd dlq show {letter['id']}"))
    found += await standing(config, store, asked, now)
    for task in about["tasks"][:1]:
        when = f", not before {clock_time(task['not_before'])}" if task["not_before"] is not None else ""
        reason = f" ({task['reason']})" if task["reason"] else ""
        found.append(Why("waiting", f"task {task['id']} is to read it{when}{reason}", f"syncd status {name}"))
    waiting = [one for one in about["deliveries"] if one["state"] == "waiting"]
    if waiting:
        text = f"delivery {waiting[0]['id']} about it waits to be worked on"
        found.append(Why("waiting", text, f"syncd webhook show {name} {waiting[0]['id']}"))
    if asked.plan is not None:
        found.append(await _listing(config, store, asked))
    return found


async def _listing(config: Config, store: Store, asked: Asked) -> Why:
    """What the complete passes have to say."""
    name, resource = asked.integration, asked.resource
    passes = await store.about.showed(name, resource, asked.external_id)
    if not passes:
        stand = await store.checkpoints.stand(name, resource)
        begun = stand is not None and stand.started_at is not None
        where = f"the first one began {clock_time(stand.started_at)}" if stand is not None and begun else "none began"
        text = f"no complete pass over {resource} has ended yet; {where}"
        return Why("not-read-yet", text, f"syncd status {name}; or at once: {asked.read_it}")
    number, ended_at, showed = passes[0]
    if showed:
        text = (
            f"pass {number} showed it ({clock_time(ended_at)}), and it is not stored: kept out then, or forgotten since"
        )
        return Why("kept-out", text, asked.read_it)
    partner, _ = config.integrations[name]
    options = ", ".join(sorted(partner.options_for(name)))
    excluded = f"; or the options leave it out ({options})" if options else ""
    text = f"the partner did not list it: pass {number}, ended {clock_time(ended_at)}, did not show it"
    return Why("never-listed", f"{text}. The id is wrong, or another account's, or it is new{excluded}", asked.read_it)
