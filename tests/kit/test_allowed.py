"""Scopes: which are needed, which are missing, and what an answer says of them."""

from __future__ import annotations

import pytest

from syncd import drivers
from syncd.errors import PayloadError
from syncd.kit.allowed import Asked, Scopes, split, told
from syncd.model import Headers, Request, Response

SCOPES = Scopes.model_validate(
    {
        "implied": {"read-write": "read"},
        "always": ["base:read"],
        "webhooks": ["hook:read-write"],
        "resources": {"tasks": ["task:read"], "entries_*": ["entry:read"], "*": ["record:read"]},
    }
)


def answer(body: bytes) -> Response:
    return Response(200, Headers({"content-type": "application/json"}), body, Request("/self"))


@pytest.mark.parametrize(
    ("resources", "webhooks", "needed"),
    [
        ([], False, ["base:read"]),
        (["tasks"], False, ["base:read", "task:read"]),
        (["entries_one", "people"], False, ["base:read", "entry:read", "record:read"]),
        (["tasks"], True, ["base:read", "hook:read-write", "task:read"]),
    ],
)
def test_what_is_needed_follows_from_what_is_synced(resources: list[str], webhooks: bool, needed: list[str]) -> None:
    assert SCOPES.needed(resources, webhooks=webhooks) == needed


def test_a_wider_scope_holds_the_narrower_one() -> None:
    assert SCOPES.missing(["task:read", "hook:read-write"], ["task:read-write", "hook:read"]) == ["hook:read-write"]


def test_scopes_are_read_from_a_text_or_a_list() -> None:
    assert split("b a,c") == split(["c", "b", "a"]) == ("a", "b", "c")
    assert split("") == ()


def test_an_answer_tells_scopes_an_end_and_whether_it_lives() -> None:
    asked = Asked(path="/self", scopes="scope", valid="active", expires="exp")
    granted = told(asked, answer(b'{"active": true, "scope": "a b", "exp": 1800000000}'))
    assert (granted.scopes, granted.valid, granted.expires_at is not None) == (("a", "b"), True, True)
    assert not told(asked, answer(b'{"active": false}')).valid
    with pytest.raises(PayloadError, match="no scopes"):
        told(asked, answer(b'{"active": true}'))


def test_every_scope_a_driver_needs_is_of_a_resource_it_has() -> None:
    for name in drivers.names():
        spec = drivers.load(name).spec if name != "rest" else None
        if spec is None:
            continue
        known = {*spec.resources, *spec.alternatives}
        plain = {one for one in spec.scopes.resources if "*" not in one}
        assert plain <= known, name
