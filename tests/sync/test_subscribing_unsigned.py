"""Subscriptions of a partner that signs nothing: many to one address, which ends in a secret of ours."""

from __future__ import annotations

from typing import Any

from syncd.kit import Request, Response, Secret, Subscription
from syncd.sync.subscribed import Action, Held, compare_each, without_secret
from tests.sync.test_subscribing import OURS, WANTED, Api, Stage

OTHER = "https://elsewhere.example.com/hook/secret"


class Unsigned(Api):
    one_an_event = True
    own_address = False
    secret_in_address = True

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        return Subscription(response.json()["id"], "", frozenset()), None

    def change(self, one: Subscription, events: Any) -> Request | None:
        return None


def of(number: int, event: str, url: str = OURS) -> Subscription:
    return Subscription(f"s{number}", url, frozenset({event}))


def test_events_tell_apart_what_leads_to_one_address() -> None:
    one, two = sorted(WANTED)
    told = [of(1, one), of(2, one), of(3, "of.others"), of(4, two, OTHER)]
    found, due = compare_each(told, OURS, WANTED, {"s1"}, readable=False, in_file=False, own_address=False)
    assert [(step.action, step.subscription and step.subscription.id) for step in due] == [
        (Action.REMOVE, "s2"),
        (Action.CREATE, None),
    ]
    assert due[1].events == {two} and due[1].url == OURS
    assert {each.subscription.id: (each.ours, each.held) for each in found} == {
        "s1": (True, Held.SEALED), "s2": (True, Held.NOBODY), "s3": (False, Held.NOBODY), "s4": (False, Held.NOBODY),
    }  # fmt: skip


def test_a_secret_at_the_end_of_our_address_is_not_shown_and_no_other_address_is_cut() -> None:
    assert without_secret(of(1, "x", OURS + "/hidden"), OURS).url == OURS
    assert without_secret(of(1, "x", OTHER), OURS).url == OTHER
    assert without_secret(of(1, "x", OURS), OURS).url == OURS


async def test_all_get_one_secret_that_is_sealed_and_what_vanished_comes_back_at_the_same_address() -> None:
    stage = Stage(api=Unsigned())
    subscribing = stage.subscribing()
    await subscribing.look()
    await subscribing.act(frozenset(Action))
    (address,) = {row["url"] for row in stage.rows}
    secret = address.removeprefix(OURS + "/")
    assert len(secret) == 32 and set(stage.sealed.values()) == {secret} and len(stage.rows) == len(WANTED)
    assert secret not in str([step.done for step in subscribing.done])

    again = stage.subscribing()
    await again.look()
    assert again.steps == [] and {each.state for each in again.found} == {"sound"}
    assert all(each.subscription.url == OURS for each in again.found)

    stage.rows.clear()
    gone = stage.subscribing()
    await gone.look()
    await gone.act(frozenset(Action))
    assert {row["url"] for row in stage.rows} == {address} and len(stage.rows) == len(WANTED)


async def test_one_that_was_made_while_we_died_is_replaced_since_nobody_knows_its_secret() -> None:
    one, two = sorted(WANTED)
    stage = Stage({"id": "s1", "url": f"{OURS}/lost", "events": [one]}, api=Unsigned())
    subscribing = stage.subscribing()
    await subscribing.look()
    assert {step.action for step in subscribing.steps} == {Action.REPLACE, Action.CREATE}
    await subscribing.act(frozenset(Action))
    assert sorted(row["events"][0] for row in stage.rows) == [one, two]
    assert not any(row["url"].endswith("/lost") for row in stage.rows)
