"""What the samples cannot say of the maintainx driver: options, two shapes of one record, pushes, subscriptions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import drivers
from syncd.codec import dumps, fingerprint
from syncd.errors import ConfigError, PayloadError, RejectedError, UnknownOutcomeError
from syncd.kit import Change, Checkpoint, Delivery, Headers, Mode, Request, Response, Secret, Verdict, signatures
from syncd.kit.pushing import STATE
from syncd.kit.receiver import Accepted, Receiver

DRIVER = drivers.load("maintainx")
SAMPLES = Path(drivers.folder("maintainx")) / "samples"
NOW = datetime(2026, 3, 4, 9, 15, 30, tzinfo=UTC)
URL = "https://sync.example.com/hooks/maintainx"


def raw(name: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((SAMPLES / f"{name}.json").read_bytes())["raw"]
    return found


def change(kind: str, external_id: str | None = "7301245", resource: str = "work_orders", **data: Any) -> Change:
    return Change(resource, external_id, kind, data, "k1", NOW)


def pushed(kind: str, options: dict[str, Any] | None = None, **more: Any) -> Request:
    wanted = change(kind, **more)
    resource = DRIVER.resources(options or {})[wanted.resource]
    DRIVER.check(resource, wanted, None)
    return DRIVER.push(resource, wanted)


def answer(body: Any, status: int = 200) -> Response:
    return Response(status, Headers(), dumps(body))


# Options.


def test_the_organization_is_named_only_where_a_file_names_it() -> None:
    assert DRIVER.headers({}) == {}
    assert DRIVER.headers({"organization_id": 4412}) == {"x-organization-id": "4412"}


def test_our_words_for_a_closed_work_order_are_sent_as_theirs() -> None:
    for word in ("CLOSED", "COMPLETED", "DONE"):
        assert pushed("status", status=word).json == {"status": "DONE"}
        assert pushed("status", {"closed_maps_to": "CANCELED"}, status=word).json == {
            "status": "DONE" if word == "DONE" else "CANCELED"
        }
    with pytest.raises(RejectedError, match="field status: is none of OPEN"):
        pushed("status", status="SKIPPED")


TABLE = {
    "OPEN": {"IN_PROGRESS", "ON_HOLD", "DONE", "CANCELED"},
    "IN_PROGRESS": {"OPEN", "ON_HOLD", "DONE", "CANCELED"},
    "ON_HOLD": {"OPEN", "IN_PROGRESS", "DONE", "CANCELED"},
    "DONE": set(),
    "CANCELED": set(),
    "SKIPPED": set(),
}


@pytest.mark.parametrize("options", [{}, {"reopen": True}, {"transitions": {"DONE": ["IN_PROGRESS"], "OPEN": []}}])
def test_a_work_order_moves_by_the_table_and_by_what_options_make_of_it(options: dict[str, Any]) -> None:
    table = {state: set(after) for state, after in TABLE.items()}
    if options.get("reopen"):
        table["DONE"], table["CANCELED"] = {"OPEN"}, {"OPEN"}
    table |= {state: set(after) for state, after in options.get("transitions", {}).items()}
    resource = DRIVER.resources(options)["work_orders"]
    for old, after in table.items():
        for new in ("OPEN", "IN_PROGRESS", "ON_HOLD", "DONE", "CANCELED"):
            if new in after or new == old:
                DRIVER.check(resource, change("status", status=new), {"status": old})
                continue
            with pytest.raises(RejectedError, match=f"{old} cannot become {new}") as caught:
                DRIVER.check(resource, change("status", status=new), {"status": old})
            assert caught.value.code == STATE
    assert DRIVER.spec.resources["work_orders"].pushes["status"].transitions is not None
    assert DRIVER.resources({})["work_orders"].pushes["status"].transitions.allowed["DONE"] == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [{"OPEN": "DONE"}, {"OPEN": ["CLOSED"]}, {"OPEN": ["SKIPPED"]}, {"LATER": []}])
def test_a_table_with_a_status_there_is_not_is_a_finding(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"options\.transitions"):
        DRIVER.resources({"transitions": wrong})
    assert DRIVER.facts({"transitions": wrong}).findings


def test_our_own_writes_are_silent_only_where_a_file_says_so() -> None:
    for resource in DRIVER.spec.resources.values():
        assert all("skipWebhook" not in push.params for push in resource.pushes.values())
    silent = DRIVER.resources({"skip_webhooks": True})
    assert all(
        push.params["skipWebhook"] == "true" for resource in silent.values() for push in resource.pushes.values()
    )
    asked = dict(pushed("fields", {"skip_webhooks": True}, title="x").params)
    assert asked["skipWebhook"] == "true" and "asset" in asked["expand"]


# Reading.


def test_scheduled_work_orders_are_asked_for_always_and_changes_in_their_order() -> None:
    orders = DRIVER.resources({})["work_orders"]
    for mode, since in ((Mode.FULL, None), (Mode.INCREMENTAL, NOW)):
        params = dict(DRIVER.request(orders, Checkpoint("x", "work_orders", mode=mode, since=since)).params)
        assert params["show_upcoming"] == "true"
        assert params["sort"] == ("createdAt" if since is None else "updatedAt")
        assert params.get("updatedAt[gte]") == (None if since is None else "2026-03-04T09:15:30.000Z")


@pytest.mark.parametrize("name", ["assets", "parts", "purchase_orders"])
def test_what_pages_by_offset_is_asked_for_in_an_order_that_changes_do_not_disturb(name: str) -> None:
    for since in (None, NOW):
        request = DRIVER.request(DRIVER.resources({})[name], Checkpoint("x", name, since=since))
        assert dict(request.params)["sort"] == "id"


def test_a_list_and_a_single_read_make_one_record_and_neither_passes_for_a_change_of_the_other() -> None:
    orders = DRIVER.resources({})["work_orders"]
    listed, alone = raw("work_orders.listed"), {**raw("work_orders.alone"), "partStatus": "ASSIGNED"}
    alone |= {"lastMessageSentAt": listed["lastMessageSentAt"]}
    of_list, of_one = (DRIVER.normalize(orders, one).data for one in (listed, alone))
    assert {name: of_list[name] for name in orders.compared if name in of_list} == {
        name: of_one[name] for name in orders.compared if name in of_list
    }
    assert "external_data" not in of_list, "a list that leaves it out does not clear it"
    hashes = {fingerprint(DRIVER.hashable(orders, one), "v1")[1] for one in (listed, alone)}
    assert len(hashes) == 1
    moved = {**alone, "lastMessageSentAt": "2026-03-04T10:00:00.000Z"}
    assert fingerprint(DRIVER.hashable(orders, moved), "v1")[1] not in hashes, "a comment is a change"


def test_an_asset_that_was_taken_away_is_told_by_either_shape() -> None:
    orders = DRIVER.resources({})["work_orders"]
    for shape in ({"asset": None}, {"assetId": None}):
        told = {**raw("work_orders.barely-anything"), **shape}
        assert DRIVER.normalize(orders, told).data["asset_id"] is None
    bare = raw("work_orders.barely-anything")
    del bare["asset"]
    assert "asset_id" not in DRIVER.normalize(orders, bare).data, "not asked for is not taken away"


def test_a_comment_has_its_work_order_read_and_its_comments_listed() -> None:
    sample = orjson.loads((SAMPLES / "comment.webhook.json").read_bytes())
    delivery = Delivery(sample["body"].encode(), Headers(), route="NEW_COMMENT_ON_WORK_ORDER")
    order, comments = DRIVER.events(delivery)
    assert (order.resource, order.external_id, order.raw) == ("work_orders", "7301245", None)
    assert (comments.resource, comments.parent_id) == ("work_order_comments", "7301245")
    assert DRIVER.event_type(delivery) == "NEW_COMMENT_ON_WORK_ORDER"


@given(st.sampled_from(sorted(DRIVER.spec.webhooks.routes)), st.dictionaries(st.text(max_size=8), st.integers()))  # type: ignore[union-attr]
def test_nothing_an_event_carries_is_taken_for_a_record(route: str, body: dict[str, Any]) -> None:
    told = {**body, "newWorkOrder": {"title": "x"}, "WorkOrder": {"title": "x"}, "newPart": {"name": "x"}}
    try:
        events = DRIVER.events(Delivery(dumps(told), Headers(), route=route))
    except PayloadError:
        return
    assert all(event.raw is None for event in events)


# Signatures of the address.


def judged(mode: str, url: str, *, uri: str | None = None) -> tuple[object, bool]:
    sample = orjson.loads((SAMPLES / "status.webhook.json").read_bytes())
    rules = DRIVER.spec.webhooks.model_copy(update={"signed_url": mode})  # type: ignore[union-attr]
    driver = type(DRIVER)(DRIVER.spec.model_copy(update={"webhooks": rules}))
    headers = dict(sample["headers"])
    name = "x-maintainx-webhook-uri-signature"
    headers = {key: value for key, value in headers.items() if key != name or uri != ""}
    if uri:
        headers[name] = uri
    receiver = Receiver("maintainx", "plant", driver, [Secret(sample["secrets"][0])], url=url)
    path = "/webhooks/maintainx/plant/WORK_ORDER_STATUS_CHANGE"
    delivery = Delivery(sample["body"].encode(), Headers(headers), path, route="WORK_ORDER_STATUS_CHANGE")
    return receiver.judge(delivery, NOW), receiver.doubted


@pytest.mark.parametrize("mode", ["off", "warn", "reject"])
def test_an_address_that_is_ours_is_taken_however_strict_one_is(mode: str) -> None:
    verdict, doubted = judged(mode, URL)
    assert isinstance(verdict, Accepted) and not doubted


def test_an_address_that_is_another_is_said_or_refused_or_not_looked_at() -> None:
    for url, uri in (("https://inside.example/maintainx", None), (URL, ""), (URL, "t=1,v1=00"), (URL, "nonsense")):
        taken, doubted = judged("warn", url, uri=uri)
        assert isinstance(taken, Accepted) and doubted
        assert getattr(judged("reject", url, uri=uri)[0], "reason", "") == "signature"
        taken, doubted = judged("off", url, uri=uri)
        assert isinstance(taken, Accepted) and not doubted
    taken, doubted = judged("reject", "")
    assert isinstance(taken, Accepted) and not doubted, "without a public address there is nothing to hold it against"


def test_the_vectors_of_the_facts_are_what_is_signed() -> None:
    secret, moment = "mx_whsec_7Qd2vK0rTn", "1772615728"
    uri = f"{URL}/WORK_ORDER_STATUS_CHANGE".encode()
    seal = f"t={moment},v1=512b1c5177614ceedf180204ed6cf24766ca421257cad9f7bb5023de1416a0f2"
    assert signatures.sign_stamped(uri, moment, secret) == seal
    assert signatures.maintainx(uri, seal, [secret], 1772615730.0) is Verdict.FITS
    assert signatures.maintainx(uri, seal, [secret], 1772615730.0 + 300) is Verdict.STALE


# Pushes.


def test_each_push_is_the_documented_call() -> None:
    made = pushed(
        "create",
        None,
        external_id=None,
        title="Belt",
        priority="LOW",
        workRequestId=9,
        assignees={"type": "USER", "id": 1},
    )
    assert (made.method, made.path, made.json) == (
        "POST",
        "/workorders",
        {"title": "Belt", "priority": "LOW", "workRequestId": 9, "assignees": [{"type": "USER", "id": 1}],
         "externalData": {"syncd": "k1"}},
    )  # fmt: skip
    fields = pushed("fields", title="Belt 3", dueDate="2026-03-20T00:00:00.000Z")
    assert (fields.method, fields.path, fields.json) == (
        "PATCH", "/workorders/7301245", {"title": "Belt 3", "dueDate": "2026-03-20T00:00:00.000Z"},
    )  # fmt: skip
    with pytest.raises(RejectedError, match="field status"):
        pushed("fields", status="DONE")  # PATCH /workorders/{id} has no status
    status = pushed("status", status="DONE")
    assert (status.method, status.path) == ("PATCH", "/workorders/7301245/status")
    comment = pushed("comment", content="Again")
    assert (comment.method, comment.path, comment.json) == (
        "POST",
        "/workorders/7301245/comments",
        {"content": "Again"},
    )
    gone = pushed("delete")
    assert (gone.method, gone.path, gone.json) == ("DELETE", "/workorders/7301245", None)
    parts = pushed("part_status", partStatus="KITTED")
    assert (parts.method, parts.path, parts.json) == (
        "PATCH",
        "/workorders/7301245/partStatus",
        {"partStatus": "KITTED"},
    )
    asset = pushed("status", resource="assets", external_id="5", status="OFFLINE", downtimeType="UNPLANNED")
    assert (asset.method, asset.path, asset.json) == (
        "POST", "/assets/5/status", {"status": "OFFLINE", "downtimeType": "UNPLANNED"},
    )  # fmt: skip
    order = pushed("status", resource="purchase_orders", external_id="7", status="APPROVED")
    assert (order.method, order.path, order.json) == ("PATCH", "/purchaseorders/7/status", {"status": "APPROVED"})
    request = pushed("create", resource="work_requests", external_id=None, title="Oil")
    assert (request.method, request.path, request.json) == ("POST", "/workrequests", {"title": "Oil"})


def test_a_created_one_is_looked_for_by_title_and_time_and_told_by_our_key() -> None:
    orders = DRIVER.resources({})["work_orders"]
    wanted = change("create", None, title="Belt", priority="LOW")
    request = DRIVER.look_up(orders, wanted)
    assert request is not None
    params = dict(request.params)
    assert (params["title"], params["show_upcoming"], params["createdAt[gte]"]) == (
        "Belt",
        "true",
        "2026-03-04T09:13:30.000Z",
    )
    rows = [{"id": 1, "createdAt": "2026-03-04T09:00:00.000Z"}, {"id": 2, "createdAt": "2026-03-04T09:15:31.000Z"}]
    each = DRIVER.look_up_each(orders, wanted, answer({"workOrders": rows}))
    assert each is not None and [one.path for one in each] == ["/workorders/2"]
    for data, there in (({"syncd": "k1"}, True), ({"syncd": "k2"}, False), (None, False), ("text", False)):
        shown = answer({"workOrder": {"id": 2, "externalData": data}})
        assert DRIVER.already(orders, wanted, shown) is there
    many = [{"id": number, "createdAt": "2026-03-04T09:16:00.000Z"} for number in range(21)]
    with pytest.raises(UnknownOutcomeError, match="21 records"):
        DRIVER.look_up_each(orders, wanted, answer({"workOrders": many}))


def test_a_comment_of_the_same_words_from_before_is_another_one() -> None:
    orders = DRIVER.resources({})["work_orders"]
    wanted = change("comment", content="Done.")
    for made, there in (("2026-03-04T09:00:00.000Z", False), ("2026-03-04T09:15:29.000Z", True)):
        shown = answer({"comments": [{"id": 1, "content": "Done.", "createdAt": made}]})
        assert DRIVER.already(orders, wanted, shown) is there


def test_a_status_is_confirmed_by_either_place_and_looked_up_first() -> None:
    orders = DRIVER.resources({})["work_orders"]
    wanted = change("status", status="CLOSED")
    assert DRIVER.look_first(orders, wanted)
    assert DRIVER.already(orders, wanted, answer({"workOrder": {"id": 1, "status": "DONE"}}))
    assert not DRIVER.already(orders, wanted, answer({"workOrder": {"id": 1, "status": "OPEN"}}))
    for body, sure in (
        ({"workOrder": {"status": "DONE"}}, True),
        ({"workOrder": {"status": "OPEN"}}, False),
        ({"status": "DONE"}, True),
        ({"status": "OPEN"}, False),
        ({}, True),
    ):
        assert DRIVER.confirms(orders, wanted, answer(body)) is sure


# Subscriptions.


def test_each_type_of_event_has_a_subscription_of_its_own() -> None:
    api = DRIVER.subscriptions({})
    assert api is not None
    assert api.wanted(["parts"]) == {"NEW_PART", "PART_CHANGE", "PART_DELETE", "PART_QUANTITY_CHANGE"}
    assert "NEW_COMMENT_ON_WORK_ORDER" in api.wanted(["work_orders"])
    request = api.create(f"{URL}/PART_CHANGE", {"PART_CHANGE"})
    assert (request.method, request.path, request.json) == (
        "POST", "/subscriptions", {"type": "PART_CHANGE", "url": f"{URL}/PART_CHANGE"},
    )  # fmt: skip
    made, secret = api.created(answer({"id": 963, "status": "VALID", "secret": "s"}, 201))
    assert (made.id, made.pending, secret and secret.reveal()) == ("963", False, "s")
    waits, none = api.created(answer({"id": 964, "status": "PENDING_APPROVAL"}, 201))
    assert (waits.pending, waits.said, none) == (True, "PENDING_APPROVAL", None)
    wrong: tuple[Any, ...] = ({}, {"id": ""}, {"id": None}, [], "x")
    for body in wrong:
        with pytest.raises(PayloadError):
            api.created(answer(body))


def test_a_read_subscription_is_as_it_was_made_where_its_answer_is_short() -> None:
    api = DRIVER.subscriptions({})
    assert api is not None
    made, _ = api.created(answer({"id": 963}))
    before = made.__class__("963", f"{URL}/NEW_PART", frozenset({"NEW_PART"}))
    short = api.told(before, answer({"subscription": {"id": 963, "status": "VALID"}}))
    assert (short.url, short.events, short.said) == (before.url, before.events, "VALID")
    full = {"id": 963, "type": "NEW_PART", "url": "https://other.example/x", "status": "PENDING_APPROVAL"}
    told = api.told(before, answer({"subscription": full}))
    assert (told.url, told.pending) == ("https://other.example/x", True)
    assert api.told(before, answer([])).url == before.url


@pytest.mark.parametrize("name", ["assets", "parts", "purchase_orders"])
def test_what_is_paged_by_offset_has_no_upper_bound_that_a_change_could_leave_it_by(name: str) -> None:
    """A row that leaves the list while it is walked moves all behind it, and one of them is on no page."""
    bounded = Checkpoint("plant", name, mode=Mode.INCREMENTAL, since=NOW, until=NOW)
    assert "updatedAt[lte]" not in dict(DRIVER.request(DRIVER.resources({})[name], bounded).params)
    assert "updatedAt[gte]" in dict(DRIVER.request(DRIVER.resources({})[name], bounded).params)
