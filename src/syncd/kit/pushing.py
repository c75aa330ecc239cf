"""From a change of ours to the call that brings it to the partner, by the rules of `pushes.py`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from syncd.errors import PayloadError, RejectedError, UnknownOutcomeError
from syncd.kit import coerce, contact
from syncd.kit.adapter import id_parts
from syncd.kit.paths import MISSING, getter, kind, put
from syncd.kit.pushes import BODY, PLACEHOLDER, LookUp, Push, PushField
from syncd.kit.shapes import HEADER
from syncd.model import Item, Raw, Request, Response

if TYPE_CHECKING:
    from syncd.kit.resource import Resource
    from syncd.kit.webhooks import Change


CLOCKS_DIFFER: Final = timedelta(minutes=2)
"""How far the partner's clock may be behind ours: what it says was made so long before a push left may be of that push."""
MOST_CANDIDATES: Final = 20
"""Records read to find the one that a push may have made."""
STATE: Final = "state"
"""Code of a refusal for the state the record is stored in: it may have another one by now."""


def rules_for(resource: Resource, change: Change) -> Push:
    """The rules of a change's kind. Raises RejectedError for a kind the resource does not take."""
    rules = resource.pushes.get(change.kind)
    if rules is None:
        hint = f"it takes: {', '.join(resource.pushes)}" if resource.pushes else "its driver knows no pushes of it"
        raise refused(resource, f"{resource.name} takes no push of kind {change.kind!r}", hint)
    return rules


def refused(resource: Resource, message: str, hint: str = "") -> RejectedError:
    """What is wrong with a change, found before anything was sent."""
    return RejectedError(message, hint=hint, code="invalid", resource=resource.name)


def check(resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
    """Raises RejectedError naming the field that cannot be sent. `stored`: the record's normalized fields, if known."""
    rules = rules_for(resource, change)
    change = replace(change, data=meant(rules, change.data))
    if rules.needs_id and not change.external_id:
        raise refused(resource, f"{change.kind} needs the record's id", "give it: external_id, or --id")
    for name in change.data:
        if name not in rules.fields and name not in rules.expects and not rules.extra and rules.fields:
            has = f"it has: {', '.join(rules.fields)}"
            raise refused(resource, f"field {name}: {resource.name} {change.kind} has no such field", has)
    for name, field in rules.fields.items():
        value = change.data.get(name)
        if value is None or (field.required and isinstance(value, str) and not value.strip()):
            if field.required:
                raise refused(resource, f"field {name}: is required")
            continue
        trouble = _trouble(field, value)
        if trouble:
            raise refused(resource, f"field {name}: {trouble}")
    if rules.match is not None and not change.external_id and change.data.get(rules.match) in (None, "", []):
        raise refused(resource, f"field {rules.match}: is required: it says which record is meant")
    _check_expected(resource, rules, change, stored)
    _check_state(resource, rules, change, stored)
    push(resource, change)  # a placeholder nothing stands for shows now, and not when it is sent


def meant(rules: Push, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data in the partner's words."""
    words = {name: field.words for name, field in rules.fields.items() if field.words}
    return {
        name: words[name].get(value, value) if name in words and isinstance(value, str) else value
        for name, value in data.items()
    }


def by_state(resource: Resource, change: Change) -> bool:
    """May the change be sent only where the record is in certain states?"""
    rules = resource.pushes.get(change.kind)
    if rules is None:
        return False
    if any(change.data.get(name) is not None for name in rules.expects):
        return True
    return rules.transitions is not None and change.data.get(rules.state_field) is not None


def _check_expected(resource: Resource, rules: Push, change: Change, stored: Mapping[str, Any] | None) -> None:
    for name, field in rules.expects.items():
        wanted = change.data.get(name)
        if wanted is None or stored is None or _equal(stored.get(field), wanted):
            continue
        hint = "read the record again, and push anew what is still wanted"
        error = refused(resource, f"field {name}: the record was changed since: its {field} is another one", hint)
        error.code = STATE
        raise error


def _check_state(resource: Resource, rules: Push, change: Change, stored: Mapping[str, Any] | None) -> None:
    if rules.transitions is None or stored is None or change.data.get(rules.state_field) is None:
        return
    old, new = stored.get(rules.transitions.field), change.data[rules.state_field]
    allowed = rules.transitions.allowed.get(str(old))
    if old is None or str(new) == str(old) or allowed is None or str(new) in allowed:
        return
    may = f"it may become {', '.join(allowed)}" if allowed else "it stays so"
    error = refused(resource, f"field {rules.state_field}: {old!s} cannot become {new!s}", f"from {old!s} {may}")
    error.code = STATE
    raise error


def _trouble(field: PushField, value: Any) -> str:
    """What is wrong with a field's value, in words without the value; empty: nothing."""
    if field.many:
        single = field.model_copy(update={"many": False})
        values = value if isinstance(value, list) else [value]
        if field.required and not values:
            return "is required"
        for number, one in enumerate(values, 1):
            if trouble := _trouble(single, one):
                return trouble if len(values) == 1 else f"{trouble} (number {number} of the list)"
        return ""
    if field.choices and not any(_equal(value, choice) for choice in field.choices):
        return f"is none of {', '.join(map(str, field.choices))}"
    if field.longest is not None and isinstance(value, str) and len(value) > field.longest:
        return f"is longer than {field.longest} characters"
    return _KINDS[field.kind](value) if field.kind is not None else ""


def _is(expected: str, *types: type) -> Callable[[Any], str]:
    def trouble(value: Any) -> str:
        fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
        return "" if fits else f"expected {expected}, got {kind(value)}"

    return trouble


def _reads(read: Callable[[Any], Any]) -> Callable[[Any], str]:
    def trouble(value: Any) -> str:
        try:
            read(value)
        except PayloadError as error:
            return str(error)
        return ""

    return trouble


_KINDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "text": _is("text", str),
    "integer": _is("an integer", int),
    "number": _is("a number", int, float),
    "boolean": _is("a boolean", bool),
    "list": _is("a list", list),
    "object": _is("an object", dict),
    "date": _reads(coerce.day),
    "timestamp": _reads(coerce.moment),
    "email": contact.email_trouble,
    "phone": contact.phone_trouble,
    "domain": contact.domain_trouble,
}


def push(resource: Resource, change: Change) -> Request:
    """The call that brings the change to the partner."""
    rules = rules_for(resource, change)
    known = _known(resource, rules, change)
    headers = {**resource.headers, **rules.headers}
    if rules.idempotency.startswith(HEADER):
        headers[rules.idempotency.removeprefix(HEADER).strip()] = change.idempotency_key
    body: Any = None
    if not rules.empty:
        body = deepcopy(known["data"]) if rules.body is None else filled(rules.body, known)
        if rules.idempotency.startswith(BODY):
            put(body, rules.idempotency.removeprefix(BODY).strip(), change.idempotency_key)
    return Request(
        path_of(resource, rules.path, known),
        rules.method,
        route=rules.path,
        params=_params(rules.params, known),
        headers=headers,
        json=None if rules.form or rules.xml else body,
        form=dict(_form_fields(body or {})) if rules.form else None,
        xml=body if rules.xml else None,
        weight=rules.weight,
        budget=rules.budget,
        group=resource.group if rules.group is None else rules.group,
        repeatable=False,
    )


def _form_fields(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """A body as form fields; what is inside others as `outer[inner]`, of a list with its index. Null is left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _form_fields(inner, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _form_fields(inner, f"{name}[{index}]")
    elif value is not None:
        yield name, _text(value)


def idempotent(resource: Resource, change: Change, unsure_seconds: float) -> bool:
    """May it be sent again, so many seconds after it may have arrived, without being done twice?"""
    rules = resource.pushes.get(change.kind)
    if rules is None:
        return False
    if rules.by_key:
        return rules.remembers is None or unsure_seconds < rules.remembers
    return rules.idempotency == "natural"


def look_up(resource: Resource, change: Change, one: Request | None) -> Request | None:
    """The call that tells whether it has arrived; `one` is the call that reads the record. None: nothing tells."""
    rules = resource.pushes.get(change.kind)
    if rules is None or rules.look_up is None:
        return None
    if rules.look_up.path is None:
        return one
    known = _known(resource, rules, change)
    return Request(
        path_of(resource, rules.look_up.path, known),
        route=rules.look_up.path,
        params=_params(rules.look_up.params, known),
        headers=resource.headers,
        budget="read",
        group=resource.group,
    )


def already(resource: Resource, change: Change, response: Response) -> bool:
    """Does the answer to `look_up` show that the change has arrived?

    Raises PayloadError for an answer that does not tell: only what was asked for, and is not there, says no. Raises
    UnknownOutcomeError for a change that brings nothing by which it could be told from others.
    """
    rules = rules_for(resource, change)
    assert rules.look_up is not None
    known, same, place = _known(resource, rules, change), rules.look_up.same, _place(resource, rules.look_up)
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
    return any(_says(record, same, known) is True for record in found if _may_be(record, rules.look_up, change))


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


def confirms(resource: Resource, change: Change, response: Response) -> bool:
    """Does the answer say that the change was made?"""
    rules = rules_for(resource, change)
    if not rules.confirm:
        return True
    answer = response.json()
    told = {path: wanted for path, wanted in rules.confirm.items() if getter(path)(answer) not in (MISSING, None)}
    return _says(answer, told, _known(resource, rules, change)) is not False


def pushed(resource: Resource, change: Change, response: Response) -> Item | None:
    """The whole record in the answer; None where there is none."""
    rules = rules_for(resource, change)
    raw: Raw | Any = getter(rules.record)(response.json()) if rules.record is not None else None
    return Item(resource.name, raw) if isinstance(raw, dict) else None


def made_id(resource: Resource, change: Change, response: Response) -> str | None:
    """The id of what the push made, where the answer has nothing else of it."""
    rules = rules_for(resource, change)
    if rules.made is None:
        return None
    value = getter(rules.made)(response.json())
    return _text(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def order_key(resource: Resource, change: Change) -> str:
    """What identifies the record of a change without an id; empty where nothing does."""
    rules = resource.pushes.get(change.kind)
    value = change.data.get(rules.match) if rules is not None and rules.match is not None else None
    if isinstance(value, list):
        value = value[0] if value else None
    return f"{rules.match}={_text(value).lower()}"[:500] if rules is not None and value is not None else ""


# Placeholders.


def _known(resource: Resource, rules: Push, change: Change) -> dict[str, Any]:
    data = {
        name: [value] if name in rules.fields and rules.fields[name].many and not isinstance(value, list) else value
        for name, value in meant(rules, change.data).items()
        if name not in rules.expects
    }
    sent = None if change.sent_at is None else (change.sent_at - CLOCKS_DIFFER).astimezone(UTC)
    return {
        "id": change.external_id,
        "parts": id_parts(resource, change.external_id),
        "key": change.idempotency_key,
        "sent": None if sent is None else f"{sent:%Y-%m-%dT%H:%M:%S}.000Z",
        "data": data,
    }


def _value(name: str, known: Mapping[str, Any]) -> Any:
    first, _, rest = name.partition(".")
    value = known[first]
    if first == "id" and rest:
        return known["parts"].get(rest, MISSING)
    if first != "data" or not rest:
        return MISSING if value is None else value
    if rest in value:
        return value[rest]
    return getter(rest)(value)


def filled(value: Any, known: Mapping[str, Any]) -> Any:
    """A body with its placeholders filled; what nothing stands for is left out of its object."""
    if isinstance(value, str):
        alone = PLACEHOLDER.fullmatch(value)
        if alone is not None:
            found = _value(alone[1], known)
            return found if found is MISSING else deepcopy(found)
        return PLACEHOLDER.sub(lambda match: _needed(match[1], known), value)
    if isinstance(value, Mapping):
        made = {name: filled(inner, known) for name, inner in value.items()}
        return {name: inner for name, inner in made.items() if inner is not MISSING}
    if isinstance(value, list | tuple):
        return [one for inner in value if (one := filled(inner, known)) is not MISSING]
    return value


def _needed(name: str, known: Mapping[str, Any]) -> str:
    value = _value(name, known)
    if value is MISSING or value is None:
        raise RejectedError(f"nothing is known to stand for {{{name}}}", code="invalid")
    return _text(value)


def path_of(resource: Resource, path: str, known: Mapping[str, Any]) -> str:
    """A path with its placeholders filled, each value quoted so that it stays one segment."""

    def segment(match: re.Match[str]) -> str:
        text = _needed(match[1], known)
        if text in {"", ".", ".."}:
            raise refused(resource, "an id of nothing but dots cannot stand in a path")
        return quote(text, safe="")

    return PLACEHOLDER.sub(segment, path)


def _params(params: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    made = filled(params, known)
    return {
        name: [_text(one) for one in value] if isinstance(value, list) else _text(value)
        for name, value in made.items()
        if value is not None
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _says(answer: Any, wanted: Mapping[str, Any], known: Mapping[str, Any]) -> bool | None:
    """Has the answer everything that was wanted? What the change does not bring is not wanted; None: nothing was."""
    compared = None
    for path, template in wanted.items():
        value = filled(template, known)
        if value is MISSING:
            continue
        found = getter(path)(answer)
        if not _equal(found, value):
            return False
        compared = True
    return compared


def _equal(one: Any, other: Any) -> bool:
    if one == other and isinstance(one, bool) == isinstance(other, bool):
        return True
    simple = isinstance(one, str | int | float | bool) and isinstance(other, str | int | float | bool)
    return simple and _text(one) == _text(other)
