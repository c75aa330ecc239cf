"""Subscriptions are compared with what is wanted, and the least is done: never to what is not ours, never losing a secret."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.codec import dumps
from syncd.errors import GoneError, OwnershipError, PayloadError, RejectedError, TransientError
from syncd.kit import Headers, ListedSubscriptions, Request, Response, Secret, Subscription, UnlistedSubscriptions
from syncd.ports import StoredCredential
from syncd.sync.subscribed import REGISTERING, Action, Held, among, compare, same_address
from syncd.sync.subscribing import Subscribing
from syncd.testing.clock import FakeClock

OURS = "https://sync.example.com/webhooks/acme/one"
WANTED = frozenset({"thing.created", "thing.updated"})


def one(name: str = "s1", url: str = OURS, events: frozenset[str] = WANTED, active: bool = True) -> Subscription:
    return Subscription(name, url, events, active, "" if active else "disabled")


def steps(*told: Subscription, sealed: set[str] | None = None, **more: bool) -> list[tuple[Action, str]]:
    found = compare(told, OURS, WANTED, sealed or set(), **{"readable": False, "in_file": False, **more})[1]
    return [(step.action, step.subscription.id if step.subscription else "") for step in found]


def test_a_missing_one_is_made_and_a_sound_one_left_alone() -> None:
    assert steps() == [(Action.CREATE, "")]
    assert steps(one(), sealed={"s1"}) == []
    assert steps(one(events=frozenset({"*"})), sealed={"s1"}) == []
    assert steps(one(url=OURS + "/"), sealed={"s1"}) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("https://Sync.Example.com/webhooks/a/b", "https://sync.example.com/webhooks/a/b", True),
        ("https://sync.example.com:443/webhooks/a/b", "HTTPS://sync.example.com/webhooks/a/b/", True),
        ("http://sync.example.com:80/w", "http://sync.example.com/w", True),
        ("https://sync.example.com:8443/w", "https://sync.example.com/w", False),
        ("https://sync.example.com:80/w", "https://sync.example.com/w", False),
        ("http://sync.example.com/w", "https://sync.example.com/w", False),
        ("https://sync.example.com/W", "https://sync.example.com/w", False),
        ("https://sync.example.com/w?a=1", "https://sync.example.com/w", False),
        ("https://[2001:DB8::1]/w", "https://[2001:db8::1]:443/w", True),
        ("https://sync.example.com:x/w", "https://sync.example.com:x/w/", True),
        ("https://sync.example.com:x/w", "https://sync.example.com/w", False),
    ],
)
def test_an_address_is_the_same_however_a_partner_writes_it(ours: str, theirs: str, same: bool) -> None:
    assert same_address(ours, theirs) is same_address(theirs, ours) is same


def test_one_that_leads_elsewhere_is_never_touched() -> None:
    elsewhere = [one("x", "https://other.example.com/hook", active=False), one("y", OURS + "/calendar"), one("z", "")]
    found, due = compare(elsewhere, OURS, WANTED, {"x"}, readable=True, in_file=True)
    assert [each.state for each in found] == ["foreign"] * 3
    assert [step.action for step in due] == [Action.CREATE]


def test_one_whose_secret_nobody_has_is_read_where_it_can_be_and_replaced_where_not() -> None:
    assert steps(one()) == [(Action.REPLACE, "s1")]
    assert steps(one(), readable=True) == [(Action.READ, "s1")]
    assert steps(one(), in_file=True) == [], "the file has a secret, and it may be this one's"


def test_registering_does_not_read_the_secret_of_one_that_lacks_events() -> None:
    narrow = one(events=frozenset(sorted(WANTED)[:1]))
    due = compare([narrow], OURS, WANTED, set(), readable=True, in_file=False)[1]
    assert {step.action for step in due} == {Action.READ, Action.CHANGE}
    assert among(due, REGISTERING) == []
    assert among(due, frozenset(Action)) == due
    due = compare([one()], OURS, WANTED, set(), readable=True, in_file=False)[1]
    assert [step.action for step in among(due, REGISTERING)] == [Action.READ]


def test_a_switched_off_or_narrow_one_is_changed_and_a_second_one_removed() -> None:
    narrow = frozenset({"thing.created", "of.others"})
    assert steps(one(active=False), sealed={"s1"}) == [(Action.CHANGE, "s1")]
    found, [step] = compare([one(events=narrow)], OURS, WANTED, {"s1"}, readable=False, in_file=False)
    assert step.events == narrow | WANTED, "what others wanted of it stays"
    assert found[0].troubles == ("it does not bring thing.updated",)
    assert steps(one("a"), one("b"), sealed={"b"}) == [(Action.REMOVE, "a")]
    assert steps(one("a", active=False), one("b"), in_file=True) == [(Action.REMOVE, "a")]


KINDS = st.builds(
    Subscription,
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from([OURS, OURS + "/", "https://elsewhere.example.com/"]),
    st.frozensets(st.sampled_from(["thing.created", "thing.updated", "*", "other"])),
    st.booleans(),
)


@given(
    told=st.lists(KINDS, max_size=4, unique_by=lambda found: found.id),
    sealed=st.sets(st.sampled_from("abcd")),
    readable=st.booleans(),
    in_file=st.booleans(),
)
def test_after_the_steps_there_is_nothing_left_to_do(
    told: list[Subscription], sealed: set[str], readable: bool, in_file: bool
) -> None:
    found, due = compare(told, OURS, WANTED, sealed, readable=readable, in_file=in_file)
    foreign = {each.subscription.id for each in found if not each.ours}
    assert not foreign & {step.subscription.id for step in due if step.subscription}
    after, known = {each.id: each for each in told}, set(sealed)
    for step in due:
        if step.action in (Action.REMOVE, Action.REPLACE):
            assert step.subscription
            del after[step.subscription.id]
        if step.action in (Action.CREATE, Action.REPLACE):
            after["new"] = Subscription("new", OURS, step.events)
            known.add("new")
        if step.action is Action.READ:
            assert step.subscription
            known.add(step.subscription.id)
        if step.action is Action.CHANGE:
            assert step.subscription
            after[step.subscription.id] = Subscription(step.subscription.id, step.subscription.url, step.events)
    assert compare(after.values(), OURS, WANTED, known, readable=readable, in_file=in_file)[1] == []
    ours = [each for each in after.values() if each.url.rstrip("/") == OURS]
    assert len(ours) == 1 and ours[0].active and not ours[0].lacks(WANTED)


# With a partner, played.


class Calls:
    """Of a partner whose rows are its answers; `readable` ones tell a secret again."""

    waits = (1.0, 2.0)

    def __init__(self, *, readable: bool = False, one_a_url: bool = False) -> None:
        self.readable = readable
        self.one_a_url = one_a_url

    def wanted(self, resources: Any) -> frozenset[str]:
        return WANTED

    def create(self, url: str, events: Any) -> Request:
        return Request("/hooks", "POST", json={"url": url, "events": sorted(events)})

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        secret = response.json().get("secret")
        return self._one(response.json()), Secret(secret) if secret else None

    def secret(self, one: Subscription) -> Request | None:
        return Request(f"/hooks/{one.id}/secret") if self.readable else None

    def secret_in(self, response: Response) -> Secret | None:
        return Secret(response.json()["secret"])

    def change(self, one: Subscription, events: Any) -> Request | None:
        return Request(f"/hooks/{one.id}", "PUT", json={"events": sorted(events)})

    def remove(self, one: Subscription) -> Request:
        return Request(f"/hooks/{one.id}", "DELETE")

    @staticmethod
    def _one(raw: Any) -> Subscription:
        return Subscription(raw["id"], raw["url"], frozenset(raw["events"]), raw.get("active", True))


class Api(Calls, ListedSubscriptions):
    def listing(self) -> Request:
        return Request("/hooks")

    def found(self, response: Response) -> list[Subscription]:
        return [self._one(each) for each in response.json()]


def test_one_that_cannot_say_which_there_are_is_not_made() -> None:
    class Nothing(Calls, ListedSubscriptions):
        pass

    class Neither(Calls, UnlistedSubscriptions):
        pass

    for kind, lacking in ((Nothing, "found.*listing"), (Neither, "read.*told")):
        with pytest.raises(TypeError, match=lacking):
            kind()


class Stage:
    """Session, store and clock of an account, with what was asked written down."""

    def __init__(self, *rows: dict[str, Any], api: Calls | None = None) -> None:
        self.rows = list(rows)
        self.calls: list[str] = []
        self.faults: deque[tuple[str, Exception]] = deque()
        self.sealed: dict[str, str] = {}
        self.version = 0
        self.races = 0
        self.clock = FakeClock()
        self.api = api or Api()
        self.made = 0

    async def call(self, request: Request, *, lane: Any) -> Response:
        what = f"{request.method} {request.path}"
        self.calls.append(what)
        if self.faults and self.faults[0][0] == what:
            raise self.faults.popleft()[1]
        answer: Any = {}
        match request.method:
            case "GET" if request.path == "/hooks":
                answer = [{name: each[name] for name in each if name != "secret"} for each in self.rows]
            case "GET":
                answer = {
                    "secret": next(each for each in self.rows if each["id"] == request.path.split("/")[2])["secret"]
                }
            case "POST":
                self.made += 1
                answer = {**request.json, "id": f"new{self.made}", "secret": f"secret-{self.made}"}
                self.rows.append(answer)
                answer = {key: each for key, each in answer.items() if key != "secret" or not self.api.readable}
            case "PUT":
                next(each for each in self.rows if each["id"] == request.path.split("/")[2]).update(
                    request.json, active=True
                )
            case "DELETE":
                self.rows = [each for each in self.rows if each["id"] != request.path.split("/")[2]]
        return Response(200, Headers(), dumps(answer))

    async def get(self, integration: str, kind: str) -> StoredCredential | None:
        return StoredCredential(integration, kind, dict(self.sealed), None, self.version) if self.version else None

    async def put(
        self, integration: str, kind: str, value: Mapping[str, str], *, expires_at: None, replaces: int | None
    ) -> None:
        if self.races:
            self.races -= 1
            self.sealed["of-another"] = "s"
            self.version += 1
        if (replaces or 0) != self.version:
            raise OwnershipError("replaced by somebody else")
        self.sealed, self.version = dict(value), self.version + 1

    def subscribing(self, *, in_file: bool = False) -> Subscribing:
        account = SimpleNamespace(
            name="one", plans={}, session=self, store=SimpleNamespace(credentials=self), clock=self.clock
        )
        return Subscribing(account, self.api, OURS, in_file=in_file)  # type: ignore[arg-type]

    async def mend(self, actions: Any = frozenset(Action)) -> Subscribing:
        found = self.subscribing()
        await found.look()
        await found.act(actions)
        return found


def row(name: str = "s1", **more: Any) -> dict[str, Any]:
    return {"id": name, "url": OURS, "events": sorted(WANTED), "secret": f"of-{name}", **more}


async def test_a_secret_is_sealed_with_the_making_and_a_second_look_finds_nothing_to_do() -> None:
    stage = Stage()
    await stage.mend(REGISTERING)
    assert stage.sealed == {"new1": "secret-1"}
    again = await stage.mend(REGISTERING)
    assert again.done == [] and again.found[0].held is Held.SEALED


async def test_the_new_one_comes_before_the_old_one_goes_unless_the_partner_refuses_two() -> None:
    stage = Stage(row())
    await stage.mend()
    assert stage.calls == ["GET /hooks", "POST /hooks", "DELETE /hooks/s1"]
    stage = Stage(row(), api=Api(one_a_url=True))
    stage.faults.append(("DELETE /hooks/s1", GoneError("not there")))
    await stage.mend()
    assert stage.calls == ["GET /hooks", "DELETE /hooks/s1", "POST /hooks"]
    assert stage.sealed == {"new1": "secret-1"}


async def test_a_registration_changes_nothing_that_is_there() -> None:
    stage = Stage(row(active=False))
    found = await stage.mend(REGISTERING)
    assert stage.calls == ["GET /hooks"] and [step.action for step in found.steps] == [Action.REPLACE]


async def test_a_secret_that_is_not_there_yet_is_asked_for_again() -> None:
    stage = Stage(api=Api(readable=True))
    late = GoneError("no secret", status=404)
    stage.faults.extend([("GET /hooks/new1/secret", late), ("GET /hooks/new1/secret", late)])
    await stage.clock.run(stage.mend())
    assert stage.sealed == {"new1": "secret-1"}
    assert stage.calls.count("GET /hooks/new1/secret") == 3


async def test_what_another_sealed_meanwhile_stays() -> None:
    stage = Stage()
    stage.races = 2
    await stage.mend()
    assert stage.sealed == {"of-another": "s", "new1": "secret-1"}


async def test_an_answer_that_was_cut_off_leaves_one_that_the_next_repair_replaces() -> None:
    stage = Stage()
    stage.faults.append(("POST /hooks", TransientError("cut off")))
    with pytest.raises(TransientError):
        await stage.mend()
    stage.rows.append(row("lost"))  # the partner had made it
    found = await stage.mend()
    assert [step.action for step in found.done] == [Action.REPLACE]
    assert list(stage.sealed) == [each["id"] for each in stage.rows] == ["new1"]


async def test_a_partner_that_gives_no_secret_is_told_of() -> None:
    class Mute(Api):
        def created(self, response: Response) -> tuple[Subscription, Secret | None]:
            return super().created(response)[0], None

    stage = Stage(api=Mute())
    with pytest.raises(PayloadError, match="gave no secret") as caught:
        await stage.mend()
    assert "syncd webhook repair one" in caught.value.hint


class OneAnEvent(Calls, UnlistedSubscriptions):
    """A partner without a list, where each subscription brings one kind of event; each is read by its id."""

    one_an_event = True
    longest_url = 80

    def wanted(self, resources: Any) -> frozenset[str]:
        return frozenset({"CHANGED", "GONE"})

    def read(self, one: Subscription) -> Request:
        return Request(f"/hooks/{one.id}")

    def told(self, one: Subscription, response: Response) -> Subscription:
        row = response.json()
        pending = row.get("pending", False)
        return dataclasses.replace(one, url=row.get("url", one.url), pending=pending, said="WAITS" if pending else "")

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        row = response.json()
        waits = bool(row.get("pending"))
        return Subscription(row["id"], "", frozenset(), pending=waits, said="WAITS" if waits else ""), Secret(
            row["secret"]
        )

    def change(self, one: Subscription, events: Any) -> Request | None:
        return None


class Unlisted(Stage):
    """What one of them answers to a look at one that it has, and at one that it has not."""

    def __init__(self, **more: Any) -> None:
        super().__init__(api=OneAnEvent())
        self.more = more

    async def call(self, request: Request, *, lane: Any) -> Response:
        if request.method != "GET":
            response = await super().call(request, lane=lane)
            self.rows = [{**each, **self.more} for each in self.rows]
            return Response(201, Headers(), dumps({**response.json(), **self.more}))
        self.calls.append(f"GET {request.path}")
        known = next((each for each in self.rows if each["id"] == request.path.split("/")[2]), None)
        if known is None:
            raise GoneError("not there", status=404)
        return Response(200, Headers(), dumps(known))


async def test_of_one_an_event_each_is_made_at_an_address_that_ends_in_it_and_read_by_its_id() -> None:
    stage = Unlisted()
    await stage.mend(REGISTERING)
    assert {each["url"]: each["events"] for each in stage.rows} == {
        f"{OURS}/CHANGED": ["CHANGED"],
        f"{OURS}/GONE": ["GONE"],
    }
    assert stage.sealed == {"CHANGED/new1": "secret-1", "GONE/new2": "secret-2"}
    stage.calls.clear()
    again = await stage.mend(REGISTERING)
    assert stage.calls == ["GET /hooks/new1", "GET /hooks/new2"] and again.steps == []
    assert [each.state for each in again.found] == ["sound", "sound"]


async def test_one_that_is_gone_there_is_made_anew_and_its_secret_forgotten_with_it() -> None:
    stage = Unlisted()
    await stage.mend(REGISTERING)
    stage.rows = stage.rows[1:]
    looked = stage.subscribing()
    await looked.look()
    assert [step.would for step in looked.steps] == [f"make a subscription of CHANGED to {OURS}/CHANGED"]
    assert "CHANGED/new1" in stage.sealed, "a look changes nothing"
    await stage.mend(REGISTERING)
    assert stage.sealed == {"CHANGED/new3": "secret-3", "GONE/new2": "secret-2"}


async def test_one_that_somebody_has_to_let_through_is_told_of_and_left_alone() -> None:
    stage = Unlisted(pending=True)
    first = await stage.mend()
    assert all(step.done.endswith("the partner has to let it through first (WAITS)") for step in first.done)
    again = await stage.mend()
    assert again.done == [] and {each.state for each in again.found} == {"pending"}
    assert again.found[0].troubles == ("the partner has to let it through first (WAITS)",)


async def test_one_whose_address_is_another_now_is_not_ours_and_one_nobody_wants_is_removed_by_a_repair_only() -> None:
    stage = Unlisted()
    await stage.mend()
    stage.rows[0]["url"] = "https://elsewhere.example.com/CHANGED"
    found = stage.subscribing()
    await found.look()
    assert [each.state for each in found.found] == ["foreign", "sound"]
    assert [step.action for step in found.steps] == [Action.CREATE]

    class Less(OneAnEvent):
        def wanted(self, resources: Any) -> frozenset[str]:
            return frozenset({"CHANGED"})

    stage.rows[0]["url"] = f"{OURS}/CHANGED"
    stage.api = Less()
    assert (await stage.mend(REGISTERING)).done == []
    [step] = (await stage.mend()).done
    assert step.done == "removed new2: nothing here wants GONE"
    assert list(stage.sealed) == ["CHANGED/new1"] and len(stage.rows) == 1


async def test_one_kind_of_event_that_is_refused_keeps_no_other_from_being_made() -> None:
    class Choosy(Unlisted):
        wrong: tuple[str, ...] = ("CHANGED",)

        async def call(self, request: Request, *, lane: Any) -> Response:
            if request.method == "POST" and request.json["events"][0] in self.wrong:
                self.calls.append("refused")
                raise RejectedError("User don't have the right permissions", status=403)
            return await super().call(request, lane=lane)

    stage = Choosy()
    with pytest.raises(
        RejectedError, match=r"could not make a subscription of CHANGED .*permissions; 1 of 2 steps were taken"
    ):
        await stage.mend()
    assert list(stage.sealed) == ["GONE/new1"]

    class Many(OneAnEvent):
        def wanted(self, resources: Any) -> frozenset[str]:
            return frozenset({"A", "B", "C", "D", "E"})

    stage = Choosy()
    stage.api, stage.wrong = Many(), ("A", "B", "C", "D", "E")
    with pytest.raises(RejectedError, match="0 of 5 steps were taken"):
        await stage.mend()
    assert stage.calls == ["refused"] * 3


async def test_an_address_that_is_too_long_is_refused_before_anything_is_sent() -> None:
    stage = Unlisted()
    found = Subscribing(stage.subscribing()._account, stage.api, OURS + "/" + "x" * 60, in_file=False)
    await found.look()
    with pytest.raises(RejectedError, match="characters, and the partner takes 80"):
        await found.act(REGISTERING)
    assert stage.rows == [] and stage.sealed == {}


async def test_a_list_without_end_ends_in_an_error() -> None:
    class Endless(Api):
        def following(self, request: Request, response: Response) -> Request | None:
            return request

    stage = Stage(api=Endless())
    with pytest.raises(PayloadError, match="pages"):
        await stage.mend()
    assert len(stage.calls) == 50
