"""A record that a list and a single read show in different shapes, and one that is listed below several parents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd.codec import dumps, fingerprint
from syncd.errors import PayloadError
from syncd.kit import Headers, Resource, Response

ORDERS = Resource.model_validate(
    {
        "name": "orders",
        "path": "/orders",
        "sparse": True,
        "updated": "changed",
        "compared": ["status", "asset_id", "n"],
        "fields": {
            "status": {"as": "text"},
            "asset_id": {"from": "assetId || asset.id", "as": "integer"},
            "place": {"from": "asset.place.name"},
            "n": {"as": "integer"},
            "only_alone": {"from": "extra"},
        },
    }
)
MEMBERS = Resource.model_validate(
    {
        "name": "members",
        "path": "/teams/{parent.id}/members",
        "parent": "teams",
        "records": "members",
        "adopt": "teamId",
        "id": ["teamId", "id"],
        "fields": {"team_id": {"from": "teamId", "as": "text"}},
    }
)


def told(raw: dict[str, Any]) -> bytes:
    return fingerprint(ORDERS.reader.hashable(raw), "v1")[1]


def members(url: str, *rows: Any) -> list[Any]:
    response = Response(200, Headers(), dumps({"members": list(rows)}), url=url)
    return [item.raw for item in MEMBERS.reader.items(response)]


def test_what_both_shapes_have_tells_whether_a_record_changed() -> None:
    listed = {"id": 1, "status": "open", "asset": {"id": 7}, "n": 2, "thumbnail": "https://files.example/1"}
    alone = {
        "id": 1,
        "status": "open",
        "assetId": 7,
        "n": 2,
        "extra": {"erp": 1},
        "thumbnail": "https://files.example/2",
    }
    assert told(listed) == told(alone)
    for change in ({"status": "done"}, {"n": 3}, {"asset": {"id": 8}}):
        assert told({**listed, **change}) != told(listed)
    assert told({"id": 1, "status": "open", "asset": {"id": 7}, "n": None}) == told(
        {"id": 1, "status": "open", "assetId": 7}
    )
    with pytest.raises(PayloadError, match="field n"):
        ORDERS.reader.hashable({**listed, "n": "many"})


def test_null_on_the_way_is_told_and_a_missing_key_is_not() -> None:
    normalize = ORDERS.reader.shape().normalize
    assert normalize({"asset": None})["asset_id"] is None and normalize({"asset": None})["place"] is None
    assert normalize({"assetId": None})["asset_id"] is None
    assert "asset_id" not in normalize({}) and "place" not in normalize({})
    assert "place" not in normalize({"asset": {"id": 1}}), "the place was not told of"
    assert normalize({"assetId": 5, "asset": None})["asset_id"] == 5


KEYS = st.sampled_from(["asset", "assetId", "id", "place", "name", "status", "n"])
LEAVES = st.none() | st.integers() | st.text(max_size=3)


@given(st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=4), max_leaves=9))
def test_whatever_stands_there_is_read_or_refused(raw: Any) -> None:
    if not isinstance(raw, dict):
        return
    try:
        ORDERS.reader.hashable(raw)
    except PayloadError as error:
        assert str(error).startswith("field ")


def test_a_record_below_several_parents_is_several_records() -> None:
    rows = [
        raw
        for team in ("12", "a%3A%2Fb")
        for raw in members(f"https://x.example/v1/teams/{team}/members?limit=2", {"id": 8})
    ]
    assert [MEMBERS.reader.identify(raw).external_id for raw in rows] == ["12:8", "a%3A/b:8"]
    assert rows[1]["teamId"] == "a:/b"
    assert members("https://x.example/v1/teams/12/members", "text") == [{"value": "text"}]
    assert members("https://elsewhere.example/") == [], "where nothing is listed nothing has to be known"
    with pytest.raises(PayloadError, match="does not end as"):
        members("https://x.example/v1/people", {"id": 8})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"compared": ["nothing"]}, "compared: there is no field 'nothing'"),
        ({"compared": ["n"], "volatile": ["x"]}, "`volatile` does not go with it"),
        ({"adopt": "parent"}, "`adopt` needs {parent.id} in the path"),
    ],
)
def test_a_description_that_cannot_work_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Resource.model_validate({"name": "x", "path": "/x", "fields": {"n": "n"}, **more})
    assert said in str(caught.value)
