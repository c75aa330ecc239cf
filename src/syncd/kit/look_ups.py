"""Whether a push whose answer was lost has arrived: the call that tells, and what its answer says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from syncd.errors import PayloadError, UnknownOutcomeError
from syncd.kit import coerce
from syncd.kit.filling import CLOCKS_DIFFER, alike, filled, known_of, params_of, path_of, rules_for, says
from syncd.kit.paths import MISSING, getter
from syncd.kit.pushes import LookUp
from syncd.model import Request, Response

if TYPE_CHECKING:
    from syncd.kit.resource import Resource
    from syncd.kit.webhooks import Change


ROUNDED: Final = timedelta(seconds=2)
"""Stamps may have whole seconds, and so has the Date of an answer."""
QUARTER_SECONDS: Final = 900.0
SOON_SECONDS: Final = 60.0
"""After a push has left: what it makes is made by then."""
MOST_OFF_SECONDS: Final = 14 * 3600.0 + 120.0
"""No clock on earth is further from UTC."""
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
    UnknownOutcomeError for a change that brings nothing by which it could be told from others, and where one may be it, and
    nothing tells whether it is.
    """
    rules = rules_for(resource, change)
    assert rules.look_up is not None
    known, same, place = known_of(resource, rules, change), rules.look_up.same, _place(resource, rules.look_up)
    if all(filled(template, known) is MISSING for template in same.values()):
        raise UnknownOutcomeError(f"the change brings none of what would show that it arrived: {', '.join(same)}")
    found = _found(place, response)
    if isinstance(found, dict):
        ids = resource.id if isinstance(resource.id, tuple) else (resource.id,)
        of_one = rules.look_up.path is None or rules.look_up.each
        if all(getter(path)(found) is MISSING for path in (*same, *(ids if of_one else ()))):
            raise PayloadError(f"the answer to the look-up has none of {', '.join(same)} {_at(place)}")
        found = [found]
    if not isinstance(found, list):
        raise PayloadError(f"the answer to the look-up has neither a record nor a list of them {_at(place)}")
    if rules.is_deletion:
        return not any(says(one, same, known) for one in found)
    if change.others_made:
        found = [one for one in found if not made_by_another(resource, change, one)]
    return _one_of(found, rules.look_up, known, change, response)


def made_by_another(resource: Resource, change: Change, raw: Any) -> bool:
    """Is this record known to be the work of another push, which says the same?"""
    try:
        return resource.reader.identify(raw).external_id in change.others_made
    except PayloadError:
        return False


def candidates(resource: Resource, change: Change, response: Response) -> list[str] | None:
    """The ids in the answer to `look_up` of records that have to be read to be compared; None where that answer tells all.

    Raises PayloadError for an answer that is no such list, UnknownOutcomeError for more of them than are read.
    """
    rules = rules_for(resource, change).look_up
    if rules is None or not rules.each:
        return None
    place = rules.records or ""
    found = _found(place, response)
    if not isinstance(found, list):
        raise PayloadError(f"the answer to the look-up has no list {_at(place)}")
    ids = [resource.reader.identify(raw).external_id for raw in found if _may_be(raw, rules, change)]
    ids = [one for one in ids if one not in change.others_made]
    if len(ids) > MOST_CANDIDATES:
        raise UnknownOutcomeError(f"{len(ids)} records may be the one it made: too many to look at each")
    return ids


def be_whole(resource: Resource, change: Change, response: Response) -> None:
    """Raises UnknownOutcomeError where an answer that does not show it is not all there is."""
    more = rules.more if (rules := rules_for(resource, change).look_up) is not None else None
    if more is not None and getter(more)(response.json()) not in (MISSING, None, "", False):
        raise UnknownOutcomeError("it is not on the first page of the look-up, and another page follows")


def _one_of(found: list[Any], rules: LookUp, known: Mapping[str, Any], change: Change, response: Response) -> bool:
    """Is one of these records ours? Raises UnknownOutcomeError where none surely is, and one may be."""
    wanted = {path: value for path, one in rules.same.items() if (value := filled(one, known)) is not MISSING}
    unsure: UnknownOutcomeError | None = None
    for record in found:
        verdicts = {path: alike(getter(path)(record), value) for path, value in wanted.items()}
        if False in verdicts.values():
            continue
        try:
            if _may_be(record, rules, change):
                _tell(record, rules, verdicts, change, response)
                return True
        except UnknownOutcomeError as error:
            unsure = error
    if unsure is not None:
        raise unsure
    return False


def _tell(record: Any, rules: LookUp, verdicts: Mapping[str, bool | None], change: Change, response: Response) -> None:
    """Raises UnknownOutcomeError for one that may be ours, and as well somebody else's."""
    if "{key}" in rules.same.values():
        return
    unclear = [path for path, verdict in verdicts.items() if verdict is None]
    if unclear:
        raise UnknownOutcomeError(f"one may be the one it made, and its {', '.join(unclear)} cannot be compared")
    made = _made_at(record, rules)
    if made is None or change.sent_at is None:
        return
    behind = timedelta()
    if response.date is not None and response.requested_at is not None:  # the partner's clock, when it answered
        answered_at = response.requested_at + timedelta(seconds=response.elapsed_seconds)
        behind = max(behind, answered_at - response.date)
    if made < change.sent_at - behind - ROUNDED:
        raise UnknownOutcomeError("one like it was made shortly before it left: it may be another one")


def _may_be(record: Any, rules: LookUp, change: Change) -> bool:
    """Was it made when the change may have made it? What does not say may be. Raises UnknownOutcomeError: nobody knows."""
    if rules.made_local is not None and change.sent_at is not None:
        return _fits(getter(rules.made_local)(record), change.sent_at)
    if rules.made is None or change.sent_at is None:
        return True
    made = _made_at(record, rules)
    return made is None or made >= change.sent_at - CLOCKS_DIFFER


def _made_at(record: Any, rules: LookUp) -> datetime | None:
    value = getter(rules.made)(record) if rules.made is not None else None
    try:
        return coerce.moment(value) if isinstance(value, str) else None
    except PayloadError:
        return None


def _fits(value: Any, sent_at: datetime) -> bool:
    """May a push that left at that moment have made what was made at this one, by a clock whose zone nobody knows?

    No zone is off by other than whole quarters of an hour, nor by more than fourteen hours. Raises UnknownOutcomeError for
    what was made so near to it that clocks may differ by as much, or was of somebody else.
    """
    try:
        made = coerce.moment(value, UTC) if isinstance(value, str) else None
    except PayloadError:
        made = None
    if made is None:
        return True
    apart = (made - sent_at).total_seconds()
    off = (apart + QUARTER_SECONDS / 2) % QUARTER_SECONDS - QUARTER_SECONDS / 2
    if abs(apart) > MOST_OFF_SECONDS or abs(off) > CLOCKS_DIFFER.total_seconds():
        return False
    if not -1.0 <= off <= SOON_SECONDS:
        raise UnknownOutcomeError("there is one that says the same, made so near to it that it may be another one")
    return True


def _found(place: str | tuple[str, ...], response: Response) -> Any:
    if isinstance(place, str):
        return getter(place)(response.json())
    found = [getter(one)(response.json()) for one in place]
    return next((one for one in found if isinstance(one, list)), MISSING)


def _at(place: str | tuple[str, ...]) -> str:
    return f"at {place if isinstance(place, str) else ', '.join(place)}" if place else "in its body"


def _place(resource: Resource, rules: LookUp) -> str | tuple[str, ...]:
    if rules.each:
        return resource.one.records if resource.one is not None else ""
    if rules.records is not None:
        return rules.records
    return resource.one.records if resource.one is not None and rules.path is None else ""
