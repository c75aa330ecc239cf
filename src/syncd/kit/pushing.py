"""From a change of ours to the call that brings it to the partner, by the rules of `pushes.py`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from syncd.errors import PartnerError, PayloadError
from syncd.kit import coerce, contact
from syncd.kit.filling import equal, filled, known_of, meant, params_of, path_of, refused, rules_for, says, text_of
from syncd.kit.paths import MISSING, getter, kind, put
from syncd.kit.pushes import BODY, Push, PushField
from syncd.kit.shapes import HEADER
from syncd.model import Item, Raw, Request, Response

if TYPE_CHECKING:
    from syncd.kit.resource import Resource
    from syncd.kit.webhooks import Change


STATE: Final = "state"
"""Code of a refusal for the state the record is stored in: it may have another one by now."""


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


def by_state(resource: Resource, change: Change) -> bool:
    """May the change be sent only where the record is in certain states?"""
    rules = resource.pushes.get(change.kind)
    if rules is None:
        return False
    if expects(resource, change):
        return True
    return rules.transitions is not None and change.data.get(rules.state_field) is not None


def expects(resource: Resource, change: Change) -> bool:
    """Does the change say how the record was when it was written?"""
    rules = resource.pushes.get(change.kind)
    return rules is not None and any(name in change.data for name in rules.expects)


def _check_expected(resource: Resource, rules: Push, change: Change, stored: Mapping[str, Any] | None) -> None:
    for name, field in rules.expects.items():
        if name not in change.data or stored is None or equal(stored.get(field), change.data[name]):
            continue  # null is something to expect, too: a condition must not vanish because its value was not known
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
    if field.choices and not any(equal(value, choice) for choice in field.choices):
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
    known = known_of(resource, rules, change)
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
        params=params_of(rules.params, known),
        headers=headers,
        json=None if rules.form or rules.xml else body,
        form=dict(form_fields(body or {})) if rules.form else None,
        xml=body if rules.xml else None,
        weight=rules.weight,
        budget=rules.budget,
        group=resource.group if rules.group is None else rules.group,
        repeatable=False,
    )


def form_fields(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """A body as form fields; what is inside others as `outer[inner]`, of a list with its index. Null is left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from form_fields(inner, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from form_fields(inner, f"{name}[{index}]")
    elif value is not None:
        yield name, text_of(value)


def idempotent(resource: Resource, change: Change, unsure_seconds: float) -> bool:
    """May it be sent again, so many seconds after it may have arrived, without being done twice?"""
    rules = resource.pushes.get(change.kind)
    if rules is None:
        return False
    if rules.by_key:
        return rules.remembers is None or unsure_seconds < rules.remembers
    return rules.idempotency == "natural"


def confirms(resource: Resource, change: Change, response: Response) -> bool:
    """Does the answer say that the change was made?"""
    rules = rules_for(resource, change)
    if not rules.confirm:
        return True
    answer = response.json()
    told = {path: wanted for path, wanted in rules.confirm.items() if getter(path)(answer) not in (MISSING, None)}
    return says(answer, told, known_of(resource, rules, change)) is not False


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
    return text_of(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def deletes(resource: Resource, change: Change) -> bool:
    """Is the record gone once it is done?"""
    rules = resource.pushes.get(change.kind)
    return rules is not None and rules.is_deletion


def settled(resource: Resource, change: Change, refused: PartnerError) -> bool:
    """Does the refusal say that nothing is left to do?"""
    rules = resource.pushes.get(change.kind)
    return rules is not None and any(
        refused.status == one
        if isinstance(one, int)
        else refused.code == one or re.search(one, str(refused), re.IGNORECASE) is not None
        for one in rules.settled
    )


def order_key(resource: Resource, change: Change) -> str:
    """What identifies the record of a change without an id; empty where nothing does."""
    rules = resource.pushes.get(change.kind)
    value = change.data.get(rules.match) if rules is not None and rules.match is not None else None
    if isinstance(value, list):
        value = value[0] if value else None
    return f"{rules.match}={text_of(value).lower()}"[:500] if rules is not None and value is not None else ""
