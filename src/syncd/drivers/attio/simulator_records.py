"""Records and list entries of the simulated Attio: queries with their score, single reads, writes, merging."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from aiohttp import web

from syncd.drivers.attio.simulator_data import Attribute, Schema, value
from syncd.drivers.attio.simulator_hooks import AttioHooks
from syncd.drivers.attio.simulator_queries import FilterError, Query
from syncd.testing.base import Answer, Call, Route
from syncd.testing.collection import Entry, Raw

BODY = {"filter", "sorts", "limit", "offset", "filter_view_id"}
TOO_COMPLEX = "This query is too complex: use fewer filters and sorts."


class AttioRecords(AttioHooks):
    """What lives in objects and lists. In-process changes are `{attribute slug: bare value, or a list of them}`."""

    routes: ClassVar[tuple[Route, ...]] = (
        *AttioHooks.routes,
        ("POST", "/v2/objects/{object}/records/query", "query"),
        ("POST", "/v2/lists/{list}/entries/query", "query"),
        ("GET", "/v2/objects/{object}/records/{id}", "record_one"),
        ("GET", "/v2/lists/{list}/entries/{id}", "entry_one"),
        ("GET", "/v2/objects/{object}/records/{id}/entries", "record_entries"),
        ("POST", "/v2/objects/{object}/records", "record_new"),
        ("PUT", "/v2/objects/{object}/records", "record_assert"),
        ("PATCH", "/v2/objects/{object}/records/{id}", "record_change"),
        ("PUT", "/v2/objects/{object}/records/{id}", "record_change"),
        ("DELETE", "/v2/objects/{object}/records/{id}", "remove_one"),
        ("POST", "/v2/lists/{list}/entries", "entry_new"),
        ("PUT", "/v2/lists/{list}/entries", "entry_assert"),
        ("PATCH", "/v2/lists/{list}/entries/{id}", "record_change"),
        ("PUT", "/v2/lists/{list}/entries/{id}", "record_change"),
        ("DELETE", "/v2/lists/{list}/entries/{id}", "remove_one"),
    )

    def __init__(self, **options: Any) -> None:
        self.merging: dict[str, float] = {}
        """Originals of a merge -> until when they answer `merge_in_progress`, on the monotonic clock."""
        super().__init__(**options)

    # Reads

    def query(self, call: Call) -> web.Response:
        """POST that reads: filter, sorts, limit and offset stand in the body."""
        schema, resource = self.schema(call)
        try:
            given = call.json()
        except ValueError:
            given = None
        if not isinstance(given, dict) or set(given) - BODY:
            return self.error(
                400, "validation_type", f"The body must be an object with no other keys than {sorted(BODY)}."
            )
        limit, offset = self.window(given, 500, int(self.options["max_page"]))
        try:
            query = Query(schema, given.get("filter"), given.get("sorts"))
        except FilterError as error:
            return self.error(400, "filter_error", str(error))
        collection = self.listing(call, resource)
        call.data["score"] = score = query.score(len(collection))
        if score > int(self.options["score_per_query"]):
            self.counters.count("too_complex")
            return self.limited(0.0, "query_too_complex", TOO_COMPLEX)
        refusal = self.enforcer.spend("score", score, self.clock.monotonic())
        if refusal is not None:
            return self.refuse(refusal, call)
        token = orjson.dumps([given.get("filter"), given.get("sorts")])
        rows = collection.chosen(token, lambda: query.run(list(collection)))
        if self.looping(call):
            offset = 0
        return self.reply(b'{"data":[%s]}' % self.page(call, rows[offset : offset + limit]))

    def record_one(self, call: Call) -> web.Response:
        _, resource = self.schema(call)
        if self.merging.get(call.args["id"], -1.0) > self.clock.monotonic():
            return self.error(404, "merge_in_progress", "The record is being merged, try again later.")
        return self.one(call, resource, call.args["id"])

    def entry_one(self, call: Call) -> web.Response:
        return self.one(call, self.schema(call)[1], call.args["id"])

    def record_entries(self, call: Call) -> web.Response:
        limit, offset = self.window(call.query, 100, 1000)
        found = [
            {"list_id": schema.id, "list_api_slug": slug, "entry_id": entry.id, "created_at": entry.raw["created_at"]}
            for slug, schema in self.state.facts["lists"].items()
            for entry in self.state[f"entries:{slug}"]
            if entry.raw["parent_record_id"] == call.args["id"]
        ]
        return self.reply({"data": found[offset : offset + limit]})

    # Writes

    def _bare(self, schema: Schema, given: Any) -> dict[str, list[Any]]:
        """Bare values by slug, always in lists; 400 for an attribute that does not exist."""
        if not isinstance(given, dict):
            raise Answer(self.error(400, "validation_type", "values must be an object."))
        bare: dict[str, list[Any]] = {}
        for name, values in given.items():
            attribute = schema.attribute(name)
            if attribute is None:
                raise Answer(self.error(400, "value_not_found", f'Cannot find attribute with slug/ID "{name}".'))
            bare[attribute.slug] = values if isinstance(values, list) else [] if values is None else [values]
        return bare

    def _values(self, schema: Schema, attribute: Attribute, bare: list[Any]) -> list[Raw]:
        actor = {"type": "api-token", "id": self.state.facts["token"]}
        workspace = self.state.facts["workspace"]
        return [value(schema, attribute, one, self.now(), actor, workspace) for one in bare]

    def _changed(self, schema: Schema, raw: Raw, bare: dict[str, list[Any]], add: bool) -> Raw:
        """The record with other values; `add` puts new ones before those of a multi-value. Unchanged values stay."""
        key = "entry_values" if "entry_id" in schema.attributes else "values"
        values = dict(raw[key])
        for slug, given in bare.items():
            attribute = schema.attributes[slug]
            try:
                fresh = self._values(schema, attribute, given)
            except ValueError as error:
                raise Answer(self.error(400, "value_not_found", str(error))) from None
            old = {meaning(one): one for one in values[slug]}
            fresh = [old.get(meaning(one), one) for one in fresh]
            if add and attribute.many:
                named = {meaning(one) for one in fresh}
                fresh += [one for known, one in old.items() if known not in named]
            values[slug] = fresh
        return {**raw, key: values}

    def _schema_of(self, resource: str) -> Schema | None:
        kind, _, slug = resource.rpartition(":")
        return self.state.facts["lists" if kind else "objects"].get(slug)  # type: ignore[no-any-return]

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        schema = self._schema_of(resource)
        if resource == "workspace_members":
            external_id = self.dice.uuid()
            return external_id, {**self.mint.member(external_id, self.now()), **(fields or {})}
        if schema is None:
            return (self.mint.task if resource == "tasks" else self.mint.note)(self.now(), fields)
        if resource.startswith("entries:"):
            rest = dict(fields or {})
            parent = rest.pop("parent_record_id", None) or self.mint.some(schema.parent) or ""
            return self.mint.entry(schema, self.now(), parent, self._bare(schema, rest) if fields else None)
        return self.mint.record(schema, self.now(), self._bare(schema, fields) if fields is not None else None)

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        schema = self._schema_of(resource)
        if schema is None:
            if changes is None:
                done = not raw.get("is_completed")
                title = {"title": self.dice.sentence(3)}
                stamped = {
                    "is_completed": done,
                    "completed_at": self.mint.task(self.now())[1]["created_at"] if done else None,
                }
                changes = stamped if resource == "tasks" else title
            return {**raw, **changes}
        if changes is None:
            fixed = ("record_id", "entry_id", "created_at", "created_by")
            attribute = self.dice.pick([one for slug, one in schema.attributes.items() if slug not in fixed])
            changes = {attribute.slug: self.mint.bare(schema, attribute)}
        return self._changed(schema, raw, self._bare(schema, changes), add=False)

    def _conflict(self, schema: Schema, resource: str, bare: dict[str, list[Any]], own: str = "") -> None:
        for slug, values in bare.items():
            if schema.attributes[slug].unique:
                for one in values:
                    found = self._holders(schema, resource, slug, one)
                    if found and found[0].id != own:
                        text = f"The value of {slug} is taken by another record."
                        raise Answer(self.error(400, "uniqueness_conflict", text))

    def _holders(self, schema: Schema, resource: str, slug: str, bare: Any) -> list[Entry]:
        try:
            wanted = meaning(self._values(schema, schema.attributes[slug], [bare])[0])
        except ValueError as error:
            raise Answer(self.error(400, "value_not_found", str(error))) from None
        return [e for e in self.state[resource] if any(meaning(one) == wanted for one in e.raw["values"].get(slug, ()))]

    def _shown(self, resource: str, external_id: str) -> web.Response:
        return self.reply(b'{"data":%s}' % self.state[resource].entries[external_id].encoded)

    def _made(self, resource: str, fields: Raw) -> web.Response:
        try:
            return self._shown(resource, self.create(resource, fields))
        except ValueError as error:
            return self.error(400, "value_not_found", str(error))

    def record_new(self, call: Call) -> web.Response:
        schema, resource = self.schema(call)
        given = self.data(call).get("values", {})
        self._conflict(schema, resource, self._bare(schema, given))
        return self._made(resource, given)

    def record_assert(self, call: Call) -> web.Response:
        """Upsert by a unique attribute; its own multi-values are added, other ones replaced."""
        schema, resource = self.schema(call)
        name = call.query.get("matching_attribute", "")
        attribute = schema.attribute(name)
        if attribute is None:
            text = f'No attribute was found for matching_attribute slug/ID "{name}".'
            return self.error(400, "value_not_found", text)
        if not attribute.unique:
            return self.error(400, "validation_type", f"matching_attribute {name} is not unique.")
        bare = self._bare(schema, self.data(call).get("values", {}))
        wanted = bare.get(attribute.slug, [])
        if not wanted:
            return self.error(400, "missing_value", f"{attribute.slug} needs a value to match by.")
        found = {entry.id: entry for one in wanted for entry in self._holders(schema, resource, attribute.slug, one)}
        if len(found) > 1:
            return self.error(400, "multiple_match_results", "More than one record matches.")
        if not found:
            return self._made(resource, bare)
        entry = next(iter(found.values()))
        raw = self._changed(schema, entry.raw, {attribute.slug: wanted}, add=True)
        rest = {slug: values for slug, values in bare.items() if slug != attribute.slug}
        self.put(resource, entry.id, self._changed(schema, raw, rest, add=False))
        return self._shown(resource, entry.id)

    def record_change(self, call: Call) -> web.Response:
        """PATCH adds to multi-values, PUT replaces them. The same for list entries."""
        schema, resource = self.schema(call)
        external_id, given = call.args["id"], self.data(call)
        entry = self.state[resource].get(external_id)
        if entry is None:
            return self.error(404, "not_found", f"Nothing was found for ID {external_id}.")
        bare = self._bare(schema, given.get("values", given.get("entry_values", {})))
        if not resource.startswith("entries:"):
            self._conflict(schema, resource, bare, external_id)
        self.put(resource, external_id, self._changed(schema, entry.raw, bare, add=call.method == "PATCH"))
        return self._shown(resource, external_id)

    def remove_one(self, call: Call) -> web.Response:
        _, resource = self.schema(call)
        if call.args["id"] not in self.state[resource].entries:
            return self.error(404, "not_found", f"Nothing was found for ID {call.args['id']}.")
        self.delete(resource, call.args["id"])
        return self.reply({})

    def entry_new(self, call: Call) -> web.Response:
        _, resource = self.schema(call)
        given = self.data(call)
        if not given.get("parent_record_id"):
            return self.error(400, "missing_value", "parent_record_id is required.")
        return self._made(resource, {"parent_record_id": given["parent_record_id"], **given.get("entry_values", {})})

    def entry_assert(self, call: Call) -> web.Response:
        """Upsert by parent record; two entries of one parent are an error."""
        schema, resource = self.schema(call)
        given = self.data(call)
        found = [e for e in self.state[resource] if e.raw["parent_record_id"] == given.get("parent_record_id")]
        if len(found) > 1:
            return self.error(400, "multiple_match_results", "The record is on the list more than once.")
        if not found:
            return self.entry_new(call)
        bare = self._bare(schema, given.get("entry_values", {}))
        self.put(resource, found[0].id, self._changed(schema, found[0].raw, bare, add=False))
        return self._shown(resource, found[0].id)

    # Deleting and merging

    def delete(self, resource: str, external_id: str) -> None:
        super().delete(resource, external_id)
        for name, schema in self.state.facts["lists"].items():
            if schema.parent == resource:
                entries = self.state[f"entries:{name}"]
                for entry in [entry for entry in entries if entry.raw["parent_record_id"] == external_id]:
                    super().delete(f"entries:{name}", entry.id)

    def merge(self, resource: str, first: str, second: str) -> str:
        """Two records become a third one with a new id; both originals can no longer be read. Returns the new id."""
        collection = self.state[resource]
        one, two = collection.entries[first].raw, collection.entries[second].raw
        schema = self._schema_of(resource)
        if schema is None:
            raise KeyError(resource)
        external_id = self.dice.uuid()
        values = {slug: one["values"][slug] or two["values"].get(slug, []) for slug in one["values"]}
        values["record_id"] = self._values(schema, schema.attributes["record_id"], [external_id])
        url = one["web_url"].rsplit("/", 1)[0] + f"/{external_id}"
        raw = {**one, "id": {**one["id"], "record_id": external_id}, "web_url": url, "values": values}
        collection.add(external_id, raw, collection.entries[first].key[0])
        until = self.clock.monotonic() + float(self.options["merge_seconds"])
        for original in (first, second):
            collection.remove(original)
            self.merging[original] = until
            ids = {"object_id": schema.id, "record_id": external_id}
            gone = {"duplicate_object_id": schema.id, "duplicate_record_id": original}
            self.emit("record.merged", ids, gone)
        return external_id


def meaning(one: Raw) -> bytes:
    """A value without its history: what makes two of them the same."""
    history = ("active_from", "active_until", "created_by_actor")
    return orjson.dumps({name: part for name, part in one.items() if name not in history}, option=orjson.OPT_SORT_KEYS)
