"""Dead letters: by cause, one cause with what a replay of it costs, one letter whole, and replays on their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from syncd.redaction import redact, veiled
from syncd.server.desks import RefusedError
from syncd.server.ui import shown
from syncd.server.ui.front import Front
from syncd.server.ui.sources import Sources
from syncd.server.ui.visit import Shown, Visit, Way, back, leads
from syncd.store import Selection
from syncd.wording import lasting, plural

FIRST: Final = 50
"""Letters of one cause that are listed."""
LARGEST: Final = 2**63 - 1


class Letters:
    """Looks through the engine's own desk; what it changes it notes itself."""

    def __init__(self, sources: Sources, front: Front) -> None:
        self._sources = sources
        self._letters = sources.letters
        self._front = front

    def ways(self) -> Sequence[Way]:
        return [
            Way("GET", "/letters", self.causes),
            Way("GET", "/letters/replays", self.replays),
            Way("GET", "/letters/cause/{cause:[0-9a-f]+}", self.cause),
            Way("GET", "/letters/{id:[0-9]+}", self.letter),
            Way("POST", "/letters/replay", self.replay),
            Way("POST", "/letters/cancel", self.cancel),
            Way("POST", "/letters/discard", self.discard),
        ]

    async def causes(self, visit: Visit) -> Shown:
        integration = visit.asked("integration")
        found = (await self._letters.causes(integration or None))["causes"]
        running = (await self._letters.replays(None))["replays"]
        return "letters", {
            "title": f"{plural(sum(each['count'] for each in found), 'dead letter')} · syncd",
            "causes": found,
            "running": running,
            "integration": integration,
            "names": sorted(self._sources.status.names()),
        }

    async def cause(self, visit: Visit) -> Shown:
        wanted = visit.request.match_info["cause"]
        every = (await self._letters.causes(None))["causes"]
        one = next((each for each in every if each["cause"] == wanted), None)
        if one is None:
            why = f"there is no cause {wanted}: it was settled meanwhile, or replayed"
            raise RefusedError(404, "unknown-cause", why, "syncd dlq list")
        store, reject = self._sources.store(), one["kind"] == "reject"
        if reject:
            all_of_them = await store.rejects.list(one["integration"], one["resource"], limit=1000)
            entries: Sequence[Any] = [each for each in all_of_them if each.fingerprint == one["fingerprint"]][:FIRST]
            price = None
        else:
            entries = await store.dead_letters.list(
                one["integration"], fingerprint=one["fingerprint"], resource=one["resource"], limit=FIRST
            )
            price = await self._letters.price(await self._letters.selection(Selection(), wanted))
        return "cause", {
            "title": f"{one['count']} × {one['integration']} · syncd",
            "one": one,
            "reject": reject,
            "entries": entries,
            "price": price,
            "costs": costs(price) if price is not None else [],
            "fresh": price["letters"] - price["under_way"] if price is not None else 0,
        }

    async def letter(self, visit: Visit) -> Shown:
        number = int(visit.request.match_info["id"][:20])
        found = await self._letters.letter(number) if number <= LARGEST else None
        if found is None:
            raise RefusedError(404, "unknown-letter", f"there is no dead letter {number}", "syncd dlq list")
        price = None
        if found["state"] == "open":
            price = await self._letters.price(Selection(ids=(number,)))
        parts = [("request", "request"), ("answer", "response"), ("work", "payload")]
        return "letter", {
            "title": f"letter {number} · syncd",
            "one": found,
            "calls": plural(price["calls"], "call") if price is not None else "",
            "line": line(found),
            "parts": [(title, masked(found[key], show=visit.show)) for title, key in parts if found[key]],
        }

    async def replays(self, visit: Visit) -> Shown:
        keys = []
        for text in visit.request.query.getall("replay", [])[:50]:
            integration, _, number = text.rpartition(":")
            if integration and number.isascii() and number.isdigit() and len(number) < 19:
                keys.append((integration, int(number)))
        found = (await self._letters.replays(keys or None))["replays"]
        return "replays", {"title": "replays · syncd", "replays": found, "named": bool(keys)}

    # -- what is done ----------------------------------------------------------------------------------------------

    async def replay(self, visit: Visit) -> web.StreamResponse:
        begun = await self._letters.replay(await self._selection(visit), who=visit.who)
        self._front.forget()
        keys = "&".join(f"replay={one['integration']}:{one['replay']}" for one in begun["replays"])
        if not keys:
            return leads("/ui/letters", "nothing to replay: no open letter is meant any more")
        return leads(
            f"/ui/letters/replays?{keys}", "begun: of each cause one goes ahead, the others follow when it is done"
        )

    async def cancel(self, visit: Visit) -> web.StreamResponse:
        ended = (await self._letters.cancel(await self._selection(visit), who=visit.who))["cancelled"]
        left = sum(one["left"] for one in ended)
        self._front.forget()
        said = f"{plural(len(ended), 'replay')} ended, {plural(left, 'letter')} left as they were"
        return leads(back(visit.said("to"), "/ui/letters"), said)

    async def discard(self, visit: Visit) -> web.StreamResponse:
        reason = visit.said("reason")
        if not reason:
            raise RefusedError(400, "usage", "a discard needs a reason", "say why: it stays with the letters")
        selection = await self._selection(visit)
        done = (await self._letters.discard(selection, who=visit.who, reason=reason[:500]))["discarded"]
        self._front.forget()
        return leads("/ui/letters", f"{plural(done, 'letter')} discarded: {reason[:100]}")

    async def _selection(self, visit: Visit) -> Selection:
        """What the form is about: one letter, or those of one cause that its reader was told of."""
        letter, cause, upto = visit.said("letter"), visit.said("cause"), visit.said("upto")
        numbers = [each for each in (letter, upto) if each]
        if not all(each.isascii() and each.isdigit() and len(each) < 19 for each in numbers) or bool(letter) == bool(
            cause
        ):
            raise RefusedError(400, "usage", "name one letter, or one cause")
        ids = (int(letter),) if letter else ()
        selection = Selection(ids=ids, upto=int(upto) if upto else None)
        return await self._letters.selection(selection, cause or None)


def line(letter: Mapping[str, Any]) -> str:
    """What was asked and what came, in a line: `GET /things/{id} → 403`."""
    request, response = letter["request"] or {}, letter["response"] or {}
    asked = " ".join(str(each) for each in (request.get("method"), request.get("route") or request.get("path")) if each)
    status = response.get("status")
    return f"{asked} → {status}" if asked and status else asked


def masked(value: Any, *, show: bool) -> str:
    """Keys are named, values are dots until they are asked for; what is known to be a secret is never shown."""
    return shown.pretty(redact(value) if show else veiled(redact(value)))


def costs(price: Mapping[str, Any]) -> list[str]:
    """What a replay would do and cost: `acme: 11 jobs, about 14 calls, 2 % of plain's minute`."""
    told = []
    for scope in price["scopes"]:
        jobs, calls = plural(scope["letters"], "job"), plural(scope["calls"], "call")
        text = f"{', '.join(scope['integrations'])}: {jobs}, about {calls}"
        share = scope.get("share")
        if share is not None and share > 1:
            text += f", {lasting(scope['seconds'])} at least of {scope['partner']}'s limit"
        elif share is not None:
            text += (
                f", {'under 1 %' if share < 0.01 else shown.percent(share)} of {scope['partner']}'s {scope['window']}"
            )
        told.append(text)
    again = sum(one["replayed_before"] for one in price["causes"])
    if again:
        told.append(f"{plural(again, 'of them was', 'of them were')} replayed before and failed again")
    if price["under_way"]:
        told.append(f"{plural(price['under_way'], 'of them is', 'of them are')} being replayed already")
    return [*told, *(f"{name} is no longer configured: nobody would do its work" for name in price["unknown"])]
