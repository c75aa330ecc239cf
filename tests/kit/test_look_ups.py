"""Which record is the one that a push made: told from others by all that was pushed, and never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd import drivers
from syncd.codec import dumps
from syncd.errors import UnknownOutcomeError
from syncd.kit import Change, Headers, Resource, Response, look_ups, pushing

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LOOK: dict[str, Any] = {"path": "/tasks", "records": "items", "made": "made"}
SAME = {"text": "{data.text}", "due": "{data.due}", "links": "{data.links}"}
FIELDS = {"text": "text", "due": {"default": None}, "links": {"as": "list", "default": []}}


def tasks(**look_up: Any) -> Resource:
    rules = {"path": "/tasks", "fields": FIELDS, "look_up": {**LOOK, "same": SAME, **look_up}}
    return Resource.model_validate({"name": "tasks", "path": "/tasks", "pushes": {"p": rules}})


def change(**data: Any) -> Change:
    return Change("tasks", None, "p", data, "k1", NOON)


def answer(*items: dict[str, Any], date: datetime | None = None, asked: datetime | None = None) -> Response:
    headers = {} if date is None else {"date": f"{date:%a, %d %b %Y %H:%M:%S} GMT"}
    return Response(200, Headers(headers), dumps({"items": list(items)}), requested_at=asked, elapsed_seconds=1.0)


def task(**more: Any) -> dict[str, Any]:
    return {"text": "x", "due": None, "links": [], "made": "2026-11-22T12:00:01Z", "done": False, **more}


@pytest.mark.parametrize(
    ("pushed", "shown", "ours"),
    [
        ({}, {}, True),
        ({}, {"links": [{"kind": "a", "id": "1"}]}, False),
        ({}, {"due": "2026-12-01T00:00:00Z"}, False),
        ({"due": "2026-12-01T00:00:00Z"}, {"due": "2026-12-01T00:00:00.000000000Z"}, True),
        ({"due": "2026-12-01T01:00:00+01:00"}, {"due": "2026-12-01T00:00:00Z"}, True),
        ({"due": "2026-12-01T00:00:00Z"}, {"due": "2026-12-02T00:00:00Z"}, False),
        ({"links": [{"to": "p", "id": "1"}]}, {"links": [{"to_kind": "p", "id": "1"}]}, True),
        ({"links": [{"to": "p", "id": "1"}]}, {"links": [{"to_kind": "p", "id": "2"}]}, False),
        ({"links": [{"id": "1"}, {"id": "2"}]}, {"links": [{"id": "2"}, {"id": "1"}]}, True),
        ({"links": [{"id": "1"}, {"id": "1"}]}, {"links": [{"id": "2"}, {"id": "1"}]}, False),
        ({"links": [{"id": "1"}]}, {"links": [{"id": "1"}, {"id": "2"}]}, False),
        ({"links": [{"id": "1", "deep": {"a": 1}}]}, {"links": [{"id": "1", "deep": {"a": 1, "b": 2}}]}, True),
        ({"links": [{"id": "1", "deep": {"a": 1}}]}, {"links": [{"id": "1", "deep": {"a": 3, "b": 2}}]}, False),
    ],
)
def test_all_that_was_pushed_has_to_be_there_and_nothing_where_nothing_was(
    pushed: dict[str, Any], shown: dict[str, Any], ours: bool
) -> None:
    assert look_ups.already(tasks(), change(text="x", **pushed), answer(task(**shown))) is ours


def test_what_says_the_same_in_words_that_cannot_be_compared_is_not_guessed_at() -> None:
    pushed = change(text="x", links=[{"email": "ada@example.com"}])
    with pytest.raises(UnknownOutcomeError, match="may be the one it made, and its links cannot be compared"):
        look_ups.already(tasks(), pushed, answer(task(links=[{"id": "1"}])))
    assert not look_ups.already(tasks(), pushed, answer(task(links=[]))), "another number of them"
    assert not look_ups.already(tasks(), pushed, answer(task(text="y", links=[{"id": "1"}]))), "other words"


@pytest.mark.parametrize(
    ("made", "date", "verdict"),
    [
        ("2026-11-22T12:00:01Z", None, True),
        ("2026-11-22T11:59:58.5Z", None, True),
        ("2026-11-22T11:59:00Z", None, None),
        ("2026-11-22T11:57:00Z", None, False),
        (None, None, True),
        # Its clock is a minute behind ours: what it calls a minute before is just after.
        ("2026-11-22T11:59:01Z", NOON - timedelta(seconds=59), True),
        ("2026-11-22T11:58:30Z", NOON - timedelta(seconds=59), None),
    ],
)
def test_one_like_it_made_shortly_before_it_left_may_be_another(
    made: str | None, date: datetime | None, verdict: bool | None
) -> None:
    shown = answer(task(made=made), date=date, asked=NOON)
    if verdict is None:
        with pytest.raises(UnknownOutcomeError, match="one like it was made shortly before it left"):
            look_ups.already(tasks(), change(text="x"), shown)
    else:
        assert look_ups.already(tasks(), change(text="x"), shown) is verdict


def test_one_that_bears_our_key_is_ours_whatever_its_clock_says_and_one_sure_one_is_enough() -> None:
    early = task(made="2026-11-22T11:59:00Z", ref="k1")
    assert look_ups.already(tasks(same={"ref": "{key}"}), change(text="x"), answer(early))
    assert look_ups.already(tasks(), change(text="x"), answer(early, task()))


def test_what_a_push_lacks_is_sent_as_its_default_says() -> None:
    assert pushing.push(tasks(), change(text="x")).json == {"text": "x", "due": None, "links": []}
    given = pushing.push(tasks(), change(text="x", due="2026-12-01T00:00:00Z", links=None)).json
    assert given == {"text": "x", "due": "2026-12-01T00:00:00Z", "links": None}
    pushing.check(tasks(), change(text="x"), None)


def attio(**told: Any) -> dict[str, Any]:
    return {
        "id": {"workspace_id": "w", "task_id": "t1"},
        "content_plaintext": "Follow up",
        "created_at": "2026-11-22T12:00:01.000000000Z",
        "deadline_at": None,
        "is_completed": False,
        "linked_records": [],
        "assignees": [],
        **told,
    }


@pytest.mark.parametrize(
    ("told", "ours"),
    [
        ({"linked_records": [{"target_object_id": "people", "target_record_id": "b"}]}, True),
        ({"linked_records": [{"target_object_id": "people", "target_record_id": "a"}]}, False),
        ({}, False),
    ],
)
def test_a_task_of_attios_for_another_record_is_another_task(told: dict[str, Any], ours: bool) -> None:
    driver = drivers.load("attio")
    resource = driver.resources({})["tasks"]
    links = [{"target_object": "people", "target_record_id": "b"}]
    pushed = Change("tasks", None, "create", {"content": "Follow up", "linked_records": links}, "k", NOON)
    shown = Response(200, Headers(), dumps({"data": [attio(**told)]}))
    assert driver.already(resource, pushed, shown) is ours
    assert driver.push(resource, pushed).json == {
        "data": {
            "content": "Follow up",
            "format": "plaintext",
            "deadline_at": None,
            "is_completed": False,
            "linked_records": links,
            "assignees": [],
        }
    }


def test_what_is_not_on_the_first_of_several_pages_is_not_known_to_be_missing() -> None:
    driver = drivers.load(
        "rest",
        partner="inn",
        rest={
            "resources": {
                "tasks": {
                    "path": "/tasks",
                    "one": {"path": "/tasks/{id}"},
                    "pushes": {
                        "p": {
                            "path": "/tasks",
                            "fields": {"text": "text"},
                            "look_up": {**LOOK, "same": {"text": "{data.text}"}, "more": "next"},
                        },
                        "each": {
                            "path": "/tasks",
                            "look_up": {**LOOK, "same": {"text": "{data.text}"}, "more": "next", "each": True},
                        },
                    },
                }
            }
        },
    )
    resource, pushed = driver.resources({})["tasks"], change(text="x")

    def page(text: str, **more: Any) -> Response:
        return Response(200, Headers({}), dumps({"items": [{**task(), "text": text, "id": "1"}], **more}))

    assert driver.already(resource, pushed, page("x", next="2"))
    assert not driver.already(resource, pushed, page("y", next=None))
    with pytest.raises(UnknownOutcomeError, match="another page follows"):
        driver.already(resource, pushed, page("y", next="2"))
    each = Change("tasks", None, "each", {"text": "x"}, "k1", NOON)
    assert len(driver.look_up_each(resource, each, page("y", next="")) or ()) == 1
    with pytest.raises(UnknownOutcomeError, match="another page follows"):
        driver.look_up_each(resource, each, page("y", next="2"))
