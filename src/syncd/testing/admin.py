"""`/_sim/*`: the strings by which tests and the demo pull a simulator. Loopback only, never limited, never counted.

GET    /_sim/stats                    everything counted
POST   /_sim/reset                    forget counts and windows, keep the data
GET    /_sim/arrivals?route=&status=  times of arrivals, seconds since the start
GET    /_sim/truth                    resources and their counts
GET    /_sim/truth/{resource}?ids=1   what a complete and fresh copy holds (ids=1: only the ids)
POST   /_sim/mutate                   {"op": create|update|delete|random, "resource", "id", "changes", "count"}
POST   /_sim/stream                   {"per_second", "total", "resources", "creations", "deletions"}; DELETE stops it
POST   /_sim/misbehave                {"kind", "match", "count", "share", "after", ...}; GET; DELETE ?kind=
POST   /_sim/webhooks                 {"url", "secrets", "events", "duplicate", "lose", "hold"}; GET shows, DELETE forgets all
GET    /_sim/acknowledged             ids of the deliveries that were answered with a 2xx, in that order
POST   /_sim/redeliver                {"count"}: the last deliveries again, in reverse
POST   /_sim/attack                   {"kind": forged|altered|unsigned|stale, "count"}: deliveries nobody should take
POST   /_sim/limits                   {"share", "tier", "silent"}: scale every limit or one; silent: without a word
GET    /_sim/do                       which actions of its own the partner has
POST   /_sim/do/{action}              one of them, such as expire_tokens
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from syncd.testing.base import Simulator

LOOPBACK = ("127.", "::1", "::ffff:127.")


def reply(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


class UnknownActionError(LookupError):
    """An action this partner does not have."""


def actions(simulator: Simulator) -> str:
    """What a partner's own admin actions are, and what they take, in words."""
    own = type(simulator).action
    if own.__qualname__.startswith("Simulator."):
        return f"{simulator.name} has no actions of its own"
    return f"{simulator.name} has {' '.join((inspect.getdoc(own) or '').split()).rstrip('.')}"


async def answer(simulator: Simulator, request: web.Request) -> web.StreamResponse:
    """One admin request."""
    if request.remote and not request.remote.startswith(LOOPBACK):
        return reply({"error": "loopback only"}, 403)
    params: dict[str, Any] = dict(request.query)
    if request.can_read_body:
        body = await request.read()
        if body:
            try:
                params = orjson.loads(body)
            except ValueError as error:
                return reply({"error": str(error)}, 400)
    parts = request.path.split("/")[2:]
    try:
        return reply(act(simulator, request.method, parts, params))
    except UnknownActionError as error:
        return reply({"error": str(error)}, 404)
    except KeyError as error:
        return reply({"error": f"there is no {error}"}, 404)
    except (TypeError, ValueError) as error:
        return reply({"error": str(error)}, 400)
    except Exception as error:  # a record changed into what the simulator itself cannot read
        return reply({"error": f"that does not fit the records here: {type(error).__name__}: {error}"}, 400)


def act(simulator: Simulator, method: str, parts: list[str], params: dict[str, Any]) -> Any:
    """Do it and say what came of it. Raises KeyError (404), ValueError or TypeError (400)."""
    match (method, *parts):
        case ("GET", "stats"):
            return simulator.stats()
        case ("POST", "reset"):
            simulator.counters.reset()
            simulator.enforcer.reset()
        case ("GET", "arrivals"):
            wanted = params.get("status")
            return simulator.counters.arrivals(params.get("route", ""), int(wanted) if wanted else None)
        case ("GET", "truth"):
            return {name: len(collection) for name, collection in simulator.state.collections.items()}
        case ("GET", "truth", resource):
            held = simulator.truth(resource)
            known = {"resource": resource, "count": len(held), "ids": list(held)}
            return known if params.get("ids") else {**known, "records": held}
        case ("POST", "mutate"):
            return mutate(simulator, params)
        case ("POST", "stream"):
            shares = (float(params.get("creations", 0.3)), float(params.get("deletions", 0.1)))
            simulator.stream(
                float(params["per_second"]), params.get("total"), tuple(params.get("resources", ())), shares
            )
        case ("DELETE", "stream"):
            simulator.stop_stream()
        case ("GET", "misbehave"):
            return simulator.misbehaviour.view()
        case ("POST", "misbehave"):
            simulator.misbehaviour.add(**params)
        case ("DELETE", "misbehave"):
            simulator.misbehaviour.clear(params.get("kind", ""))
        case ("GET", "webhooks"):
            return simulator.deliveries.view()
        case ("POST", "webhooks"):
            return webhooks(simulator, params)
        case ("DELETE", "webhooks"):
            simulator.deliveries.targets.clear()
        case ("GET", "acknowledged"):
            return list(simulator.deliveries.acknowledged)
        case ("POST", "redeliver"):
            return {"redelivered": simulator.deliveries.redeliver(int(params.get("count", 1)))}
        case ("POST", "attack"):
            return {"sent": simulator.deliveries.attack(str(params["kind"]), int(params.get("count", 1)))}
        case ("POST", "limits"):
            simulator.enforcer.scale(
                float(params["share"]), str(params.get("tier", "")), silent=bool(params.get("silent", False))
            )
        case ("POST", "do", name):
            done = simulator.action(name, params)
            if done is None:
                raise UnknownActionError(f"there is no {name!r}; {actions(simulator)}")
            return done
        case ("GET", "do"):
            return {"actions": actions(simulator)}
        case _:
            raise KeyError("/".join(parts))
    return {"ok": True}


def webhooks(simulator: Simulator, params: dict[str, Any]) -> Any:
    """A subscription, where a URL is given, and how all are delivered from now on."""
    deliveries = simulator.deliveries
    deliveries.duplicate = int(params.get("duplicate", deliveries.duplicate))
    deliveries.lose_every = int(params.get("lose", deliveries.lose_every))
    deliveries.hold_seconds = float(params.get("hold", deliveries.hold_seconds))
    if "url" not in params:
        return {"ok": True}
    secrets = params.get("secrets") or [params["secret"]]
    target = simulator.subscription(params["url"], list(secrets), list(params.get("events", ["*"])))
    deliveries.targets[target.id] = target
    return {"id": target.id}


def mutate(simulator: Simulator, params: dict[str, Any]) -> Any:
    """One asked-for change, or `count` random ones."""
    operation = params.get("op", "random")
    count = int(params.get("count", 1))
    resource = params.get("resource", "")
    if operation == "random":
        shares = (float(params.get("creations", 0.3)), float(params.get("deletions", 0.1)))
        simulator.mutate(count, (resource,) if resource else (), shares)
        return {"mutations": dict(simulator.mutated)}
    if operation == "create":
        return {"ids": [simulator.create(resource, params.get("changes")) for _ in range(count)]}
    wanted = (
        params.get("ids") or [params["id"]]
        if "id" in params or "ids" in params
        else [place[2] for place in simulator.state[resource].order[:count]]
    )
    for external_id in wanted:
        if operation == "update":
            simulator.update(resource, external_id, params.get("changes"))
        elif operation == "delete":
            simulator.delete(resource, external_id)
        else:
            raise ValueError(f"unknown op {operation!r}; known: create, update, delete, random")
    return {"ids": wanted}
