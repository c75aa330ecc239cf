"""Whether a push whose answer was lost has arrived: the call that tells, and what its answer says. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from syncd.errors import PayloadError, UnknownOutcomeError
from syncd.kit import coerce
from syncd.kit.filling import CLOCKS_DIFFER, filled, known_of, params_of, path_of, rules_for, says
from syncd.kit.paths import MISSING, getter
from syncd.kit.pushes import LookUp
from syncd.model import Request, Response

if TYPE_CHECKING:
    from syncd.kit.resource import Resource
    from syncd.kit.webhooks import Change


MOST_CANDIDATES: Final = 20
"""Records read to find the one that a push may have made."""


def look_up(resource: Resource, change: Change, one: Request | None) -> Request | None:
    """The call that tells whether it has arrived; `one` is the call that reads the record. None: nothing tells."""
    rules = resource.pushes.get(change.kind)
    if rules is None:
        return None
    if rules.look_up is None:
        return one if rules.is_deletion else None
    if rules.look_up.path is None:
        return one
    known = known_of(resource, rules, change)
    return Request(
        path_of(resource, rules.look_up.path, known),
        route=rules.look_up.path,
        params=params_of(rules.look_up.params, known),
        headers=resource.headers,
        budget="read",
        group=resource.group,
    )


def by_reading(resource: Resource, change: Change) -> bool:
    """Is it a deletion of which the record itself tells, by being there or not?"""
    rules = resource.pushes.get(change.kind)
    return rules is not None and rules.is_deletion and rules.look_up is None


def already(resource: Resource, change: Change, response: Response) -> bool:
    """Does the answer to `look_up` show that the change has arrived? A deletion has where it shows no such record.

    Raises PayloadError for an answer that does not tell: only what was asked for, and is not there, says no. Raises
    UnknownOutcomeError for a change that brings nothing by which it could be told from others.
    """
    rules = rules_for(resource, change)
    assert rules.look_up is not None
    known, same, place = known_of(resource, rules, change), rules.look_up.same, _place(resource, rules.look_up)
    if all(filled(template, known) is MISSING for template in same.values()):
        raise UnknownOutcomeError(f"the change brings none of what would show that it arrived: {', '.join(same)}")
    found = getter(place)(response.json())
    if isinstance(found, dict):
        ids = resource.id if isinstance(resource.id, tuple) else (resource.id,)
        of_one = rules.look_up.path is None or rules.look_up.each
        if all(getter(path)(found) is MISSING for path in (*same, *(ids if of_one else ()))):
            raise PayloadError(f"the answer to the look-up has none of {', '.join(same)} {_at(place)}")
        found = [found]
    if not isinstance(found, list):
        raise PayloadError(f"the answer to the look-up has neither a record nor a list of them {_at(place)}")
    there = any(says(record, same, known) is True for record in found if _may_be(record, rules.look_up, change))
    return there is not rules.is_deletion


def candidates(resource: Resource, change: Change, response: Response) -> list[str] | None:
    """The ids in the answer to `look_up` of records that have to be read to be compared; None where that answer tells all.

    Raises PayloadError for an answer that is no such list, UnknownOutcomeError for more of them than are read.
    """
    rules = rules_for(resource, change).look_up
    if rules is None or not rules.each:
        return None
    place = rules.records or ""
    found = getter(place)(response.json())
    if not isinstance(found, list):
        raise PayloadError(f"the answer to the look-up has no list {_at(place)}")
    ids = [resource.reader.identify(raw).external_id for raw in found if _may_be(raw, rules, change)]
    if len(ids) > MOST_CANDIDATES:
        raise UnknownOutcomeError(f"{len(ids)} records may be the one it made: too many to look at each")
    return ids


def _may_be(record: Any, rules: LookUp, change: Change) -> bool:
    """Was it made when the change may have made it? What does not say may be."""
    if rules.made is None or change.sent_at is None:
        return True
    value = getter(rules.made)(record)
    try:
        made = coerce.moment(value) if isinstance(value, str) else None
    except PayloadError:
        made = None
    return made is None or made >= change.sent_at - CLOCKS_DIFFER


def _at(place: str) -> str:
    return f"at {place}" if place else "in its body"


def _place(resource: Resource, rules: LookUp) -> str:
    if rules.each:
        return resource.one.records if resource.one is not None else ""
    if rules.records is not None:
        return rules.records
    return resource.one.records if resource.one is not None and rules.path is None else ""
