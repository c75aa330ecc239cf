"""The simulated Attio's webhooks: subscriptions with filters, and one signed event in each delivery."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from aiohttp import web

from syncd.drivers.attio.simulator_account import AttioAccount
from syncd.drivers.attio.simulator_data import stamp
from syncd.testing.base import Answer, Call, Route
from syncd.testing.collection import Raw, dig
from syncd.testing.deliveries import Target


class AttioHooks(AttioAccount):
    """The body names the subscription, so each one has a body of its own."""

    routes: ClassVar[tuple[Route, ...]] = (
        *AttioAccount.routes,
        ("POST", "/v2/webhooks", "hook_new"),
        ("GET", "/v2/webhooks", "hook_list"),
        ("GET", "/v2/webhooks/{id}", "hook_one"),
        ("PATCH", "/v2/webhooks/{id}", "hook_change"),
        ("DELETE", "/v2/webhooks/{id}", "hook_remove"),
    )

    def emit(self, event: str, ids: Raw, extra: Raw | None = None, actor: Raw | None = None) -> None:
        """Send one event to every subscription whose type and filter fit."""
        said = {"event_type": event, "id": {"workspace_id": self.state.facts["workspace"], **ids}, **(extra or {}),
                "actor": actor or {"type": "api-token", "id": self.state.facts["token"]}}  # fmt: skip
        for target in list(self.deliveries.targets.values()):
            fits = [one for one in target.facts["subscriptions"] if one["event_type"] in (event, "*")]
            if any(passes(one.get("filter"), said) for one in fits):
                body = orjson.dumps({"webhook_id": target.id, "events": [said]})
                self.deliveries.post(event, body, self.dice.uuid(), only=target)

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        seal = hmac.new(target.secrets[0].encode(), body, hashlib.sha256).hexdigest()
        return {"Attio-Signature": seal, "X-Attio-Signature": seal, "Idempotency-Key": message_id}

    def subscription(self, url: str, secrets: list[str], events: list[str]) -> Target:
        wanted = [{"event_type": event, "filter": None} for event in events]
        return Target(self.dice.uuid(), url, secrets, ["*"], facts={"subscriptions": wanted, "at": self.now()})

    def _hook(self, target: Target) -> Raw:
        ids = {"workspace_id": self.state.facts["workspace"], "webhook_id": target.id}
        return {"id": ids, "target_url": target.url, "subscriptions": target.facts["subscriptions"],
                "status": target.status, "created_at": stamp(target.facts["at"])}  # fmt: skip

    def data(self, call: Call) -> Raw:
        """The `data` of a body; 400 when it is not an object."""
        try:
            given = call.json()
        except ValueError:
            given = None
        if not isinstance(given, dict) or not isinstance(given.get("data"), dict):
            raise Answer(self.error(400, "validation_type", 'The body needs an object "data".'))
        return dict(given["data"])

    def hook_new(self, call: Call) -> web.Response:
        """https only by the documentation; plain http is taken for loopback, where tests listen."""
        given = self.data(call)
        url, wanted = str(given.get("target_url", "")), given.get("subscriptions")
        if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            return self.error(400, "validation_type", "target_url must start with https://")
        if not isinstance(wanted, list) or any("filter" not in one or "event_type" not in one for one in wanted):
            return self.error(400, "validation_type", "Each subscription needs event_type and filter (null for all).")
        if any(one.url == url and one.facts["subscriptions"] == wanted for one in self.deliveries.targets.values()):
            return self.error(409, "uniqueness_conflict", "There is a webhook with this url, event and filter already.")
        target = self.subscription(url, [self.dice.hexadecimal(64)], [])
        target.facts["subscriptions"] = wanted
        self.deliveries.targets[target.id] = target
        return self.reply({"data": {**self._hook(target), "secret": target.secrets[0]}})

    def hook_list(self, call: Call) -> web.Response:
        limit, offset = self.window(call.query, 10, 100, 10)
        every = [self._hook(target) for target in self.deliveries.targets.values()]
        return self.reply({"data": every[offset : offset + limit]})

    def _found(self, call: Call) -> Target:
        target = self.deliveries.targets.get(call.args["id"])
        if target is None:
            raise Answer(self.error(404, "not_found", f"Webhook {call.args['id']} was not found."))
        return target

    def hook_one(self, call: Call) -> web.Response:
        return self.reply({"data": self._hook(self._found(call))})

    def hook_change(self, call: Call) -> web.Response:
        target, given = self._found(call), self.data(call)
        target.url = str(given.get("target_url", target.url))
        target.facts["subscriptions"] = given.get("subscriptions", target.facts["subscriptions"])
        return self.reply({"data": self._hook(target)})

    def hook_remove(self, call: Call) -> web.Response:
        del self.deliveries.targets[self._found(call).id]
        return self.reply({})


def passes(filters: Any, event: Raw) -> bool:
    """A subscription's filter: `$and` or `$or` of {field, operator: equals|not_equals, value}; null lets all pass."""
    if not filters:
        return True
    for name, joiner in (("$and", all), ("$or", any)):
        if name in filters:
            return joiner(
                (dig(event, one["field"]) == one["value"]) == (one["operator"] == "equals") for one in filters[name]
            )
    return False
