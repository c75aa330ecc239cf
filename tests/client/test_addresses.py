from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.client.addresses import Addresses, fill, origin_of
from syncd.errors import ConfigError, RejectedError
from syncd.model import Request

ADDRESSES = Addresses("https://api.acme.example/v2", origins=["https://media.acme.example:8443"])


def url(path: str, **params: object) -> str:
    return ADDRESSES.target(Request(path, params=params)).url


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/listings", "https://api.acme.example/v2/listings"),
        ("listings", "https://api.acme.example/v2/listings"),
        ("", "https://api.acme.example/v2"),
        ("/a%2Fb", "https://api.acme.example/v2/a%2Fb"),
        ("/größe", "https://api.acme.example/v2/gr%C3%B6%C3%9Fe"),
        ("/100%", "https://api.acme.example/v2/100%25"),
        ("/list?after=x%3D&n=1", "https://api.acme.example/v2/list?after=x%3D&n=1"),
        ("https://api.acme.example/other?page=2#top", "https://api.acme.example/other?page=2"),
        ("https://API.ACME.example:443/v2/x", "https://api.acme.example/v2/x"),
        ("https://media.acme.example:8443/p.jpg", "https://media.acme.example:8443/p.jpg"),
    ],
)
def test_paths_and_allowed_links_become_urls(path: str, expected: str) -> None:
    assert url(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/v2/listings",
        "http://api.acme.example/v2/listings",
        "https://api.acme.example:444/x",
        "https://media.acme.example/p.jpg",
        "https://api.acme.example.evil.example/",
        "https://api.acme.example@evil.example/",
        "https://user:pw@api.acme.example/v2",
        "https://api.acme.example\\@evil.example/",
        "https://api.acme.example\t.evil.example/",
        "https://xn--80ak6aa92e.com/",
        "ftp://api.acme.example/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//evil.example/x",
        "/listings/../../admin",
        "/listings/%2e%2E/admin",
        "/listings/..",
        "/./x",
        "/list#fragment",
        "/list\r\nHost: evil.example",
        "/li st",
        "/li\\st",
        "https://api.acme.example/a/../b",
        "/" + "a" * 20_000,
    ],
)
def test_what_may_not_be_called_is_refused(path: str) -> None:
    with pytest.raises(RejectedError):
        url(path)


def test_a_refused_link_is_told_without_its_query() -> None:
    with pytest.raises(RejectedError) as caught:
        url("https://evil.example/x?api_key=TOPSECRET")
    assert "TOPSECRET" not in str(caught.value) + caught.value.hint
    assert "https://evil.example" in str(caught.value)
    assert "origins" in caught.value.hint


def test_parameters_repeat_for_lists_and_vanish_for_none() -> None:
    assert url("/a", tag=["x y", "ü"], flag=True, gone=None, n=3).endswith("/a?tag=x%20y&tag=%C3%BC&flag=true&n=3")


def test_parameters_replace_those_of_a_link() -> None:
    target = ADDRESSES.target(Request("https://api.acme.example/v2/a?page=1&size=5&page=2", params={"page": 3}))
    assert target.path == "/v2/a?size=5&page=3"


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user:pw@api.acme.example",
        "https://user@api.acme.example",
        "ftp://api.acme.example",
        "api.acme.example",
        "https://",
        "https://api.acme.example:port",
        "https://api.acme.example/v2?key=x",
        "https://api.acme.example/v2#x",
        "https://api.acme.example/../v2",
        "https://api.acme.example/v 2",
    ],
)
def test_a_base_url_that_is_none_is_a_configuration_error(base_url: str) -> None:
    with pytest.raises(ConfigError):
        Addresses(base_url)


def test_only_the_origin_of_base_url_is_home() -> None:
    assert ADDRESSES.target(Request("/x")).home
    assert not ADDRESSES.target(Request("https://media.acme.example:8443/x")).home


def test_a_token_endpoint_stands_at_the_root_or_wherever_the_driver_says() -> None:
    assert ADDRESSES.trusted("/oauth/token").url == "https://api.acme.example/oauth/token"
    elsewhere = ADDRESSES.trusted("https://login.acme.example/token")
    assert (elsewhere.url, elsewhere.home) == ("https://login.acme.example/token", False)
    for bad in ("http://login.acme.example/token", "//login.acme.example", "token", "https://u:p@x.example/"):
        with pytest.raises(ConfigError):
            ADDRESSES.trusted(bad)


def test_a_redirect_is_read_relative_to_where_it_was_met() -> None:
    seen = ADDRESSES.target(Request("/lists/1?x=1"))
    assert ADDRESSES.link(seen, "../2").url == "https://api.acme.example/v2/2"
    assert ADDRESSES.link(seen, "/v3?y=2").url == "https://api.acme.example/v3?y=2"
    for bad in ("//evil.example/", "http://api.acme.example/v2", "https://evil.example", "https://é.example/", "a b"):
        with pytest.raises(RejectedError):
            ADDRESSES.link(seen, bad)


def test_ipv6_and_ports_keep_their_place() -> None:
    assert str(origin_of("http://[::1]:8080/x")) == "http://[::1]:8080"
    assert str(origin_of("https://h:443")) == "https://h"


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text not in {".", ".."})


@given(ids)
def test_no_id_climbs_out_of_its_segment(one: str) -> None:
    target = ADDRESSES.target(Request(fill("/listings/{id}/photos", {"id": one})))
    parts = urlsplit(target.url)
    assert parts.netloc == "api.acme.example"
    assert (parts.query, parts.fragment) == ("", "")
    segments = parts.path.split("/")
    assert segments[:3] + segments[4:] == ["", "v2", "listings", "photos"]
    assert unquote(segments[3]) == one


@pytest.mark.parametrize("one", ["", ".", "..", "a\ud800"])
def test_ids_that_no_quoting_makes_harmless_are_refused(one: str) -> None:
    with pytest.raises(RejectedError):
        fill("/listings/{id}", {"id": one})


values = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(values, values), max_size=4))
def test_parameters_arrive_as_they_were_given(pairs: list[tuple[str, str]]) -> None:
    target = ADDRESSES.target(Request("/a", params=tuple(pairs)))
    assert parse_qsl(urlsplit(target.url).query, keep_blank_values=True) == pairs
    assert target.path.isascii() and target.path.isprintable() and " " not in target.path


@given(st.text())
def test_a_link_stays_in_the_allowed_origins_or_is_refused(text: str) -> None:
    for link in (text, f"https://{text}", f"https://api.acme.example{text}"):
        try:
            target = ADDRESSES.target(Request(link))
        except RejectedError:
            continue
        assert urlsplit(target.url).netloc in {"api.acme.example", "media.acme.example:8443"}
        assert target.origin in ADDRESSES.allowed
