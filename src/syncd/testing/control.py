"""A client for a simulator's `/_sim/*`, for tests and the demo."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson


class Control:
    """`Control(spawned.url)`; each call is one request. Raises RuntimeError with the simulator's words when refused."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    async def ask(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, f"{self.url}/_sim/{path}", params=params, data=None if body is None else orjson.dumps(body)
            ) as answer,
        ):
            said = orjson.loads(await answer.read())
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {said.get('error', said)}")
            return said

    async def stats(self) -> dict[str, Any]:
        """Everything counted: calls, routes, violations, surprises, tiers (limit, peak), tokens_issued, records, webhooks."""
        return dict(await self.ask("GET", "stats"))

    async def reset(self) -> None:
        await self.ask("POST", "reset")

    async def arrivals(self, route: str = "") -> list[float]:
        """Times of all arrivals on routes that contain `route`, seconds since the simulator started."""
        return list(await self.ask("GET", "arrivals", route=route))

    async def truth(self, resource: str) -> dict[str, dict[str, Any]]:
        """What a complete and fresh copy holds, by id."""
        return dict((await self.ask("GET", f"truth/{resource}"))["records"])

    async def truth_ids(self, resource: str) -> list[str]:
        return list((await self.ask("GET", f"truth/{resource}", ids="1"))["ids"])

    async def create(self, resource: str, changes: dict[str, Any] | None = None, count: int = 1) -> list[str]:
        body = {"op": "create", "resource": resource, "changes": changes, "count": count}
        return list((await self.ask("POST", "mutate", body))["ids"])

    async def update(self, resource: str, external_id: str, changes: dict[str, Any] | None = None) -> None:
        body = {"op": "update", "resource": resource, "id": external_id, "changes": changes}
        await self.ask("POST", "mutate", body)

    async def delete(self, resource: str, external_id: str) -> None:
        await self.ask("POST", "mutate", {"op": "delete", "resource": resource, "id": external_id})

    async def mutate(self, count: int = 1, resource: str = "") -> None:
        """So many random changes."""
        await self.ask("POST", "mutate", {"op": "random", "count": count, "resource": resource})

    async def stream(
        self, per_second: float, total: int | None = None, resources: tuple[str, ...] = (), **shares: float
    ) -> None:
        """Random changes in the background; `creations` and `deletions` are shares of them."""
        said = {"per_second": per_second, "total": total, "resources": list(resources), **shares}
        await self.ask("POST", "stream", said)

    async def stop_stream(self) -> None:
        await self.ask("DELETE", "stream")

    async def misbehave(self, kind: str, **params: Any) -> None:
        """See `misbehaviour.KINDS`; `match`, `count`, `share` and `after` say to which calls it happens."""
        await self.ask("POST", "misbehave", {"kind": kind, **params})

    async def behave(self, kind: str = "") -> None:
        """Clear all rules, or those of one kind."""
        await self.ask("DELETE", "misbehave", kind=kind)

    async def tighten(self, share: float, tier: str = "", *, silent: bool = False) -> None:
        """Scale every limit, or one tier's; `silent`: headers and documents go on stating the old one."""
        await self.ask("POST", "limits", {"share": share, "tier": tier, "silent": silent})

    async def webhooks(self, url: str, secret: str, **params: Any) -> str:
        """Send signed deliveries of every mutation to a URL; returns the subscription's id."""
        return str((await self.ask("POST", "webhooks", {"url": url, "secret": secret, **params}))["id"])

    async def deliver(self, **how: Any) -> None:
        """How deliveries are sent from now on: `duplicate` (times more), `lose` (one of so many), `hold` (seconds)."""
        await self.ask("POST", "webhooks", how)

    async def attack(self, kind: str, count: int = 1) -> int:
        """Send deliveries nobody should take: forged, altered, unsigned or stale; returns how many."""
        return int((await self.ask("POST", "attack", {"kind": kind, "count": count}))["sent"])

    async def acknowledged(self) -> list[str]:
        """Ids of the deliveries that were answered with a 2xx, in the order of the answers."""
        return list(await self.ask("GET", "acknowledged"))

    async def do(self, action: str, **params: Any) -> Any:
        """A partner's own action."""
        return await self.ask("POST", f"do/{action}", params)
