"""Resources an integration's options make: further objects, lists with entries of their own, and what is asked of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from syncd.kit import ConfigError, One, Resource, Stamp

STANDARD: Final = ("people", "companies", "deals")
LEAST_SCORE: Final = 200
"""A query is expected to cost 125, and syncd spends 70 % of a limit."""
UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


class Valued(Resource):
    """Records of an object or entries of a list: each has values."""

    many_valued: tuple[str, ...] = ()
    """Attributes that are always lists."""
    statuses: tuple[str, ...] = ()
    """Status attributes whose moves are asked for."""

    @cached_property
    def named(self) -> frozenset[str]:
        """Attributes with a column of their own."""
        sources = (field.source.split(".") for field in self.fields.values() if field.source.startswith("values."))
        return frozenset(steps[1] for steps in sources)


def score_rate(given: Mapping[str, Any]) -> str:
    """How much the queries of ten seconds may score together. Raises ConfigError."""
    if given["score_limit"] < LEAST_SCORE:
        raise ConfigError(f"attio: options.score_limit: below {LEAST_SCORE} no query would ever be let go")
    return f"{given['score_limit']}/10s"


def made(own: Mapping[str, Resource], given: Mapping[str, Any]) -> dict[str, Resource]:
    """All resources under these options; `own` are those of the description. Raises ConfigError."""
    found: dict[str, Resource] = dict(own)
    score_rate(given)
    for name, slug in chosen("objects", given["objects"]):
        if not (slug in STANDARD and name == slug):
            _add(found, object_name(name, own), _object(own["companies"], slug))
    for name, slug in chosen("lists", given["lists"], "entries_"):
        _add(found, name, _entries(own["companies"], own["list_entries"], slug))
    if given["lists"]:
        found["list_entries"] = own["list_entries"].model_copy(update={"enabled": False})
    statuses = _slugs("status_attributes", given["status_attributes"], found)
    lists = _slugs("multivalued", given["multivalued"], found)
    return {
        name: _valued(name, resource, statuses.get(name, ()), lists.get(name, ()), given["query_budget"])
        if has_values(resource)
        else resource
        for name, resource in found.items()
    }


def has_values(resource: Resource) -> bool:
    """Is it read by one of the two query endpoints?"""
    return resource.path.endswith("/query")


def chosen(option: str, given: Sequence[Any], prefix: str = "") -> list[tuple[str, str]]:
    """(resource, slug or UUID) of each entry of an option. Raises ConfigError."""
    found: list[tuple[str, str]] = []
    for entry in given:
        name, slug = next(iter(entry.items())) if isinstance(entry, Mapping) and len(entry) == 1 else (None, entry)
        if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
            raise ConfigError(
                f"attio: options.{option}: expected a slug or UUID, or one as {{name: slug}}, not {entry!r}"
            )
        found.append((safe(slug, prefix) if name is None else str(name), slug))
    return found


def object_name(name: str, own: Mapping[str, Any]) -> str:
    """What the resource of a further object is called: no name of the description's is taken from it."""
    return f"object_{name}" if name in own else name


def safe(slug: str, prefix: str) -> str:
    """A resource's name from a slug; from a UUID (all there is where the slug is null) its digits."""
    if UUID.fullmatch(slug):
        return (prefix or "object_") + slug.replace("-", "").lower()
    name = re.sub(r"[^a-z0-9]+", "_", slug.lower()).strip("_")
    return prefix + name if prefix or name[:1].isalpha() else f"object_{name}"


def _add(found: dict[str, Resource], name: str, resource: Resource) -> None:
    if not _NAME.fullmatch(name):
        hint = "give it one of its own: {small_letters: slug}"
        raise ConfigError(f"attio: {name!r} can be no resource's name", hint=hint)
    if name in found:
        raise ConfigError(f"attio: two resources would be called {name!r}", hint="name one of them: {name: slug}")
    found[name] = resource


def _object(like: Resource, slug: str) -> Resource:
    """Records of an object nothing is known of: no columns but the common ones."""
    path = f"/objects/{slug}/records"
    fields = {name: like.fields[name] for name in ("web_url", "created_at", "updated_at", "values")}
    one = One(path=path + "/{id}", records="data")
    update = like.pushes["update"].model_copy(update={"path": path + "/{id}", "fields": {}})
    delete = like.pushes["delete"].model_copy(update={"path": path + "/{id}"})
    pushes = {"update": update, "delete": delete}
    given = {"path": f"{path}/query", "one": one, "fields": fields, "pushes": pushes}
    return like.model_copy(update=given)


def _entries(like: Resource, below: Resource, slug: str) -> Resource:
    """Entries of one list, as a resource of their own, which can be read incrementally."""
    one = One(path=f"/lists/{slug}/entries/{{id}}", records="data")
    given = {"path": f"/lists/{slug}/entries/query", "one": one, "id": below.id, "fields": below.fields}
    pushes = {kind: _of_list(push, slug) for kind, push in below.pushes.items()}
    return like.model_copy(update={**given, "parent_id": "parent_record_id", "many": None, "pushes": pushes})


def _of_list(push: Any, slug: str) -> Any:
    """The same push where the list is known."""
    fields = {name: field for name, field in push.fields.items() if name != "list_id"}
    return push.model_copy(update={"path": push.path.replace("{data.list_id}", slug), "fields": fields})


def _valued(name: str, resource: Resource, statuses: Sequence[str], many: Sequence[str], budget: str) -> Valued:
    listed = {field.source.partition(".")[2] for field in resource.fields.values() if field.kind == "list"}
    order = resource.order
    if statuses and order is not None:
        place = "values" if resource.parent_id is None else "entry_values"
        moments = ", ".join(f'{place}."{slug}"[0].active_from' for slug in statuses)
        # All are UTC text of one form, so the greatest text is the latest moment.
        order = Stamp.model_validate({"from": f"max([created_at, {moments}][?@])"})
    known = {field: getattr(resource, field) for field in Resource.model_fields}
    known |= {"name": name, "order": order, "budget": budget, "statuses": tuple(statuses)}
    return Valued.model_construct(**known, many_valued=tuple(sorted({*listed, *many} - {""})))


def _slugs(option: str, given: Mapping[str, Any], found: Mapping[str, Resource]) -> Mapping[str, Sequence[str]]:
    """Attributes by resource. Raises ConfigError."""
    for name, slugs in given.items():
        if name not in found or not has_values(found[name]):
            raise ConfigError(f"attio: options.{option}: {name!r} is no resource with values")
        if not isinstance(slugs, list) or not all(isinstance(slug, str) and _SLUG.fullmatch(slug) for slug in slugs):
            raise ConfigError(f"attio: options.{option}.{name}: expected a list of attributes, each by its slug")
    return given
