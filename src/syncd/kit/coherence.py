"""What must fit together: the keys of one resource, and the resources of a driver. A mistake is a ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from syncd.kit.placeholders import OPTION, PLACEHOLDER, check_placeholders, texts_in

if TYPE_CHECKING:
    from syncd.kit.resource import Resource


def check_resource(resource: Resource) -> None:
    """Do its keys go together, and does each have what it needs? Raises ValueError."""
    for text in texts_in([resource.path, resource.params, resource.body]):
        check_placeholders(OPTION.sub("1", text), {"parent."})  # {today-{option.days}d} has a number there
    if (
        resource.since is not None
        and (resource.since.onward or resource.since.then)
        and (resource.each or resource.windows)
    ):
        raise ValueError("`since.onward` and `since.then` do not go with `each` and `windows`")
    if resource.since is not None and resource.since.onward is not None and resource.order is None:
        raise ValueError("`since.onward` needs `order`, the moment it goes on from")
    needs_parent = bool(resource.placeholders)
    if resource.parent is None and needs_parent:
        raise ValueError("{parent.…} needs `parent:`, the resource it is listed below")
    if resource.parent is not None and not needs_parent:
        raise ValueError("a child needs {parent.id} in its path, params or body")
    if (resource.each or resource.windows) and resource.parent is not None:
        raise ValueError("`each` and `windows` do not go with `parent`")
    _check_id_parts(resource)
    if resource.adopt is not None and "{parent.id}" not in resource.path:
        raise ValueError("`adopt` needs {parent.id} in the path: that is where the parent's id is taken from")
    for name in resource.compared:
        if name not in resource.fields:
            raise ValueError(f"compared: there is no field {name!r}")
    for name in resource.alike:
        if name not in resource.fields:
            raise ValueError(f"alike: there is no field {name!r}")
    if resource.instead and not resource.sparse:
        raise ValueError("`instead` is of resources that are `sparse`: elsewhere each answer is stored whole")
    if resource.ttl is not None and resource.every is not None and resource.every < resource.ttl:
        raise ValueError("`every` is sooner than `ttl`: it would be read while its copy still serves; leave one out")
    if resource.compared and resource.volatile:
        raise ValueError("`compared` says already what counts: `volatile` does not go with it")
    if resource.stamp == "updated" and resource.updated is None:
        raise ValueError("`stamp: updated` needs `updated`, the path of that moment")
    if (resource.strategy == "queue") != (resource.queue is not None):
        raise ValueError("`strategy: queue` and the section `queue` go together")
    if resource.queue is not None and resource.queue.acknowledge not in {None, *resource.pushes}:
        raise ValueError(f"queue.acknowledge: there is no push {resource.queue.acknowledge!r}")
    if resource.where is not None and resource.parent is None:
        raise ValueError("`where` needs `parent:`, the resource it is listed below")
    if resource.missing == "read" and resource.one is None:
        raise ValueError("`missing: read` needs `one`, to read a record by its id")
    if resource.one is None and any(push.expects for push in resource.pushes.values()):
        raise ValueError("`expects` of a push needs `one`: the record is read right before it is held against it")
    if resource.unsettled is not None and (resource.one is None or resource.unsettled.field not in resource.fields):
        raise ValueError("`unsettled` needs `one`, to read a record by its id, and a field of its own")
    if resource.strategy == "incremental" and resource.since is None:
        raise ValueError("`strategy: incremental` needs `since`")
    if (
        resource.since is not None
        and resource.strategy != "feed"
        and resource.order is None
        and resource.updated is None
    ):
        raise ValueError("`since` needs `updated` or `order`: without it no watermark can be kept")
    if resource.pages.place == "body" and resource.method != "POST":
        raise ValueError("page parameters in the body need `method: POST`")
    if resource.since is not None and resource.since.body is not None and resource.method != "POST":
        raise ValueError("`since` in the body needs `method: POST`")
    if (
        resource.pages.end is None
        and resource.pages.kind in {"offset", "page"}
        and resource.page_size is None
        and not (resource.pages.more or resource.pages.total_pages or resource.total)
    ):
        raise ValueError("pages of this kind need `page_size`, or `more`, `total` or `end: empty`, to know the end")
    for kind, rules in resource.pushes.items():
        if rules.transitions is not None and rules.transitions.field not in resource.fields:
            raise ValueError(f"pushes.{kind}.transitions: there is no field {rules.transitions.field!r}")
        if rules.look_up is not None and resource.one is None and (rules.look_up.path is None or rules.look_up.each):
            needs = "`each` reads records by `one`" if rules.look_up.each else "needs `path`"
            raise ValueError(f"pushes.{kind}.look_up: {needs}, and the resource has no `one`")


def _check_id_parts(resource: Resource) -> None:
    known = resource.id if isinstance(resource.id, tuple) else ()
    texts = [] if resource.one is None else [resource.one.path, *texts_in(resource.one.params)]
    for rules in resource.pushes.values():
        looks = [] if rules.look_up is None else [rules.look_up.path, rules.look_up.params, rules.look_up.same]
        texts += texts_in([rules.path, rules.params, rules.body, *looks])
    for text in texts:
        for name in PLACEHOLDER.findall(text):
            if name.startswith("id.") and name.removeprefix("id.") not in known:
                raise ValueError(f"{{{name}}} is no part of the id; it is made of {', '.join(known) or 'one path'}")


def check_family(resources: Mapping[str, Resource]) -> None:
    """Parents exist, nobody is their own ancestor, and what a child asks of its parent is there. Raises ValueError."""
    for name, resource in resources.items():
        if resource.ends is not None and resource.ends not in resources:
            raise ValueError(f"resources.{name}: ends: there is no resource {resource.ends!r}")
        if resource.parent is None:
            continue
        parent = resources.get(resource.parent)
        if parent is None:
            raise ValueError(f"resources.{name}: there is no resource {resource.parent!r} to be its parent")
        if resource.where is not None and resource.where not in parent.fields:
            raise ValueError(f"resources.{name}: where: {resource.parent} has no field {resource.where!r}")
        for asked in resource.placeholders - {"id"}:
            if asked not in parent.fields:
                raise ValueError(f"resources.{name}: {{parent.{asked}}} is no field of {resource.parent}")
        seen = {name}
        while parent is not None and parent.parent is not None:
            if parent.name in seen:
                raise ValueError(f"resources.{name}: it is its own ancestor")
            seen.add(parent.name)
            parent = resources.get(parent.parent)
