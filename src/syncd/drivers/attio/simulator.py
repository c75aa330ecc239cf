"""An Attio workspace as its documentation and the partner facts of 2026-11 describe it.

Records and list entries by POST queries whose score is counted in a sliding window of 10 s, tasks, notes, members, schema,
merging, signed webhooks; 100 reads and 25 writes a second; a 429 names an HTTP date.
"""

from __future__ import annotations

from typing import Any, ClassVar

from aiohttp import web

from syncd.clock import Clock
from syncd.drivers.attio.simulator_talk import AttioTalk
from syncd.testing.base import Call, Route, Simulator
from syncd.testing.collection import Entry, Raw, World

TASK = {"content", "format", "deadline_at", "is_completed", "linked_records", "assignees"}
TASK_CHANGES = {"deadline_at", "is_completed", "linked_records", "assignees"}


class AttioSimulator(AttioTalk):
    """Options: `token`, `client_id`, `client_secret` (of an app), `scopes` (space separated), `score_limit` (sum in 10
    s), `score_per_query`, `query_budget` (what POST queries count as: read or write), `max_page`, `merge_seconds` (how
    long originals say merge_in_progress), `custom_objects` ({slug: count}), `history` (days of data), and counts of
    people, companies, deals, entries (of the list sales_pipeline, resource `entries:sales_pipeline`), tasks, notes,
    workspace_members."""

    routes: ClassVar[tuple[Route, ...]] = (
        *AttioTalk.routes,
        ("GET", "/v2/tasks", "tasks"),
        ("GET", "/v2/tasks/{id}", "task_one"),
        ("POST", "/v2/tasks", "task_new"),
        ("PATCH", "/v2/tasks/{id}", "task_change"),
        ("DELETE", "/v2/tasks/{id}", "task_remove"),
        ("GET", "/v2/notes", "notes"),
        ("GET", "/v2/notes/{id}", "note_one"),
        ("POST", "/v2/notes", "note_new"),
        ("DELETE", "/v2/notes/{id}", "note_remove"),
    )

    def _paged(self, call: Call, rows: list[Entry], default: int, most: int) -> web.Response:
        limit, offset = self.window(call.query, default, most)
        if self.looping(call):
            offset = 0
        return self.reply(b'{"data":[%s]}' % self.page(call, rows[offset : offset + limit]))

    # Tasks

    def tasks(self, call: Call) -> web.Response:
        query = call.query
        if ("linked_object" in query) != ("linked_record_id" in query):
            return self.error(400, "validation_type", "linked_object and linked_record_id go together.")
        rows = list(self.listing(call, "tasks"))
        if "is_completed" in query:
            rows = [entry for entry in rows if entry.raw["is_completed"] == (query["is_completed"] == "true")]
        if "linked_record_id" in query:
            wanted = query["linked_record_id"]
            rows = [e for e in rows if any(link["target_record_id"] == wanted for link in e.raw["linked_records"])]
        if "assignee" in query:
            wanted = query["assignee"]
            unset = wanted in ("", "null")
            rows = [e for e in rows if unset != any(a["referenced_actor_id"] == wanted for a in e.raw["assignees"])]
        match query.get("sort", "created_at:asc"):
            case "created_at:asc":
                pass
            case "created_at:desc":
                rows.reverse()
            case "completed_at:asc" | "completed_at:desc" as sort:
                rows.sort(key=lambda entry: entry.raw["completed_at"] or "", reverse=sort.endswith("desc"))
            case other:
                return self.error(400, "validation_type", f"Unknown sort {other}.")
        return self._paged(call, rows, 500, int(self.options["max_page"]))

    def task_one(self, call: Call) -> web.Response:
        return self.one(call, "tasks", call.args["id"])

    def task_new(self, call: Call) -> web.Response:
        given = self.data(call)
        if set(given) != TASK or given["format"] != "plaintext" or len(str(given["content"])) > 2000:
            return self.error(400, "validation_type", f"A task needs exactly {sorted(TASK)}.")
        fields = {name: given[name] for name in ("deadline_at", "is_completed", "assignees")}
        fields |= {"content_plaintext": given["content"], "linked_records": self._links(given["linked_records"])}
        return self._shown("tasks", self.create("tasks", {**fields, "completed_at": None}))

    def _links(self, given: Any) -> list[Raw]:
        """Written as `target_object`, read as `target_object_id`."""
        return [
            {"target_object_id": one.get("target_object"), "target_record_id": one.get("target_record_id")}
            for one in given
        ]

    def task_change(self, call: Call) -> web.Response:
        given, external_id = self.data(call), call.args["id"]
        if set(given) - TASK_CHANGES:
            return self.error(400, "immutable_value", f"Only {sorted(TASK_CHANGES)} of a task can be changed.")
        if external_id not in self.state["tasks"].entries:
            return self.error(404, "not_found", f"Task {external_id} was not found.")
        if "linked_records" in given:
            given["linked_records"] = self._links(given["linked_records"])
        self.update("tasks", external_id, given)
        return self._shown("tasks", external_id)

    def task_remove(self, call: Call) -> web.Response:
        return self._gone("tasks", call.args["id"])

    def _gone(self, resource: str, external_id: str) -> web.Response:
        if external_id not in self.state[resource].entries:
            return self.error(404, "not_found", f"Nothing was found for ID {external_id}.")
        self.delete(resource, external_id)
        return self.reply({})

    # Notes

    def notes(self, call: Call) -> web.Response:
        query = call.query
        if ("parent_object" in query) != ("parent_record_id" in query):
            return self.error(400, "validation_type", "parent_object and parent_record_id go together.")
        rows = list(self.listing(call, "notes"))
        if "parent_record_id" in query:
            rows = [entry for entry in rows if entry.raw["parent_record_id"] == query["parent_record_id"]]
        return self._paged(call, rows, 10, 50)

    def note_one(self, call: Call) -> web.Response:
        return self.one(call, "notes", call.args["id"])

    def note_new(self, call: Call) -> web.Response:
        given = self.data(call)
        needed = {"parent_object", "parent_record_id", "title", "format", "content"}
        if needed - set(given):
            return self.error(400, "missing_value", f"A note needs {sorted(needed)}.")
        fields = {name: given[name] for name in ("parent_object", "parent_record_id", "title")}
        both = {"content_plaintext": given["content"], "content_markdown": given["content"]}
        return self._shown("notes", self.create("notes", {**fields, **both}))

    def note_remove(self, call: Call) -> web.Response:
        return self._gone("notes", call.args["id"])

    # Events and actions

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        entry = after or before
        if entry is None:
            return
        raw, verb = entry.raw, {"create": "created", "update": "updated", "delete": "deleted"}[what]
        ids = {name: part for name, part in raw["id"].items() if name != "workspace_id"}
        extra: Raw = {}
        if resource == "tasks" or resource == "workspace_members":
            kind = "task" if resource == "tasks" else "workspace-member"
        elif resource == "notes":
            kind = "note"
            extra = {
                "parent_object_id": self._object_id(raw["parent_object"]),
                "parent_record_id": raw["parent_record_id"],
            }
        elif resource.startswith("entries:"):
            kind = "list-entry"
            extra = {
                "parent_object_id": self._object_id(raw["parent_object"]),
                "parent_record_id": raw["parent_record_id"],
            }
        else:
            kind = "record"
        schema = self._schema_of(resource)
        if what == "update" and schema is not None and before is not None:
            key = "entry_values" if resource.startswith("entries:") else "values"
            for slug, values in raw[key].items():  # one event for each attribute that changed
                if values != before.raw[key].get(slug):
                    self.emit(f"{kind}.updated", {**ids, "attribute_id": schema.attributes[slug].id}, extra)
            return
        self.emit(f"{kind}.{verb}", ids, extra)

    def _object_id(self, slug: str) -> str | None:
        schema = self.state.facts["objects"].get(slug)
        return schema.id if schema else None

    def action(self, name: str, params: Raw) -> Any:
        """`merge` ({"resource", "ids": [two]}) and `scopes` ({"scopes"})."""
        if name == "merge":
            first, second = params["ids"]
            return {"id": self.merge(params["resource"], first, second)}
        if name == "scopes":
            self.options["scopes"] = params["scopes"]
            return {"scopes": params["scopes"]}
        return None

    def truth(self, resource: str) -> dict[str, Raw]:
        if resource in ("objects", "lists"):
            world: World = self.state
            shown = self._object if resource == "objects" else self._list
            return {schema.id: shown(schema) for schema in world.facts[resource].values()}
        if resource.endswith("_threads"):
            slug = self.state.facts["objects"][resource.removesuffix("_threads")].id
            told = [one for one in self.talk if one["comments"][0]["record"]["object_id"] == slug]
            return {one["id"]["thread_id"]: one for one in told}
        return super().truth(resource)


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated workspace; see `AttioSimulator` and `Simulator` for the options. Raises TypeError for unknown ones."""
    return AttioSimulator(clock=clock, **options)
