"""The admin API for dead letters: what there is by cause, one of them whole, and replay, discard, purge.

Every order names what it is about (`ids`, `cause`, `integration`, `since`, `until`): one that names nothing is refused and
never taken to mean all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.errors import ConfigError
from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, moment_of, said_by, text_of, who_asks
from syncd.store import Selection

_MOST_IDS = 10_000
_LARGEST_ID = 2**63 - 1
_LONGEST_SECONDS = 1e9


class Letters(Protocol):
    """What answers; `replaying.py` does."""

    async def causes(self, integration: str | None) -> dict[str, Any]: ...

    async def letter(self, letter_id: int) -> dict[str, Any] | None: ...

    async def selection(self, said: Selection, cause: str | None) -> Selection: ...

    async def price(self, selection: Selection) -> dict[str, Any]: ...

    async def replay(self, selection: Selection, *, who: str) -> dict[str, Any]: ...

    async def replays(self, keys: Sequence[tuple[str, int]] | None) -> dict[str, Any]: ...

    async def cancel(self, selection: Selection, *, who: str) -> dict[str, Any]: ...

    async def discard(self, selection: Selection, *, who: str, reason: str) -> dict[str, Any]: ...

    async def purge(
        self, older_than_seconds: float | None, *, integration: str | None, open_too: bool, who: str
    ) -> dict[str, Any]: ...


def routes(letters: Letters) -> list[web.RouteDef]:
    desk = _Desk(letters)
    return [
        web.get(f"{PREFIX}/dlq", guarded(desk.causes)),
        web.get(f"{PREFIX}/dlq/letters/{{id:[0-9]+}}", guarded(desk.letter)),
        web.get(f"{PREFIX}/dlq/replays", guarded(desk.replays)),
        web.post(f"{PREFIX}/dlq/price", guarded(desk.price)),
        web.post(f"{PREFIX}/dlq/replay", guarded(desk.replay)),
        web.post(f"{PREFIX}/dlq/cancel", guarded(desk.cancel)),
        web.post(f"{PREFIX}/dlq/discard", guarded(desk.discard)),
        web.post(f"{PREFIX}/dlq/purge", guarded(desk.purge)),
    ]


class _Desk:
    def __init__(self, letters: Letters) -> None:
        self._letters = letters

    async def causes(self, request: web.Request) -> web.Response:
        return answer(await self._letters.causes(request.query.get("integration")))

    async def letter(self, request: web.Request) -> web.Response:
        wanted = int(request.match_info["id"][:20])
        found = await self._letters.letter(wanted) if wanted <= _LARGEST_ID else None
        if found is None:
            raise RefusedError(404, "unknown-letter", f"there is no dead letter {wanted}", "syncd dlq list")
        return answer(found)

    async def replays(self, request: web.Request) -> web.Response:
        asked = request.query.getall("replay", [])
        keys = []
        for text in asked[:1000]:
            integration, _, number = text.rpartition(":")
            if not integration or not (number.isascii() and number.isdigit() and len(number) < 19):
                raise RefusedError(
                    400, "usage", "replay must be INTEGRATION:NUMBER, as the answer to a replay names it"
                )
            keys.append((integration, int(number)))
        return answer(await self._letters.replays(keys if asked else None))

    async def price(self, request: web.Request) -> web.Response:
        return answer(await self._letters.price(await self._selection(await said_by(request))))

    async def replay(self, request: web.Request) -> web.Response:
        selection = await self._selection(await said_by(request))
        return answer(await self._letters.replay(selection, who=who_asks(request)), status=202)

    async def cancel(self, request: web.Request) -> web.Response:
        selection = await self._selection(await said_by(request))
        return answer(await self._letters.cancel(selection, who=who_asks(request)))

    async def discard(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        selection = await self._selection(said)
        reason = text_of(said, "reason") or ""
        return answer(await self._letters.discard(selection, who=who_asks(request), reason=reason))

    async def purge(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        seconds, everything, settled = (
            said.get("older_than_seconds"),
            said.get("all", False),
            said.get("settled", False),
        )
        if not isinstance(everything, bool) or not isinstance(settled, bool):
            raise RefusedError(400, "usage", "all and settled must be true or false")
        if seconds is None and not everything:
            raise RefusedError(400, "usage", "a purge names older_than_seconds, or says all: true")
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if seconds is not None and (not is_number or not 0 <= seconds <= _LONGEST_SECONDS):
            raise RefusedError(400, "usage", "older_than_seconds must be a number of seconds, at most 1e9")
        found = await self._letters.purge(
            seconds, integration=text_of(said, "integration"), open_too=not settled, who=who_asks(request)
        )
        return answer(found)

    async def _selection(self, said: Mapping[str, Any]) -> Selection:
        """What an order is about; refused where that is nothing in particular."""
        ids, upto = said.get("ids") or [], said.get("upto")
        if not isinstance(ids, list) or len(ids) > _MOST_IDS or not all(_is_id(one) for one in ids):
            raise RefusedError(400, "usage", f"ids must be a list of at most {_MOST_IDS} numbers")
        if upto is not None and not _is_id(upto):
            raise RefusedError(400, "usage", "upto must be the number of a letter")
        cause, integration = text_of(said, "cause"), text_of(said, "integration")
        since, until = moment_of(said, "since"), moment_of(said, "until")
        if not ids and cause is None and integration is None and since is None and until is None:
            raise RefusedError(400, "usage", "name what is meant: ids, cause, integration, since or until")
        selection = Selection(integration=integration, ids=tuple(ids), since=since, until=until, upto=upto)
        try:
            return await self._letters.selection(selection, cause)
        except ConfigError as error:
            raise RefusedError(404, "unknown-cause", str(error), error.hint) from None


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_ID
