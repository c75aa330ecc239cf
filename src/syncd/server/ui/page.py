"""The page's routes, and what every one of them passes: a session, the form's token, errors as pages, the headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from syncd import __version__
from syncd.clock import Clock
from syncd.server.answers import answer, refusal
from syncd.server.desks import RefusedError, Told, told_of
from syncd.server.ui.actions import Actions
from syncd.server.ui.deliveries import Deliveries
from syncd.server.ui.front import Front
from syncd.server.ui.integrations import Integrations
from syncd.server.ui.letters import Letters
from syncd.server.ui.live import Live
from syncd.server.ui.paper import Paper
from syncd.server.ui.reading import Reading
from syncd.server.ui.records import Records
from syncd.server.ui.rows import fits
from syncd.server.ui.sessions import COOKIE, GUEST, LOGIN, PREFIX, SAID, Session, Sessions
from syncd.server.ui.shown import WORDS
from syncd.server.ui.sources import Sources
from syncd.server.ui.visit import DRESS, EVERY, Handler, Said, Shown, Visit, back, form_of, leads, said_before

STATIC: Final = Path(__file__).parent / "static"
KINDS: Final = {
    ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain", ".toml": "text/plain"
}  # fmt: skip
TITLES: Final = {
    401: "not signed in", 403: "refused", 404: "there is no such page", 409: "not now", 422: "not possible", 429: "too often",
    500: "a fault of syncd's", 503: "not at the moment",
}  # fmt: skip


class Page:
    """Everything below /ui."""

    def __init__(self, sources: Sources, sessions: Sessions, clock: Clock) -> None:
        self.sessions = sessions
        self._sources = sources
        self._clock = clock
        self._paper = Paper()
        self._front = Front(sources, self._paper, clock)
        self._live = Live(self._front, sources, sessions, clock)
        self._actions = Actions(sources)
        self._desks = (
            Integrations(sources, self._front),
            Letters(sources, self._front),
            Deliveries(sources),
            Records(sources),
            Reading(sources),
        )
        self._files = {path.name: path for path in STATIC.rglob("*.*") if path.suffix in KINDS}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PREFIX, self._page(self._first)),
            web.get(f"{PREFIX}/", self._page(self._first)),
            web.get(f"{PREFIX}/events", self._page(self._live.stream)),
            web.get(f"{PREFIX}/static/{{name:[a-zA-Z0-9._-]+}}", self._page(self._file)),
            web.get(LOGIN, self._page(self._login)),
            web.post(LOGIN, self._page(self._sign_in, marked=False)),
            web.post(f"{PREFIX}/do/name", self._page(self._rename)),
            web.post(f"{PREFIX}/do/leave", self._page(self._leave)),
            *(
                web.post(f"{PREFIX}/do/{name}", self._page(self._doing(act)))
                for name, act in self._actions.every().items()
            ),
            *(
                web.route(way.method, PREFIX + way.path, self._page(way.handler))
                for desk in self._desks
                for way in desk.ways()
            ),
            web.get(f"{PREFIX}/{{rest:.*}}", self._page(_nothing)),
        ]

    # -- what every page passes ------------------------------------------------------------------------------------

    def _page(self, handler: Handler, *, marked: bool = True) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """`marked`: the forms that lead here carry the session's token."""

        async def run(request: web.Request) -> web.StreamResponse:
            known = self.sessions.of(request)
            session = known or self.sessions.begin()
            visit = Visit(request, session, self._clock.now())
            try:
                if request.method == "POST":
                    visit.form = form_of(await request.read())
                    if marked and not self.sessions.fits(known, visit.form.get("csrf", "")):
                        why = "this form was not made for you, or syncd was restarted since"
                        raise RefusedError(403, "form", why, "go back, load the page again, and send it once more")
                response = await self._shown(visit, await handler(visit))
            except (web.HTTPException, ConnectionError):
                raise
            except Exception as error:
                response = await self._error(visit, told_of(error, request.path))
            if not response.prepared:
                response.headers.update(DRESS)
                self._keep(visit, known, response)
            return response

        return run

    async def _shown(self, visit: Visit, found: Shown | web.StreamResponse, *, status: int = 200) -> web.StreamResponse:
        if isinstance(found, web.StreamResponse):
            return found
        name, said = found
        await self._paper.ready()
        text = self._paper.render(name, {**self._common(visit), **said})
        response = web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
        if visit.request.cookies.get(SAID):
            response.del_cookie(SAID, path=PREFIX)
        return response

    def _common(self, visit: Visit) -> Said:
        return {
            "visit": visit,
            "csrf": self.sessions.mark(visit.session),
            "flash": said_before(visit.request),
            "version": __version__,
            "asks": self.sessions.asks,
            "name": visit.session.name,
            "every": visit.every,
            "paces": EVERY,
            "now": visit.now,
            "states": WORDS,
            "icon": "healthy",
            "board": 0,
            "live": True,
            "here": visit.request.path,
        }

    async def _error(self, visit: Visit, told: Told) -> web.StreamResponse:
        request = visit.request
        if request.headers.get("X-Page") or request.path == f"{PREFIX}/events" or request.path.endswith(".json"):
            return refusal(*told)
        said = {"told": told, "heading": TITLES.get(told.status, "not possible"), "live": False}
        return await self._shown(visit, ("error", said), status=told.status)

    def _keep(self, visit: Visit, known: Session | None, response: web.StreamResponse) -> None:
        """A cookie for whoever has none, and a fresh one for whoever has an old one; never one that opens a door."""
        if response.content_type != "text/html" or (known is None and self.sessions.asks):
            return
        if known is None:
            self.sessions.keep(response, visit.session, visit.request)
        elif self.sessions.is_old(known):
            self.sessions.keep(response, self.sessions.renewed(known, known.name), visit.request)

    # -- pages -----------------------------------------------------------------------------------------------------

    async def _first(self, visit: Visit) -> Shown:
        board = await self._front.board()
        words, state = visit.asked("q"), visit.asked("state")
        parts = {name: self._paper.safe(text) for name, text in board.parts.items()}
        table, chosen = "", 0
        for each in board.rows:  # those that do not fit are there too: a script shows them once the filter is cleared
            text, fit = board.parts[f"row:{each['name']}"], fits(each, words, state)
            table += text if fit else text.replace("<tbody ", "<tbody hidden ", 1)
            chosen += fit
        said = {"title": board.title, "icon": board.state, "board": board.id, "parts": parts, "all": len(board.rows)}
        return "front", {**said, "table": self._paper.safe(table), "chosen": chosen, "words": words, "state": state}

    async def _file(self, visit: Visit) -> web.StreamResponse:
        path = self._files.get(visit.request.match_info["name"])
        if path is None:
            raise RefusedError(404, "unknown-file", "there is no such file")
        return web.Response(body=path.read_bytes(), content_type=KINDS[path.suffix], charset="utf-8")

    def _doing(self, act: Callable[[Visit], Awaitable[str]]) -> Handler:
        """Do it, then lead back to where the form stood; a script is told instead."""

        async def run(visit: Visit) -> web.StreamResponse:
            said = await act(visit)
            self._front.forget()
            if visit.request.headers.get("X-Page"):
                return answer({"schema": "syncd.page-done/1", "said": said})
            return leads(back(visit.said("to")), said)

        return run

    # -- signing in ------------------------------------------------------------------------------------------------

    async def _login(self, visit: Visit) -> web.StreamResponse:
        if not self.sessions.asks:
            return leads(PREFIX)
        return await self._form(visit)

    async def _form(self, visit: Visit, wrong: str = "", status: int = 200) -> web.StreamResponse:
        guest = self.sessions.guest(visit.request)
        to = back(visit.said("to") or visit.asked("to"))
        said = {
            "live": False,
            "mark": self.sessions.guest_mark(guest),
            "wrong": wrong,
            "to": to,
            "named": visit.said("name"),
        }
        response = await self._shown(visit, ("login", said), status=status)
        response.set_cookie(GUEST, guest, path=LOGIN, httponly=True, samesite="Strict")
        return response

    async def _sign_in(self, visit: Visit) -> web.StreamResponse:
        guest = visit.request.cookies.get(GUEST, "")
        if not guest or not self.sessions.fits_guest(guest, visit.said("csrf")):
            raise RefusedError(403, "form", "this form was not made for you", "load the page again")
        fits = self.sessions.accepts(visit.said("token"), visit.request)
        if not fits:
            why = (
                "that is not the token of server.admin_token"
                if fits is False
                else "too many wrong tokens: wait a minute"
            )
            return await self._form(visit, why, 403 if fits is False else 429)
        response = leads(back(visit.said("to")))
        self.sessions.keep(response, self.sessions.begin(visit.said("name")), visit.request)
        return response

    async def _rename(self, visit: Visit) -> web.StreamResponse:
        session = self.sessions.renewed(visit.session, visit.said("name"))
        response = leads(back(visit.said("to")), f"the audit log calls you {session.who}")
        self.sessions.keep(response, session, visit.request)
        return response

    async def _leave(self, visit: Visit) -> web.StreamResponse:
        self.sessions.end(visit.session)
        response = leads(LOGIN)
        response.del_cookie(COOKIE, path=PREFIX)
        return response


async def _nothing(visit: Visit) -> Shown:
    raise RefusedError(404, "unknown-page", f"{visit.request.path[:100]} is no page", "begin at the first one")
