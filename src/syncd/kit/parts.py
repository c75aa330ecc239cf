"""A listing that is walked in parts: property by property, window by window. Each part is a listing of its own.

The cursor says which part and where in it: `property/window|inner`. All of it is decided by the description and the options,
so a call is rebuilt from its cursor alone; days are filled in when the call leaves (`{today+34d}`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from syncd.errors import ConfigError, PayloadError
from syncd.kit import changes, paging
from syncd.kit.driver import Beyond
from syncd.kit.identity import id_parts
from syncd.kit.listing import Each, Windows
from syncd.kit.resource import Resource
from syncd.model import Request, Response

Part = tuple[str, dict[str, str]]
"""Its name in a cursor, and the parameters that make it."""


def for_options(resource: Resource, options: Mapping[str, Any]) -> Resource:
    """The resource with what the option lists. Raises ConfigError for a list of something else, or of nothing."""
    several = _several(resource)
    if all(each.option is None for each in several):
        return resource
    return resource.model_copy(update={"each": tuple(_listed(each, options) for each in several)})


def _several(resource: Resource) -> tuple[Each, ...]:
    if isinstance(resource.each, tuple):
        return resource.each
    return () if resource.each is None else (resource.each,)


def _listed(each: Each, options: Mapping[str, Any]) -> Each:
    if each.option is None:
        return each
    given = options.get(each.option)
    values = tuple(str(value) for value in given) if isinstance(given, list | tuple) else ()
    sound = all(isinstance(value, str | int) and not isinstance(value, bool) and str(value) for value in given or ())
    if not values or not sound or len(set(values)) < len(values) or any(set("/|") & set(value) for value in values):
        raise ConfigError(
            f"option {each.option!r} must list each {each.param} once", hint=f"{each.option}: [first, second]"
        )
    return each.model_copy(update={"values": values})


def parts(resource: Resource) -> Sequence[Part]:
    """All of them, in order; nothing where the listing is one."""
    if resource.each is None and resource.windows is None:
        return ()
    return [
        (f"{value}/{number}", {**of_each, **of_window})
        for (value, of_each), (number, of_window) in product(_each(_several(resource)), _windows(resource.windows))
    ]


def _each(several: tuple[Each, ...]) -> list[tuple[str, dict[str, str]]]:
    values = product(*([(each.param, value) for value in each.values] for each in several))
    return [(",".join(value for _, value in one), dict(one)) for one in values]


def _windows(windows: Windows | None) -> list[tuple[int, dict[str, str]]]:
    if windows is None:
        return [(0, {})]
    step = windows.days - 1
    return [
        (
            number,
            {
                windows.start: _day(number * step - windows.before),
                windows.end: _day((number + 1) * step - windows.before),
            },
        )
        for number in range(windows.count)
    ]


def _day(ahead: int) -> str:
    return f"{{today{ahead:+d}d}}" if ahead else "{today}"


def placed(resource: Resource, cursor: str | None) -> tuple[int, str | None]:
    """Which part a cursor is in, and the cursor within. Raises PayloadError for one of another description."""
    walk = parts(resource)
    if cursor is None or not walk:
        return 0, cursor
    name, cut, inner = cursor.partition("|")
    if not cut:  # stored before the listing was walked in parts
        return 0, cursor
    for number, (known, _) in enumerate(walk):
        if known == name:
            return number, inner or None
    raise PayloadError(f"{resource.name}: the stored cursor is of another walk", resource=resource.name)


def covers(resource: Resource, external_id: str) -> bool:
    """Is this a record of one that the listing is walked for, as far as its id tells?"""
    told = {resource.id: external_id} if isinstance(resource.id, str) else id_parts(resource, external_id)
    return all(
        each.id is None or each.id not in told or told[each.id] in each.values
        for each in _several(resource)
        if each.values
    )


def part_at(resource: Resource, cursor: str | None) -> int:
    """The number of the part a cursor is in: what shows in each of them is no sign of a listing that goes round."""
    if parts(resource):
        return placed(resource, cursor)[0]
    return int((cursor or "").startswith(changes.THEN))


def begun(resource: Resource, whole: Request, cursor: str | None, hidden: frozenset[str]) -> Request:
    """The listing's call turned into the one at this cursor."""
    walk = parts(resource)
    if not walk:
        return changes.begun(resource, whole, cursor, hidden)
    number, inner = placed(resource, cursor)
    request = paging.with_params(whole, walk[number][1])
    return replace(paging.at_cursor(resource, request, inner, hidden), cursor=cursor)


def following(resource: Resource, request: Request, response: Response, hidden: frozenset[str]) -> Request | None:
    """The call after this one: the next page of its part, else the first of the next part. None at the end of the last."""
    walk = parts(resource)
    if not walk:
        return changes.following(resource, request, response, hidden)
    number, inner = placed(resource, request.cursor)
    onward = paging.following(resource, replace(request, cursor=inner), response, hidden)
    if onward is not None:
        return replace(onward, cursor=f"{walk[number][0]}|{onward.cursor}")
    if number + 1 == len(walk):
        return None
    return _first(resource, request, walk[number + 1], hidden)


def beyond(resource: Resource, refused: Request, hidden: frozenset[str]) -> Beyond | None:
    """Where the walk goes on past one that refuses its very first call. None: that is no such call, or there is only one."""
    walk = parts(resource)
    if not walk:
        return None
    number, inner = placed(resource, refused.cursor)
    places = [name.partition("/")[0] for name, _ in walk]
    if inner is not None or places.index(places[number]) < number or len(set(places)) == 1:
        return None
    others = [part for part, place in zip(walk[number:], places[number:], strict=True) if place != places[number]]
    return Beyond(places[number], _first(resource, refused, others[0], hidden) if others else None)


def _first(resource: Resource, request: Request, part: Part, hidden: frozenset[str]) -> Request:
    """The first call of a part, made from a call of another."""
    params = {name: value for name, value in dict(request.params).items() if name != resource.pages.param}
    return begun(resource, replace(request, params=params), f"{part[0]}|", hidden)
