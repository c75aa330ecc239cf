"""Comments of the simulated Attio, in threads below records; listed by record only (facts, sections 3.4 and 10)."""

from __future__ import annotations

from typing import Any, ClassVar

from aiohttp import web

from syncd.drivers.attio.simulator_data import stamp
from syncd.drivers.attio.simulator_records import AttioRecords
from syncd.testing.base import Call, Route
from syncd.testing.collection import Raw


class AttioTalk(AttioRecords):
    """Threads are kept in the order of their making; nothing else lists them."""

    routes: ClassVar[tuple[Route, ...]] = (
        *AttioRecords.routes,
        ("GET", "/v2/threads", "threads"),
        ("POST", "/v2/comments", "comment_new"),
    )

    def __init__(self, **options: Any) -> None:
        self.talk: list[Raw] = []
        super().__init__(**options)

    def threads(self, call: Call) -> web.Response:
        record, slug = call.query.get("record_id"), call.query.get("object", "")
        if not record or slug not in self.state.facts["objects"]:
            return self.error(400, "validation_type", "Threads are asked for by record or by entry.")
        limit, offset = self.window(call.query, 10, 50)
        found = [one for one in self.talk if one["comments"][0]["record"]["record_id"] == record]
        return self.reply({"data": found[offset : offset + limit]})

    def comment_new(self, call: Call) -> web.Response:
        """A new thread below a record, or one more comment of a thread. A member has to be its author."""
        given = self.data(call)
        author = given.get("author") or {}
        if given.get("format") != "plaintext" or not given.get("content") or author.get("type") != "workspace-member":
            return self.error(400, "validation_type", "A comment needs format, content and a member as its author.")
        thread = next((one for one in self.talk if one["id"]["thread_id"] == given.get("thread_id")), None)
        about = given.get("record") or {}
        schema = self.state.facts["objects"].get(about.get("object"))
        if thread is None and (schema is None or about.get("record_id") not in self.state[about["object"]].entries):
            return self.error(404, "not_found", "The record was not found.")
        workspace, now = self.state.facts["workspace"], stamp(self.now())
        where = {"object_id": schema.id if schema else None, "record_id": about.get("record_id")}
        if thread is None:
            ids = {"workspace_id": workspace, "thread_id": self.dice.uuid()}
            thread = {"id": ids, "comments": [], "created_at": now}
            self.talk.append(thread)
        else:
            where = thread["comments"][0]["record"]
        comment = {
            "id": {"workspace_id": workspace, "comment_id": self.dice.uuid()},
            "thread_id": thread["id"]["thread_id"],
            "content_plaintext": given["content"],
            "entry": None,
            "record": where,
            "resolved_at": None,
            "resolved_by": {"id": None, "type": None},
            "created_at": now,
            "author": author,
        }
        thread["comments"].append(comment)
        return self.reply({"data": comment})
