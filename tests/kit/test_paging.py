"""Every kind of listing is walked to its end and no further, resumes anywhere, and never goes round."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.codec import dumps
from syncd.errors import PayloadError
from syncd.kit import Checkpoint, DriverSpec, Headers, Pages, Request, Resource, Response, RestDriver
from syncd.kit.paging import LoopGuard, next_link, relative, without

DRIVER = RestDriver(DriverSpec(name="acme", base_url="https://api.acme.example/v1"))
START = Checkpoint("acme", "rows")


def page(body: Any, url: str = "", **headers: str) -> Response:
    return Response(200, Headers(headers), dumps(body), url=url)


class Server:
    """A listing of numbered rows in every dialect; answers what it is asked, whatever the driver thinks."""

    def __init__(self, count: int, kind: str, *, size: int, said: str = "", most: int = 10**6) -> None:
        self.rows = [{"id": f"r{number}"} for number in range(count)]
        self.kind, self.size, self.said, self.most = kind, size, said, most
        self.calls = 0

    def answer(self, request: Request) -> Response:
        self.calls += 1
        asked = dict(request.params) if request.json is None else request.json.get("page", {})
        size = min(int(asked.get("limit", self.size)), self.most)
        at = self._at(asked, size)
        rows = self.rows[at : at + size]
        more = at + size < len(self.rows)
        body: dict[str, Any] = {"rows": rows}
        headers: dict[str, str] = {}
        if self.said == "total":
            body["total"] = len(self.rows)
        if self.said == "more":
            body["more"] = more
        if self.said == "pages":
            body["pages"] = math.ceil(len(self.rows) / size)
        if self.kind == "cursor":
            body["next"] = f"c{at + size}" if more else None
        link = f"https://api.acme.example/v1/rows?limit={size}&page={at // size + 2}"
        if self.kind == "next":
            body["next"] = link if more else None
        if self.kind == "link" and more:
            headers["link"] = f'<https://api.acme.example/v1/rows>; rel="first", <{link}>; rel="next"'
        return page(body, "https://api.acme.example/v1/rows", **headers)

    def _at(self, asked: dict[str, Any], size: int) -> int:
        match self.kind:
            case "cursor":
                return int(str(asked.get("after", "c0"))[1:])
            case "last":
                return next((n + 1 for n, row in enumerate(self.rows) if row["id"] == asked.get("after")), 0)
            case "offset":
                return int(asked.get("offset", 0))
        return (int(asked.get("page", 1)) - 1) * size


def resource(kind: str, *, size: int = 10, said: str = "", place: str = "query", **more: Any) -> Resource:
    names = {"cursor": "after", "last": "after", "offset": "offset", "page": "page"}
    inside = "page." if place == "body" else ""
    pages: dict[str, Any] = {
        "kind": "cursor" if kind == "last" else kind,
        "in": place,
        "size": f"{inside}limit",
        **more,
    }
    if kind in names:
        pages["param"] = inside + names[kind]
    if kind in {"cursor", "next"}:
        pages["next"] = "next"
    if kind == "last":
        pages["last"] = "id"
    if said == "more":
        pages["more"] = "more"
    if said == "pages":
        pages["total_pages"] = "pages"
    return Resource(
        name="rows",
        path="/rows",
        method="POST" if place == "body" else "GET",
        records="rows",
        page_size=size,
        total="total" if said == "total" else None,
        pages=Pages.model_validate(pages),
    )


DIALECTS = [
    ("cursor", "", "query"),
    ("cursor", "more", "query"),
    ("cursor", "", "body"),
    ("last", "", "query"),
    ("last", "more", "query"),
    ("last", "more", "body"),
    ("offset", "", "query"),
    ("offset", "total", "query"),
    ("offset", "more", "query"),
    ("offset", "", "body"),
    ("page", "", "query"),
    ("page", "total", "query"),
    ("page", "pages", "query"),
    ("page", "more", "body"),
    ("next", "", "query"),
    ("link", "", "query"),
]


def steps(driver: RestDriver, what: Resource, server: Server, first: Request) -> Iterator[tuple[Request, Response]]:
    walk = driver.pages(what, first)
    request = next(walk)
    while True:
        response = server.answer(request)
        yield request, response
        try:
            request = walk.send(response)
        except StopIteration:
            return


def ids(what: Resource, found: list[tuple[Request, Response]]) -> list[str]:
    return [row["id"] for _, response in found for row in what.reader.records(response)]


@pytest.mark.parametrize(("kind", "said", "place"), DIALECTS)
@given(count=st.integers(0, 45), size=st.integers(1, 12))
def test_every_row_comes_once_and_in_order(kind: str, said: str, place: str, count: int, size: int) -> None:
    what = resource(kind, size=size, said=said, place=place)
    server = Server(count, kind, size=size, said=said)
    found = list(steps(DRIVER, what, server, DRIVER.request(what, START)))
    assert ids(what, found) == [row["id"] for row in server.rows]
    assert len(found) <= count // size + 1


@pytest.mark.parametrize(("kind", "said", "place"), DIALECTS)
@given(count=st.integers(0, 45), size=st.integers(1, 12), cut=st.integers(0, 50))
def test_a_walk_resumes_at_any_stored_cursor(kind: str, said: str, place: str, count: int, size: int, cut: int) -> None:
    what = resource(kind, size=size, said=said, place=place)
    server = Server(count, kind, size=size, said=said)
    found = list(steps(DRIVER, what, server, DRIVER.request(what, START)))
    cut %= len(found)
    again = DRIVER.request(what, Checkpoint("acme", "rows", cursor=found[cut][0].cursor))
    assert again == found[cut][0]
    rest = list(steps(DRIVER, what, server, again))
    assert ids(what, found[:cut]) + ids(what, rest) == [row["id"] for row in server.rows]


@pytest.mark.parametrize("said", ["total", "more", ""])
def test_a_partner_that_cuts_pages_to_its_own_size_loses_no_row_where_it_says_how_many_there_are(said: str) -> None:
    what = resource("offset", size=50, said=said, end="empty" if not said else None)
    server = Server(120, "offset", size=50, said="total" if said == "total" else "", most=20)
    if said == "more":
        server.said = "more"
    found = list(steps(DRIVER, what, server, DRIVER.request(what, START)))
    assert len(ids(what, found)) == 120


def test_an_empty_page_ends_a_listing_that_is_read_to_an_empty_page() -> None:
    what = resource("page", size=10, end="empty")
    server = Server(20, "page", size=10)
    assert len(list(steps(DRIVER, what, server, DRIVER.request(what, START)))) == 3


def test_first_numbers_may_be_stated_and_are_then_sent() -> None:
    zero = resource("page", first=0)
    assert dict(DRIVER.request(zero, START).params) == {"limit": "10", "page": "0"}
    following = DRIVER.following(zero, DRIVER.request(zero, START), page({"rows": [{"id": 1}] * 10}))
    assert following is not None
    assert (following.cursor, dict(following.params)["page"]) == ("1", "1")


@pytest.mark.parametrize(("kind", "said"), [("offset", "total"), ("page", "total"), ("page", "pages")])
@given(count=st.integers(0, 60), size=st.integers(1, 9), later=st.integers(0, 60))
def test_pages_asked_for_ahead_are_those_the_walk_would_ask(
    kind: str, said: str, count: int, size: int, later: int
) -> None:
    """And when the total has grown or shrunk meanwhile, walking on from the last of them finds the true end."""
    what = resource(kind, size=size, said=said)
    server = Server(count, kind, size=size, said=said)
    first = DRIVER.request(what, START)
    walked = [request for request, _ in steps(DRIVER, what, server, first)]
    response = server.answer(first)
    ahead = DRIVER.spread(what, first, response)
    assert [first, *(ahead or [])] == walked
    server.rows = [{"id": f"r{number}"} for number in range(later)]
    answers = [(first, response)] + [(request, server.answer(request)) for request in ahead or []]
    last, last_response = answers[-1]
    following = DRIVER.following(what, last, last_response)
    if following is not None:
        answers += list(steps(DRIVER, what, server, following))
    # Rows that were there all the time and kept their place are all seen.
    assert {f"r{number}" for number in range(min(count, later))} <= set(ids(what, answers))


def test_nothing_is_asked_ahead_where_pages_hang_on_each_other() -> None:
    for kind, said in [
        ("cursor", ""),
        ("last", "more"),
        ("next", ""),
        ("link", ""),
        ("offset", ""),
        ("offset", "more"),
    ]:
        what = resource(kind, said=said)
        response = Server(50, kind, size=10, said=said).answer(DRIVER.request(what, START))
        assert DRIVER.spread(what, DRIVER.request(what, START), response) is None


def test_a_first_page_shorter_than_asked_for_is_no_ground_to_predict_the_others() -> None:
    what = resource("offset", said="total")
    assert DRIVER.spread(what, DRIVER.request(what, START), page({"rows": [{"id": 1}] * 7, "total": 500})) is None


def test_an_absurd_total_does_not_fill_the_memory() -> None:
    what = resource("offset", said="total")
    response = page({"rows": [{"id": 1}] * 10, "total": 10**15})
    ahead = DRIVER.spread(what, DRIVER.request(what, START), response)
    assert ahead is not None
    assert len(ahead) == 1000


@pytest.mark.parametrize(
    ("what", "body"),
    [
        (resource("cursor", said="more"), {"rows": [{"id": 1}], "more": True, "next": None}),
        (resource("last", said="more"), {"rows": [], "more": True}),
        (resource("offset", said="more"), {"rows": [], "more": True}),
        (resource("last", said="more"), {"rows": [{"id": 1}]}),
        (resource("offset", said="more"), {"rows": [{"id": 1}], "more": "perhaps"}),
        (resource("cursor"), {"rows": [], "next": {"x": 1}}),
        (resource("last", said="more"), {"rows": [{"no": 1}], "more": True}),
        (resource("offset"), {"data": []}),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused_and_not_taken_for_the_end(what: Resource, body: Any) -> None:
    with pytest.raises(PayloadError):
        DRIVER.following(what, DRIVER.request(what, START), page(body))


@pytest.mark.parametrize("end", [None, "", False])
def test_every_way_of_saying_no_next_page_ends_the_listing(end: object) -> None:
    for kind in ("cursor", "next"):
        what = resource(kind)
        assert DRIVER.following(what, DRIVER.request(what, START), page({"rows": [{"id": 1}], "next": end})) is None
        assert DRIVER.following(what, DRIVER.request(what, START), page({"rows": [{"id": 1}]})) is None


def test_a_repeated_cursor_ends_in_an_error() -> None:
    what = resource("cursor")
    walk = DRIVER.pages(what, DRIVER.request(what, START))
    next(walk)
    walk.send(page({"rows": [{"id": 1}], "next": "a"}))
    walk.send(page({"rows": [{"id": 2}], "next": "b"}))
    with pytest.raises(PayloadError, match="goes round"):
        walk.send(page({"rows": [{"id": 3}], "next": "a"}))


def test_a_partner_that_ignores_the_page_parameter_is_noticed() -> None:
    what = resource("offset", end="empty")
    server = Server(10, "", size=10)
    with pytest.raises(PayloadError, match="same page") as caught:
        list(steps(DRIVER, what, server, DRIVER.request(what, START)))
    assert "pages.param" in caught.value.hint
    assert server.calls == 3


def test_a_page_seen_twice_in_a_row_is_no_loop_yet() -> None:
    """Newest first, a page's worth of inserts between two calls: the second page is the first again."""
    what = resource("offset", end="empty")
    walk = DRIVER.pages(what, DRIVER.request(what, START))
    next(walk)
    same = page({"rows": [{"id": n} for n in range(10)]})
    walk.send(same)
    walk.send(same)
    assert walk.send(page({"rows": [{"id": n} for n in range(10, 20)]})).cursor == "30"


def test_endless_empty_pages_are_given_up() -> None:
    what = resource("cursor")
    walk = DRIVER.pages(what, DRIVER.request(what, START))
    next(walk)
    with pytest.raises(PayloadError, match="empty pages"):
        for number in range(2000):
            walk.send(page({"rows": [], "next": f"c{number}"}))


@given(before=st.integers(0, 40), length=st.integers(1, 60))
def test_the_guard_finds_any_loop_even_when_its_memory_is_full(before: int, length: int) -> None:
    import syncd.kit.paging as paging

    kept, paging._REMEMBERED = paging._REMEMBERED, 10
    try:
        guard = LoopGuard("rows")
        with pytest.raises(PayloadError, match="goes round"):
            for turn in range(1000):
                guard.turn(str(turn if turn < before else before + (turn - before) % length))
    finally:
        paging._REMEMBERED = kept


def test_the_guard_lets_a_long_listing_pass_in_bounded_memory() -> None:
    guard = LoopGuard("rows")
    for turn in range(60_000):
        guard.turn(str(turn))
    assert len(guard._seen) == 50_000


BASE = "https://api.acme.example/v1"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (f"{BASE}/rows?page=2", "/rows?page=2"),
        ("/v1/rows?page=2", "/rows?page=2"),
        ("?page=2&a=b%2Fc", "/rows?page=2&a=b%2Fc"),
        ("rows?page=2#top", "/rows?page=2"),
        (f"{BASE}/other/rows?cursor=x", "/other/rows?cursor=x"),
        ("https://api.acme.example/v2/rows", "https://api.acme.example/v2/rows"),
        ("https://api.acme.example/v1evil/rows", "https://api.acme.example/v1evil/rows"),
        ("https://evil.example/v1/rows?page=2", "https://evil.example/v1/rows?page=2"),
        ("http://api.acme.example/v1/rows?page=2", "http://api.acme.example/v1/rows?page=2"),
        ("//evil.example/rows", "https://evil.example/rows"),
    ],
)
def test_a_link_below_the_base_url_is_kept_relative_and_any_other_stays_whole(link: str, expected: str) -> None:
    assert relative(link, "/rows", f"{BASE}/rows?limit=5") == expected


def test_a_relative_cursor_survives_a_change_of_host() -> None:
    what = resource("next")
    cursor = relative("http://127.0.0.1:4001/v1/rows?page=2&limit=1", "/rows", "http://127.0.0.1:4001/v1/rows?page=1")
    request = DRIVER.request(what, Checkpoint("acme", "rows", cursor=cursor))
    assert (request.path, request.params, request.route) == ("/rows", (("page", "2"), ("limit", "1")), "/rows")


def test_a_link_never_keeps_the_credential_it_echoes() -> None:
    driver = RestDriver(DriverSpec.model_validate({"name": "acme", "auth": {"kind": "api_key", "query": "api_key"}}))
    what = resource("next")
    first = driver.request(what, START)
    body = {"rows": [{"id": 1}], "next": "/v1/rows?api_key=s3cr3t&page=2&flag&x=%20"}
    following = driver.following(what, first, page(body, f"{BASE}/rows"))
    assert following is not None
    assert following.cursor == "/rows?page=2&flag&x=%20"
    assert "s3cr3t" not in repr(following)
    stored = driver.request(what, Checkpoint("acme", "rows", cursor="/rows?page=2&api_key=s3cr3t"))
    assert "s3cr3t" not in repr(stored.params)
    assert without("/rows?a=1", frozenset({"b"})) == "/rows?a=1"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('<https://x/y?page=2>; rel="next"', "https://x/y?page=2"),
        ('<https://x/y,z?a=1,2>; title="a, b"; rel=next', "https://x/y,z?a=1,2"),
        ('<https://x/1>; rel="prev first", <https://x/3>; rel="last next"', "https://x/3"),
        ('<https://x/1>; rel="nextish"', None),
        ("garbage", None),
        ("", None),
        ("<>; rel=next", None),
    ],
)
def test_the_link_header_is_read_as_the_standard_says(header: str, expected: str | None) -> None:
    assert next_link(page({}, link=header)) == expected


def test_a_stored_cursor_that_is_no_number_is_refused() -> None:
    what = resource("offset")
    with pytest.raises(PayloadError, match="cursor"):
        DRIVER.request(what, Checkpoint("acme", "rows", cursor="abc"))


def test_body_parameters_do_not_leak_from_one_call_to_the_next() -> None:
    what = resource("offset", place="body").model_copy(update={"body": {"page": {"sort": "id"}, "filter": {}}})
    first = DRIVER.request(what, START)
    following = DRIVER.following(what, first, page({"rows": [{"id": 1}] * 10}))
    assert following is not None
    assert first.json == {"page": {"sort": "id", "limit": 10}, "filter": {}}
    assert following.json == {"page": {"sort": "id", "limit": 10, "offset": 10}, "filter": {}}
    assert what.body == {"page": {"sort": "id"}, "filter": {}}
