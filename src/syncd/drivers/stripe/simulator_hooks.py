"""The simulated Stripe's webhook endpoints, and the idempotency keys that its writes share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from syncd.drivers.stripe.simulator_reads import StripeReads
from syncd.testing.base import Call
from syncd.testing.collection import Raw
from syncd.testing.deliveries import Target


class StripeHooks(StripeReads):
    """Each endpoint has a secret of its own, told once; one that is disabled gets nothing."""

    routes = (
        *StripeReads.routes,
        ("POST", "/v1/webhook_endpoints", "post_endpoint"),
        ("GET", "/v1/webhook_endpoints", "list_endpoints"),
        ("GET", "/v1/webhook_endpoints/{id}", "one_endpoint"),
        ("POST", "/v1/webhook_endpoints/{id}", "change_endpoint"),
        ("DELETE", "/v1/webhook_endpoints/{id}", "remove_endpoint"),
    )

    def __init__(self, **options: Any) -> None:
        self.kept: dict[str, tuple[str, int, bytes]] = {}
        super().__init__(**options)

    # The idempotency key: the first answer, also a 500, is the answer for ever; refused parameters are not kept

    def once(self, call: Call, act: Callable[[Raw], web.Response]) -> web.Response:
        """Do it, unless the same key has an answer already."""
        key = call.request.headers.get("Idempotency-Key", "")
        if len(key) > 255:
            return self.error(400, "Idempotency-Key may be at most 255 characters.", kind="idempotency_error")
        print_ = self._fingerprint(call)
        if key in self.kept:
            before, status, body = self.kept[key]
            if before != print_:
                text = f"Keys for idempotent requests can only be used with the same parameters; '{key}' was not."
                return self.error(400, text, kind="idempotency_error")
            return self.reply(body, status, {"Idempotent-Replayed": "true"})
        self.current_key = key or None
        try:
            response = act(form(call))
        finally:
            self.current_key = None
        if key and response.status not in (400, 401, 404, 429):
            self.kept[key] = (print_, response.status, bytes(response.body))  # type: ignore[arg-type]
        return response

    def _fingerprint(self, call: Call) -> str:
        return hashlib.sha256(f"{call.method} {call.request.path}\n".encode() + call.body).hexdigest()

    def forced(self, response: web.Response, call: Call) -> None:
        key = call.request.headers.get("Idempotency-Key", "")
        if call.method == "POST" and key and response.status >= 500:
            self.kept[key] = (self._fingerprint(call), response.status, bytes(response.body))  # type: ignore[arg-type]

    # Webhook endpoints

    def post_endpoint(self, call: Call) -> web.Response:
        def act(given: Raw) -> web.Response:
            events = listed(given.get("enabled_events"))
            if "url" not in given or not events:
                return self.error(400, "Missing required param: url or enabled_events.", code="parameter_missing")
            secret = f"whsec_{self.dice.code(32)}"
            target = self.subscription(given["url"], [secret], events)
            target.facts["api_version"] = given.get("api_version")
            target.facts["created"] = int(self.now())
            self.deliveries.targets[target.id] = target
            return self.reply({**endpoint(target), "secret": secret})

        return self.once(call, act)

    def list_endpoints(self, call: Call) -> web.Response:
        """Newest first, as all of Stripe's lists."""
        every = list(self.deliveries.targets.values())[::-1]
        ids = [target.id for target in every]
        after = call.query.get("starting_after")
        start = ids.index(after) + 1 if after in ids else 0
        limit = min(int(call.query.get("limit", "10")), 100)
        page = every[start : start + limit]
        more = start + limit < len(every)
        data = [endpoint(target) for target in page]
        return self.reply({"object": "list", "url": "/v1/webhook_endpoints", "has_more": more, "data": data})

    def _endpoint(self, call: Call) -> Target | web.Response:
        text = f"No such webhook endpoint: '{call.args['id']}'"
        return self.deliveries.targets.get(call.args["id"]) or self.error(
            404, text, code="resource_missing", param="id"
        )

    def one_endpoint(self, call: Call) -> web.Response:
        found = self._endpoint(call)
        return self.reply(endpoint(found)) if isinstance(found, Target) else found

    def change_endpoint(self, call: Call) -> web.Response:
        def act(given: Raw) -> web.Response:
            found = self._endpoint(call)
            if not isinstance(found, Target):
                return found
            found.url = given.get("url", found.url)
            found.events = listed(given.get("enabled_events")) or found.events
            if "disabled" in given:
                found.status = "disabled" if given["disabled"] == "true" else "active"
            return self.reply(endpoint(found))

        return self.once(call, act)

    def remove_endpoint(self, call: Call) -> web.Response:
        found = self._endpoint(call)
        if not isinstance(found, Target):
            return found
        del self.deliveries.targets[found.id]
        return self.reply({"id": found.id, "object": "webhook_endpoint", "deleted": True})


def endpoint(target: Target) -> Raw:
    return {
        "id": target.id,
        "object": "webhook_endpoint",
        "api_version": target.facts.get("api_version"),
        "created": target.facts.get("created", 0),
        "livemode": False,
        "metadata": {},
        "url": target.url,
        "enabled_events": target.events,
        "status": "enabled" if target.status == "active" else "disabled",
    }


def listed(given: Any) -> list[str]:
    """`types[]=a&types[]=b` and `types[0]=a&types[1]=b` are the same list."""
    return [str(one) for one in (given.values() if isinstance(given, dict) else given or [])]


def form(call: Call) -> Raw:
    """`metadata[a]=1&types[]=x` as a mapping with mappings and lists."""
    found: Raw = {}
    for name, value in parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True):
        head, bracket, rest = name.partition("[")
        if not bracket:
            found[head] = value
        elif rest == "]":
            found.setdefault(head, []).append(value)
        else:
            found.setdefault(head, {})[rest[:-1]] = value
    return found
