"""Probes of what keeps the copy right: paging, upserts, what is checked before it is sent, duplicates, reconciling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from syncd.doctor.facts import Facts, Subject
from syncd.doctor.model import Answer, beside, failed, later, manual, passed, together, warned
from syncd.errors import RejectedError
from syncd.kit import Change
from syncd.kit.pushes import Push, PushField

DAY = 86_400.0
SHORTEST_KEYS = 7 * DAY


def _pushes(one: Subject) -> dict[tuple[str, str], Push]:
    return {(name, kind): push for name, r in one.resources.items() for kind, push in r.pushes.items()}


def upserts(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Records are made by a call that may be repeated."""

    def look(one: Subject) -> Answer:
        making = {key: push for key, push in _pushes(one).items() if not push.needs_id}
        if not making:
            return beside("its driver makes no records at the partner")
        asserts = [f"{name}.{kind}" for (name, kind), push in making.items() if push.method == "PUT"]
        loose = [f"{name}.{kind}" for (name, kind), push in making.items() if push.idempotency == "none"]
        others = len(making) - len(asserts) - len(loose)
        told = [f"PUT for {', '.join(asserts[:4])}"] if asserts else []
        told += [f"{others} more known by a key or looked up"] if others else []
        told += [f"never repeated: {', '.join(loose[:3])} (a lost answer is a dead letter)"] if loose else []
        return passed("built in: " + "; ".join(told))

    return _each(subjects, look)


WRONG = {"email": "not an address", "domain": "not a domain", "phone": "0171 1234567"}


def _refused(one: Subject, kind: str) -> tuple[int, list[str]]:
    """How many push fields must be such, and which of them take a value that is none."""
    count, loose = 0, []
    for (name, word), push in _pushes(one).items():
        for field, rule in push.fields.items():
            if rule.kind != kind:
                continue
            count += 1
            data: dict[str, Any] = {other: _sample(r) for other, r in push.fields.items() if r.required}
            data[field] = [WRONG[kind]] if rule.many else WRONG[kind]
            try:
                one.driver.check(
                    one.resources[name], Change(name, "1" if push.needs_id else None, word, data, "doctor"), None
                )
                loose.append(f"{name}.{field}")
            except RejectedError:
                continue
    return count, loose


def _sample(rule: PushField) -> Any:
    return {"email": "a@example.com", "domain": "example.com", "phone": "+14155551234", "integer": 1}.get(
        rule.kind or "", rule.choices[0] if rule.choices else "text"
    )


def _validated(subjects: Sequence[Subject], *kinds: str) -> Answer:
    def look(one: Subject) -> Answer:
        found = {kind: _refused(one, kind) for kind in kinds}
        loose = [name for _, names in found.values() for name in names]
        if loose:
            return failed(f"its driver lets {loose[0]} pass unchecked", "a fault of the driver: report it")
        counted = [
            f"{count} {kind} {'field' if count == 1 else 'fields'}" for kind, (count, _) in found.items() if count
        ]
        if not counted:
            return beside("it pushes none")
        tried = " and ".join(f'"{WRONG[kind]}"' for kind, (count, _) in found.items() if count)
        return passed(f"built in: {', '.join(counted)} refuse {tried} before anything is sent")

    return _each(subjects, look)


def emails_checked(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    return _validated(subjects, "email", "domain")


def phones_checked(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    return _validated(subjects, "phone")


def input_checked(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """What comes in and goes out is held against a description; what fails is a row, not an exception."""

    def look(one: Subject) -> Answer:
        fields = sum(len(resource.fields) for resource in one.resources.values())
        pushed = sum(len(push.fields) for push in _pushes(one).values())
        return passed(f"built in: {fields} fields read and {pushed} pushed are typed; a bad record is a reject")

    return _each(subjects, look)


def references_checked(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Records named in a push by the partner's id: those that are in the copy have been seen at the partner."""
    if facts.database is None:
        return later(facts.no_database, facts.see_database)

    def look(one: Subject) -> Answer:
        by_id = [f"{name}.{kind}" for (name, kind), push in _pushes(one).items() if push.needs_id]
        if not by_id:
            return beside("it pushes to no record by its id")
        return manual(
            f"{len(by_id)} kinds of push name a record by id; who writes them takes ids from syncd.records?",
            f"syncd push list {one.name}; a wrong id ends as a dead letter: syncd dlq list",
        )

    return _each(subjects, look)


def paged(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Each listing has a way on, and the copy knows how far it came."""

    def look(one: Subject) -> Answer:
        kinds: dict[str, int] = {}
        for resource in one.resources.values():
            kinds[str(resource.pages.kind)] = kinds.get(str(resource.pages.kind), 0) + 1
        told = ", ".join(f"{count} by {kind}" for kind, count in sorted(kinds.items(), key=lambda two: -two[1]))
        if not kinds:
            return failed("no resource is enabled", "resources: {NAME: {enabled: true}}")
        return passed(f"built in: {told}; a page that repeats is an error, no loop{_passes(facts, one)}")

    return _each(subjects, look)


def _passes(facts: Facts, one: Subject) -> str:
    at = facts.database.passes.get(one.name) if facts.database is not None else None
    return "" if at is None else f"; last complete pass {at:%Y-%m-%d %H:%M}Z"


def state_kept(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    if facts.database is None:
        return later(facts.no_database, facts.see_database)

    def look(one: Subject) -> Answer:
        database = facts.database
        assert database is not None
        count = database.checkpoints.get(one.name, 0)
        if not database.applied:
            return later("syncd's schema cannot be seen there yet", "syncd migrate; then start syncd")
        if not count:
            return later("nothing has been read yet", f"syncd sync {one.name}")
        return passed(f"{count} of {len(one.plans)} resources have a stored place in syncd.checkpoints")

    return _each(subjects, look)


def reconciled_daily(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """A complete pass a day, which is what finds drift."""

    def look(one: Subject) -> Answer:
        slow = {name: plan.full_every_seconds for name, plan in one.plans.items() if plan.full_every_seconds > DAY}
        roots = [name for name, plan in one.plans.items() if plan.resource.parent is None]
        late = [name for name in roots if name in slow]
        if late:
            return failed(
                f"{late[0]}: every {slow[late[0]] / DAY:g} days", f"resources: {{{late[0]}: {{full_every: 24h}}}}"
            )
        at = facts.database.passes.get(one.name) if facts.database is not None else None
        if at is not None and (facts.now - at).total_seconds() > 2 * DAY:
            return failed(f"the last complete pass ended {at:%Y-%m-%d %H:%M}Z", f"syncd reconcile {one.name}")
        return passed(f"a complete pass a day of {len(roots)} resources (full_every){_passes(facts, one)}")

    return _each(subjects, look)


def transitions(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Its driver is asked to make each step that is not allowed."""

    def look(one: Subject) -> Answer:
        steps = 0
        for (name, kind), push in _pushes(one).items():
            rule = push.transitions
            if rule is None:
                continue
            choices = push.fields[push.state_field].choices if push.state_field in push.fields else ()
            for state, after in rule.allowed.items():
                for to in (c for c in choices if c not in (*after, state)):
                    change = Change(name, "1", kind, {push.state_field: to}, "doctor")
                    try:
                        one.driver.check(one.resources[name], change, {rule.field: state})
                    except RejectedError:
                        steps += 1
                        continue
                    return failed(f"{name}: {state} may become {to}", "a fault of the driver: report it")
        if not steps:
            return beside("nothing it pushes has states that follow on each other")
        return passed(f"built in: {steps} steps that are not allowed asked of its driver, all refused before sending")

    return _each(subjects, look)


def deduplicated(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Deliveries have an id, the table takes each once, and keys outlive the partner's tries."""
    hooked = [one for one in subjects if one.hooked]
    if not hooked:
        return beside("no deliveries come here: no integration has `webhook:`")
    kept = facts.config.retention.inbox
    if kept < SHORTEST_KEYS:
        return failed(f"keys are kept for {kept / DAY:g} days", "retention: {inbox: 7d}")
    if facts.database is None:
        return later(facts.no_database, facts.see_database)
    if not facts.database.applied:
        return later("syncd's schema cannot be seen there yet", "syncd migrate")
    if not facts.database.inbox_unique:
        return failed("syncd.inbox has lost its key (integration, event_id)", "restore the primary key; syncd migrate")

    def look(one: Subject) -> Answer:
        rules = one.driver.spec.webhooks
        if rules is None:
            return passed(f"built in: by its driver's own id; keys kept for {kept / DAY:g} days")
        by = rules.event_id or " + ".join(map(str, rules.composite))
        if not by:
            return warned("its driver names no id of a delivery: the whole body is compared", "rules: {event_id: PATH}")
        return passed(f"built in: by {by}, a key of syncd.inbox; keys kept for {kept / DAY:g} days")

    return _each(hooked, look)


def _each(subjects: Sequence[Subject], look: Callable[[Subject], Answer]) -> Answer:
    return together([(one.name, look(one)) for one in subjects])
