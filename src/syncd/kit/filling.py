"""The placeholders of a push, and what an answer says of them: what `pushes.py` states, for one change. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from syncd.errors import PayloadError, RejectedError
from syncd.kit import coerce
from syncd.kit.identity import id_parts
from syncd.kit.paths import MISSING, getter
from syncd.kit.pushes import PLACEHOLDER, Push

if TYPE_CHECKING:
    from syncd.kit.resource import Resource
    from syncd.kit.webhooks import Change


CLOCKS_DIFFER: Final = timedelta(minutes=2)
"""How far the partner's clock may be behind ours: what it says was made so long before a push left may be of that push."""


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


def meant(rules: Push, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data in the partner's words, and whole."""
    lacking = {
        name: deepcopy(field.default)
        for name, field in rules.fields.items()
        if name not in data and "default" in field.model_fields_set
    }
    words = {name: field.words for name, field in rules.fields.items() if field.words}
    return {
        name: words[name].get(value, value) if name in words and isinstance(value, str) else value
        for name, value in {**data, **lacking}.items()
    }


def known_of(resource: Resource, rules: Push, change: Change) -> dict[str, Any]:
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
        return PLACEHOLDER.sub(lambda match: needed(match[1], known), value)
    if isinstance(value, Mapping):
        made = {name: filled(inner, known) for name, inner in value.items()}
        return {name: inner for name, inner in made.items() if inner is not MISSING}
    if isinstance(value, list | tuple):
        return [one for inner in value if (one := filled(inner, known)) is not MISSING]
    return value


def needed(name: str, known: Mapping[str, Any]) -> str:
    value = _value(name, known)
    if value is MISSING or value is None:
        raise RejectedError(f"nothing is known to stand for {{{name}}}", code="invalid")
    return text_of(value)


def path_of(resource: Resource, path: str, known: Mapping[str, Any]) -> str:
    """A path with its placeholders filled, each value quoted so that it stays one segment."""

    def segment(match: re.Match[str]) -> str:
        text = needed(match[1], known)
        if text in {"", ".", ".."}:
            raise refused(resource, "an id of nothing but dots cannot stand in a path")
        return quote(text, safe="")

    return PLACEHOLDER.sub(segment, path)


def params_of(params: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    made = filled(params, known)
    return {
        name: [text_of(one) for one in value] if isinstance(value, list) else text_of(value)
        for name, value in made.items()
        if value is not None
    }


def text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def says(answer: Any, wanted: Mapping[str, Any], known: Mapping[str, Any]) -> bool | None:
    """Has the answer everything that was wanted? What the change does not bring is not wanted; None: nothing was."""
    compared = None
    for path, template in wanted.items():
        value = filled(template, known)
        if value is MISSING:
            continue
        found = getter(path)(answer)
        if not equal(found, value):
            return False
        compared = True
    return compared


def alike(found: Any, pushed: Any) -> bool | None:
    """Does a record say what was pushed? Of objects that is compared which both have, of lists whether each has its like.

    None: nothing tells, for they have nothing in common that could be compared.
    """
    if isinstance(found, Mapping) and isinstance(pushed, Mapping):
        verdicts = [alike(found[name], value) for name, value in pushed.items() if name in found]
        return False if False in verdicts else None if None in verdicts or (pushed and not verdicts) else True
    if isinstance(found, list) and isinstance(pushed, list):
        return _all_alike(found, pushed)
    return equal(found, pushed) or _same_moment(found, pushed)


def _all_alike(found: list[Any], pushed: list[Any]) -> bool | None:
    left, unsure = list(found), False
    for one in pushed:
        verdicts = [alike(other, one) for other in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            left.pop(verdicts.index(None))
            unsure = True
        else:
            return False
    return False if left else None if unsure else True


def _same_moment(one: Any, other: Any) -> bool:
    """Partners write one moment in many ways."""
    if not isinstance(one, str) or not isinstance(other, str) or "T" not in one or "T" not in other:
        return False
    try:
        return coerce.moment(one) == coerce.moment(other)
    except PayloadError:
        return False


def equal(one: Any, other: Any) -> bool:
    if one == other and isinstance(one, bool) == isinstance(other, bool):
        return True
    simple = isinstance(one, str | int | float | bool) and isinstance(other, str | int | float | bool)
    return simple and text_of(one) == text_of(other)
