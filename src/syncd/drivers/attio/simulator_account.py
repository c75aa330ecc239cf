"""The simulated Attio's workspace: token and scopes, limits, error bodies, schema reads, members."""

from __future__ import annotations

import base64
import hmac
import math
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from aiohttp import web

from syncd.drivers.attio.simulator_data import NOUNS, Attribute, Mint, Schema, build, stamp
from syncd.testing.base import Answer, Call, Route, Simulator
from syncd.testing.collection import Raw, World
from syncd.testing.consent import Consents
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Refusal, Seats, Tier, budget, never

READ_AREAS = {
    "/v2/objects/{object}/records": ("record_permission", "object_configuration"),
    "/v2/objects": ("object_configuration",),
    "/v2/lists/{list}/entries": ("list_entry", "list_configuration"),
    "/v2/lists": ("list_configuration",),
    "/v2/tasks": ("task", "object_configuration", "record_permission", "user_management"),
    "/v2/notes": ("note", "object_configuration", "record_permission"),
    "/v2/workspace_members": ("user_management",),
    "/v2/webhooks": ("webhook",),
}
SCOPES = " ".join(
    f"{area}:read-write"
    for area in ("object_configuration", "record_permission", "list_configuration", "list_entry", "task", "note", "comment",
                 "user_management", "webhook")
)  # fmt: skip
LIMITED = "Rate limit exceeded, please try again later"


class AttioAccount(Simulator):
    """Who may call, how often, and what the workspace is made of."""

    name = "attio"
    base_path = "/v2"
    token_route = "/oauth/token"  # noqa: S105 - a path
    consent_route = "/authorize"
    mutable = ("people", "companies", "deals", "tasks", "notes", "entries:sales_pipeline")
    routes: ClassVar[tuple[Route, ...]] = (
        ("GET", "/v2/self", "whoami"),
        ("GET", "/authorize", "consent"),
        ("POST", "/oauth/token", "token"),
        ("GET", "/v2/objects", "objects"),
        ("GET", "/v2/objects/{object}", "object_one"),
        ("GET", "/v2/objects/{object}/attributes", "attributes"),
        ("GET", "/v2/lists/{list}/attributes", "attributes"),
        ("GET", "/v2/objects/{object}/attributes/{attribute}/statuses", "choices"),
        ("GET", "/v2/objects/{object}/attributes/{attribute}/options", "choices"),
        ("GET", "/v2/lists/{list}/attributes/{attribute}/statuses", "choices"),
        ("GET", "/v2/lists", "lists"),
        ("GET", "/v2/lists/{list}", "list_one"),
        ("GET", "/v2/workspace_members", "members"),
        ("GET", "/v2/workspace_members/{id}", "member_one"),
    )

    credentials: ClassVar[Mapping[str, str]] = {"token": "token"}

    def __init__(self, **options: Any) -> None:
        self.issued: set[str] = set()
        """Access tokens that apps were given."""
        super().__init__(**options)
        self.consents = Consents(self.clock, self.dice, client_id=str(self.options["client_id"]))

    def defaults(self) -> dict[str, Any]:
        return {
            "token": "simulated-attio-token",
            "client_id": "simulated-client",
            "client_secret": "simulated-secret",
            "scopes": SCOPES,
            "score_limit": 50_000,
            "score_per_query": 25_000,
            "query_budget": "read",
            "max_page": 500,
            "history": 300,
            "merge_seconds": 0.0,
            "custom_objects": {},
            "people": 250,
            "companies": 120,
            "deals": 80,
            "entries": 60,
            "tasks": 60,
            "notes": 70,
            "workspace_members": 6,
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        return [
            Tier("read", 100, 1.0, key=budget("read")),
            Tier("write", 25, 1.0, key=budget("write")),
            Tier("score", float(self.options["score_limit"]), 10.0, key=never),
        ], []

    def budget(self, method: str, route: str) -> str:
        if route in (self.token_route, self.consent_route):
            return "token"
        if method == "GET":
            return "read"
        return str(self.options["query_budget"]) if route.endswith("/query") else "write"

    def make_world(self, dice: Dice) -> World:
        names = ("people", "companies", "deals", "entries", "tasks", "notes", "workspace_members")
        counts = {name: int(self.options[name]) for name in names}
        return build(dice, counts, dict(self.options["custom_objects"]), self.now(), int(self.options["history"]))

    @property
    def mint(self) -> Mint:
        return Mint(self.dice, self.state)

    # Credential, limits, errors

    def error(self, status: int, code: str, message: str, kind: str = "invalid_request_error") -> web.Response:
        """The one error shape."""
        return self.reply({"status_code": status, "type": kind, "code": code, "message": message}, status)

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        if status == 429:
            return self.limited(1.0)
        kind = "auth_error" if status in (401, 403) else "invalid_request_error" if status < 500 else "api_error"
        code = {400: "validation_type", 401: "unauthorized", 403: "billing_error", 404: "not_found"}.get(
            status, "internal"
        )
        return self.error(status, code, message or "The request failed.", kind)

    def limited(self, wait_seconds: float, code: str = "rate_limit_exceeded", message: str = LIMITED) -> web.Response:
        """429 with the next whole second of this clock after the wait as an HTTP date."""
        until = math.floor(self.now() + wait_seconds) + 1
        moment = self.clock.now().fromtimestamp(until, self.clock.now().tzinfo)
        response = self.error(429, code, message, "rate_limit_error")
        response.headers["Retry-After"] = format_datetime(moment, usegmt=True)
        response.headers["Date"] = self.date()
        return response

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        return self.limited(refusal.wait_seconds)

    def finish(self, response: web.StreamResponse, call: Call) -> None:
        response.headers["x-attio-execution-id"] = self.dice.uuid()
        if "score" in call.data:
            response.headers["x-attio-record-query-score"] = str(call.data["score"])

    def _token(self, call: Call) -> str:
        scheme, _, given = call.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                return base64.b64decode(given).decode().partition(":")[0]
            except ValueError:
                return ""
        return given if scheme.lower() == "bearer" else ""

    def _known(self, token: str) -> bool:
        return token in self.issued or hmac.compare_digest(token.encode(), str(self.options["token"]).encode())

    def authorise(self, call: Call) -> web.Response | None:
        if call.route == "/v2/self":
            return None
        if not self._known(self._token(call)):
            return self.error(401, "unauthorized", "The token is invalid, expired or revoked.", "auth_error")
        level = "read" if call.budget == "read" or call.route.endswith("/query") else "read-write"
        granted = set(str(self.options["scopes"]).split())
        needed = next((areas for prefix, areas in READ_AREAS.items() if call.route.startswith(prefix)), ())
        for number, area in enumerate(needed):
            fits = {f"{area}:read-write"} | ({f"{area}:read"} if number or level == "read" else set())
            if not fits & granted:
                text = f"The token lacks the scope {area}:{level if not number else 'read'}."
                return self.error(403, "insufficient_scopes", text, "auth_error")
        return None

    def consent(self, call: Call) -> web.Response:
        """Somebody of the workspace allows the app: its scopes are set there, and no `scope` is asked for."""
        return self.consents.page(call)

    def token(self, call: Call) -> web.Response:
        """A code for an access token without an end; nothing refreshes it. A form, as public connectors send it."""
        given = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        known = (str(self.options["client_id"]), str(self.options["client_secret"]))
        shown = (given.get("client_id"), given.get("client_secret"))
        if shown != known or given.get("grant_type") != "authorization_code":
            return self.reply({"error": "invalid_client"}, 401)
        if not self.consents.spend(given, redirect=False):
            return self.reply({"error": "invalid_grant"}, 400)
        self.counters.count("tokens_issued")
        self.issued.add(access := f"attio-{self.dice.code(32)}")
        return self.reply({"access_token": access, "token_type": "Bearer"})

    def whoami(self, call: Call) -> web.Response:
        """200 and `active: false` for an unknown token, 400 for none."""
        token = self._token(call)
        if not token:
            return self.error(400, "missing_value", "No token was given.")
        if not self._known(token):
            return self.reply({"active": False})
        facts = self.state.facts
        return self.reply(
            {"active": True, "scope": self.options["scopes"], "client_id": "simulated", "token_type": "Bearer", "exp": None,
             "iat": int(facts["began"]), "sub": facts["workspace"], "aud": "simulated", "iss": "attio.com",
             "authorized_by_workspace_member_id": facts["members"][0] if facts["members"] else None,
             "workspace_id": facts["workspace"], "workspace_name": "Simulated", "workspace_slug": "simulated",
             "workspace_logo_url": None}
        )  # fmt: skip

    # Schema

    def schema(self, call: Call) -> tuple[Schema, str]:
        """The object or list that the path names by slug or id, and its collection's name. 404 otherwise."""
        for kind, prefix in (("objects", ""), ("lists", "entries:")):
            wanted = call.args.get(kind[:-1])
            if wanted is None:
                continue
            for slug, schema in self.state.facts[kind].items():
                if wanted in (slug, schema.id):
                    return schema, prefix + slug
            text = f'{kind[:-1].capitalize()} with slug/ID "{wanted}" was not found.'
            raise Answer(self.error(404, "not_found", text))
        raise KeyError(call.route)

    def _object(self, schema: Schema) -> Raw:
        one, many = NOUNS.get(schema.slug, (schema.slug.title(), schema.slug.title()))
        ids = {"workspace_id": self.state.facts["workspace"], "object_id": schema.id}
        return {"id": ids, "api_slug": schema.slug, "singular_noun": one, "plural_noun": many,
                "created_at": stamp(self.state.facts["began"])}  # fmt: skip

    def _list(self, schema: Schema) -> Raw:
        ids = {"workspace_id": self.state.facts["workspace"], "list_id": schema.id}
        return {"id": ids, "api_slug": schema.slug, "name": schema.slug.replace("_", " ").title(),
                "parent_object": [schema.parent], "workspace_access": "full-access", "workspace_member_access": [],
                "created_by_actor": {"type": "system", "id": None},
                "created_at": stamp(self.state.facts["began"])}  # fmt: skip

    def objects(self, call: Call) -> web.Response:
        return self.reply({"data": [self._object(schema) for schema in self.state.facts["objects"].values()]})

    def object_one(self, call: Call) -> web.Response:
        return self.reply({"data": self._object(self.schema(call)[0])})

    def lists(self, call: Call) -> web.Response:
        return self.reply({"data": [self._list(schema) for schema in self.state.facts["lists"].values()]})

    def list_one(self, call: Call) -> web.Response:
        return self.reply({"data": self._list(self.schema(call)[0])})

    def _attribute(self, schema: Schema, attribute: Attribute) -> Raw:
        ids = {"workspace_id": self.state.facts["workspace"], "object_id": schema.id, "attribute_id": attribute.id}
        return {"id": ids, "title": attribute.slug.replace("_", " ").capitalize(), "description": None,
                "api_slug": attribute.slug, "type": attribute.kind, "is_system_attribute": True, "is_writable": True,
                "is_required": False, "is_unique": attribute.unique, "is_multiselect": attribute.many,
                "is_default_value_enabled": False, "is_archived": False, "default_value": None, "relationship": None,
                "created_at": stamp(self.state.facts["began"]),
                "config": {"currency": {"default_currency_code": "EUR", "display_type": "symbol"},
                           "record_reference": {"allowed_object_ids": None}}}  # fmt: skip

    def attributes(self, call: Call) -> web.Response:
        schema, _ = self.schema(call)
        limit, offset = self.window(call.query, 500, None)
        every = [self._attribute(schema, attribute) for attribute in schema.attributes.values()]
        return self.reply({"data": every[offset : offset + limit]})

    def choices(self, call: Call) -> web.Response:
        schema, _ = self.schema(call)
        attribute = schema.attribute(call.args["attribute"])
        if attribute is None:
            return self.error(404, "not_found", f'Attribute "{call.args["attribute"]}" was not found.')
        name = "status_id" if call.route.endswith("statuses") else "option_id"
        ids = {"workspace_id": self.state.facts["workspace"], "object_id": schema.id, "attribute_id": attribute.id}
        more = {"celebration_enabled": False, "target_time_in_status": None} if name == "status_id" else {}
        return self.reply(
            {"data": [{"id": {**ids, name: option["id"]}, "title": option["title"], "is_archived": False, **more}
                      for option in attribute.options]}
        )  # fmt: skip

    def window(self, given: Mapping[str, Any], default: int, most: int | None, least: int = 1) -> tuple[int, int]:
        """(limit, offset) from a query or a body; 400 when out of range."""
        try:
            limit, offset = int(given.get("limit", default)), int(given.get("offset", 0))
        except (TypeError, ValueError):
            raise Answer(self.error(400, "validation_type", "limit and offset must be integers.")) from None
        if limit < least or offset < 0 or (most is not None and limit > most):
            raise Answer(self.error(400, "validation_type", f"limit must be between {least} and {most}."))
        return limit, offset

    def members(self, call: Call) -> web.Response:
        page = self.page(call, list(self.listing(call, "workspace_members")))
        return self.reply(b'{"data":[%s]}' % page)

    def member_one(self, call: Call) -> web.Response:
        return self.one(call, "workspace_members", call.args["id"])

    def one(self, call: Call, resource: str, external_id: str) -> web.Response:
        """A single record, or 404."""
        entry = self.state[resource].get(external_id)
        if entry is None:
            return self.error(404, "not_found", f"Nothing was found for ID {external_id}.")
        return self.reply(b'{"data":%s}' % entry.encoded)
